"""What trains the populations of a sweep, as the sweep sees it: tasks go in, events come out. Nothing here needs torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradscope.cell import PopulationTask, Precision
from gradscope.cell_run import CellRun
from gradscope.errors import GradscopeError

if TYPE_CHECKING:
    from gradscope.shared_samples import SharedSamples


@dataclass(frozen=True)
class Settings:
    """How populations are trained, and on what: the samples by `samples_key`."""

    samples: Mapping[str, SharedSamples]
    device: str = "cpu"
    steps: int | None = None
    precision: Precision = "float32"
    allow_code: bool = False


@dataclass(frozen=True)
class Advanced:
    """A population is further by so many steps of single networks."""

    task: PopulationTask
    steps: int


@dataclass(frozen=True)
class Finished:
    """A population is trained."""

    task: PopulationTask
    runs: Sequence[CellRun]
    train_s: float


@dataclass(frozen=True)
class Lost:
    """What trained a population is gone, by no fault that is known of the population's; it may be tried again."""

    task: PopulationTask
    how: str


@dataclass(frozen=True)
class Stopped:
    """A population's training ended early, as was asked; nothing of it is kept."""

    task: PopulationTask


@dataclass(frozen=True)
class Failed:
    """A population cannot be trained: by a mistake of the user's, which ends the sweep, or by one of gradscope's own."""

    task: PopulationTask
    error: GradscopeError | str


Event = Advanced | Finished | Lost | Stopped | Failed
Outcome = tuple[type[Finished], list[CellRun], float] | tuple[type[Failed], GradscopeError | str] | tuple[type[Stopped]]
"""The last event of a task on its way from another process, which need not send the task back: class, and what it says."""


class Engine(ABC):
    """Trains populations somewhere else than in this process, several at a time."""

    @abstractmethod
    def begin(self, settings: Settings) -> None:
        """Say how everything is trained, once, before the first task."""

    @abstractmethod
    def free(self) -> int:
        """Return how many more populations it would take on at once."""

    @abstractmethod
    def start(self, task: PopulationTask) -> None:
        """Take on a population."""

    @abstractmethod
    def wait(self, timeout_s: float) -> list[Event]:
        """Return what has happened, at the latest after `timeout_s`; each task ends with one event other than Advanced."""

    @abstractmethod
    def stop(self) -> None:
        """Ask all that trains to stop after its current step."""

    @abstractmethod
    def close(self) -> None:
        """End everything at once."""
