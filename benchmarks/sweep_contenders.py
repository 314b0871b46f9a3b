"""Who trains the networks of the sweep benchmark: gradscope, and the matrix products alone; the scripts stand beside.

A contender is made in each process that it trains in, and trains the networks of one group at a time. All contenders have the
same groups: in gradscope, a group is one population in each process.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.standing_training import StandingTraining
from benchmarks.sweep_cases import BATCH, INPUTS, Case
from gradscope.cell import PopulationTask
from gradscope.data import Data

WARM_UP_STEPS = 250  # of a population: then the default schedule looks at every hundredth, in the middle of a block
PERIOD_STEPS = 100


class Place(NamedTuple):
    """Where a contender trains, and on what."""

    device: torch.device
    data: Data  # on the device
    data_dir: Path  # the files it was read from


class Contender(ABC):
    """Takes training steps when it is told to. Both methods return how many steps of single networks were taken."""

    @abstractmethod
    def begin(self, group: int) -> int:
        """Take the first steps of a group's networks."""

    @abstractmethod
    def run(self, group: int, times: int) -> int:
        """Take the least block of steps so many times."""

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Let go of what is not let go of by itself."""


class Products(Contender):
    """The matrix products of a training step, forward and backward, and nothing else: `stacked` networks at a time."""

    def __init__(self, place: Place, case: Case, stacked: int) -> None:
        def tensors(*shapes: tuple[int, ...]) -> list[Tensor]:
            lead = () if stacked == 1 else (stacked,)
            return [torch.randn(*lead, *shape, device=place.device) * 0.03 for shape in shapes]

        pairs = list(zip(case.widths, case.widths[1:], strict=False))
        self.stacked = stacked
        self.product = torch.mm if stacked == 1 else torch.bmm
        # The samples lie as [batch, input], all else the other way round: otherwise the products take some 5 % longer.
        shapes = [(after, wide) for wide, after in pairs]
        self.weights, self.grads = tensors(*shapes), tensors(*shapes)
        self.x = [tensor.mT for tensor in tensors((BATCH, INPUTS))] + tensors(*((wide, BATCH) for wide, _ in pairs[1:]))
        self.grad_x = tensors(*((wide, BATCH) for wide, _ in pairs))
        self.z, self.grad_z = (tensors(*((after, BATCH) for _, after in pairs)) for _ in range(2))

    def begin(self, group: int) -> int:
        """Take three steps: enough to be up to speed."""
        return self.run(group, 3)

    def run(self, group: int, times: int) -> int:
        """Take the products of so many steps."""
        with torch.no_grad():
            for _ in range(times):
                self._step()
        return times * self.stacked

    def _step(self) -> None:
        for x, weight, z in zip(self.x, self.weights, self.z, strict=True):
            self.product(weight, x, out=z)
        for i in reversed(range(len(self.weights))):
            self.product(self.grad_z[i], self.x[i].mT, out=self.grads[i])
            if i:  # the samples need no gradient
                self.product(self.weights[i].mT, self.grad_z[i], out=self.grad_x[i])


class Populations(Contender):
    """gradscope's: the least block is one period of the default schedule, with one look in it."""

    def __init__(self, place: Place, tasks: Sequence[PopulationTask]) -> None:
        self.trainings = [StandingTraining(task, place.data, place.device) for task in tasks]
        self.sizes = [len(task.members) for task in tasks]

    def begin(self, group: int) -> int:
        """Build the group's population and take its first steps, at which the default schedule looks more often."""
        return self.trainings[group].run(WARM_UP_STEPS * self.sizes[group])

    def run(self, group: int, times: int) -> int:
        """Take so many periods of the default schedule."""
        return self.trainings[group].run(times * PERIOD_STEPS * self.sizes[group])

    def close(self) -> None:
        """End the trainings."""
        for training in self.trainings:
            training.close()
