"""A sweep: every cell of a grid from every seed, trained where an engine says, kept in a journal, and resumed from there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

import torch

from gradscope.cell import Cell, PopulationTask
from gradscope.cell_run import CellRun
from gradscope.journal import Found, Journal
from gradscope.recipe import Recipe
from gradscope.recipe_file import dump_recipe
from gradscope.run_folder import write_text
from gradscope.sweep_engine import Engine, Settings
from gradscope.sweep_folder import RECIPE_FILE, replaced_tables
from gradscope.sweep_loop import Ended, Watched, train_all
from gradscope.sweep_made import described, made_of, others
from gradscope.sweep_plan import Room, cpu_room, plan, remaining
from gradscope.sweep_samples import Sweeping, SweepSamples
from gradscope.versions import versions

UNSEEN_GPU_BYTES = 6 * 2**30
"""Of a GPU that only other machines of a cluster have: what one of 12 GB leaves; larger ones are busy with less, too."""

DEVICE_SHARE = 0.5
"""Of a GPU's free memory; the rest is for the batch's activations, and for what is recorded."""


@dataclass
class Sweep:
    """A sweep that is ready to train: its samples are read, everything fits, and its populations are planned."""

    cells: Sequence[Cell]
    how: Sweeping
    settings: Settings
    journal: Journal
    plan: Sequence[PopulationTask]
    work_of: Callable[[PopulationTask], float]
    steps_of: Callable[[PopulationTask], int]
    """Of all its networks together."""
    replaces: Sequence[str] = ()
    """What of its recipe is other than of the sweep whose tables the folder held."""
    done: dict[str, CellRun] = field(default_factory=dict)

    @property
    def left(self) -> list[PopulationTask]:
        """What is still to be trained."""
        return remaining(self.plan, self.done)

    def extent(self) -> tuple[int, int, int, int]:
        """Return the networks of the sweep and the steps of all of them, then the networks that are trained and theirs."""
        done = [self.done[key] for key in self._done_keys()]
        networks = sum(len(task.members) for task in self.plan)
        return networks, sum(map(self.steps_of, self.plan)), len(done), sum(run.steps for run in done)

    def made(self) -> dict[str, str]:
        """Return what the trained networks were made by and on, by name; all of it where they differ."""
        return made_of(map(self._conditions, self._done_keys()), self._now)

    def others(self) -> list[str]:
        """Say of which networks an earlier start of the sweep, under other conditions, is the maker."""
        return others(map(self._conditions, self._done_keys()), self._now)

    @property
    def _now(self) -> Mapping[str, object]:
        return conditions_of(self.how)

    def _conditions(self, key: str) -> Mapping[str, object]:
        return self.journal.found.conditions.get(key, self._now)

    def _done_keys(self) -> list[str]:
        return [member.key for task in self.plan for member in task.members if member.key in self.done]

    def train(self, engine: Engine, watched: Watched) -> Ended:
        """Train what is left.

        Raises:
            GradscopeError: a mistake of the user's ended it; what was finished before stands in the journal.
        """
        engine.begin(self.settings)
        ended = train_all(self.left, engine, self.journal, replace(watched, known=self._known_pace()))
        self.done |= ended.runs
        return ended

    def _known_pace(self) -> tuple[float, float]:
        """Return the work of what earlier starts trained on such a device, and the seconds that it took."""
        found = self.journal.found
        work = seconds = 0.0
        for task in self.plan:
            members = [m for m in task.members if found.conditions.get(m.key, {}).get("device") == self.how.device.type]
            if members:
                work += self.work_of(replace(task, members=tuple(members)))
                seconds += sum(found.seconds[member.key] for member in members)
        return work, seconds

    def runs(self) -> list[list[CellRun]]:
        """Return the trained networks of each cell, by seed, as far as there are any."""
        keys: list[list[str]] = [[] for _ in self.cells]
        for member in sorted((m for task in self.plan for m in task.members), key=lambda m: m.seed):
            keys[member.cell].append(member.key)
        return [[self.done[key] for key in of_cell if key in self.done] for of_cell in keys]


@contextmanager
def prepared(recipe: Recipe, cells: Sequence[Cell], how: Sweeping) -> Iterator[Sweep]:
    """Make a sweep ready to train; its folder is locked and its samples are held while the block runs.

    Args:
        recipe: the sweep's, which is written into its folder.
        cells: its grid.
        how: where and how it is trained.

    Raises:
        RecipeError: cells and samples do not fit.
        CodeError: code of the user's own may not be run, or cannot be loaded.
        DataError: the samples cannot be read.
        TraceError: the folder's journal cannot be read.
        WriteError: the folder cannot be written, or another sweep is writing it.
    """
    with ExitStack() as held:
        samples = SweepSamples(how, held)
        for cell in cells:
            samples.read(cell.recipe)
        journal = held.enter_context(Journal(how.folder))
        room = _kept(_room(how.device), how.device, journal.found)
        made = conditions_of(how)
        journal.begin(made | {"room_bytes": room.bytes})
        replaces = replaced_tables(how.folder, recipe)
        write_text(how.folder / RECIPE_FILE, f"# {described(made)}\n{dump_recipe(recipe)}")
        yield Sweep(
            cells,
            how,
            Settings(samples.shared, str(how.device), how.steps, how.precision, how.allow_code),
            journal,
            plan(cells, samples.shape_of, samples.keys_of, room),
            samples.work_of,
            samples.steps_of,
            replaces,
            dict(journal.found.runs),
        )


def conditions_of(how: Sweeping) -> dict[str, str | int]:
    """Return what a sweep's networks are trained by and on, as its journal and its results say it."""
    known = versions()
    found: dict[str, str | int] = {"gradscope": known["gradscope"], "torch": known["torch"], "device": how.device.type}
    found["precision"] = how.precision
    return found | ({"steps": how.steps} if how.steps else {})


def _room(device: torch.device) -> Room:
    if device.type == "cuda" and not torch.cuda.is_available():
        return Room(UNSEEN_GPU_BYTES, is_gpu=True)
    if device.type == "cuda":
        return Room(int(torch.cuda.mem_get_info(device)[0] * DEVICE_SHARE), is_gpu=True)
    return cpu_room()


def _kept(room: Room, device: torch.device, found: Found) -> Room:
    """Return the room that the sweep was begun with on such a device, if it was: other populations would round otherwise."""
    begun = [head.get("room_bytes") for head in found.heads if head.get("device") == device.type]
    return replace(room, bytes=begun[0]) if begun and isinstance(begun[0], int) else room
