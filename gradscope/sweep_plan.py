"""Which networks of a sweep train together: a pure function of the sweep, never of what is done already.

So a sweep that was interrupted trains the same populations as one that was not, and comes to the same numbers bit for bit.
Only where a grid was widened in between, a population is trained for the members that are missing, and these may differ from
those of an undivided one by the rounding of float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from gradscope.cell import Cell, Planned, PopulationTask
from gradscope.recipe import Recipe

Item = TypeVar("Item")
FLOAT_BYTES = 4
MOST_MEMBERS = 64
"""Of a population on a CPU: by then the interpreter's time is spread thin, and a kill costs the more the more there are."""

CACHE_BYTES = 16 * 2**20
"""What weights and momentum of a population may take on a CPU: four members of 784-500-256-10, measured as the best number."""


@dataclass(frozen=True)
class Shape:
    """What a cell's data makes of it: the network's first and last width, and its training steps."""

    inputs: int
    outputs: int
    steps: int


@dataclass(frozen=True)
class Room:
    """What a population has to fit into. On a GPU members of different seeds may share one; see `population_size`."""

    bytes: int
    is_gpu: bool = False


def plan(
    cells: Sequence[Cell], shape_of: Callable[[Recipe], Shape], keys_of: Callable[[Recipe], Mapping[int, str]], room: Room
) -> list[PopulationTask]:
    """Return the populations of a sweep, those with the costliest networks first, so that no long one is left for the end.

    Args:
        cells: of the grid, in its order; each a stack with the sweep's seeds.
        shape_of: the shapes that a recipe's data asks for.
        keys_of: the keys of a recipe's results, by seed.
        room: for one population.
    """
    keys = [keys_of(cell.recipe) for cell in cells]
    groups: dict[object, list[int]] = {}
    for i, cell in enumerate(cells):
        groups.setdefault(group_of(cell.recipe), []).append(i)
    found: list[tuple[float, tuple[Planned, ...]]] = []
    for members in groups.values():
        first = cells[members[0]].recipe
        shape = shape_of(first)
        parameters = count_parameters(first, shape)
        for part in _parts(members, first.seed_list, population_size(parameters, first.training.optimizer, room), room):
            planned = (Planned(i, seed, keys[i][seed], cells[i].recipe) for seed, i in part)
            found.append((shape.steps * float(parameters), tuple(planned)))
    found.sort(key=lambda costed: -costed[0])  # stable: equal ones stay in the grid's order
    return [PopulationTask(index, members) for index, (_, members) in enumerate(found)]


def group_of(recipe: Recipe) -> object:
    """Return what must be equal for networks to train in lock-step."""
    stack = recipe.stack
    hidden = stack.hidden if stack else ()
    return (samples_key(recipe), hidden, recipe.training, recipe.watch, recipe.seed_list)


def samples_key(recipe: Recipe) -> str:
    """Return what tells the samples of one recipe from those of another: where they come from, and how they are normalised."""
    normalize = list(recipe.normalize) if isinstance(recipe.normalize, tuple) else recipe.normalize
    return f"{recipe.data} {recipe.data_path or ''} {normalize or ''}"


def count_parameters(recipe: Recipe, shape: Shape) -> int:
    """Return the number of weights and biases of a recipe's linear layers."""
    widths = (shape.inputs, *(recipe.stack.hidden if recipe.stack else ()), shape.outputs)
    return sum((wide + 1) * after for wide, after in zip(widths, widths[1:], strict=False))


def population_size(parameters: int, optimizer: str, room: Room) -> int:
    """Return how many networks train together best, at least 1.

    On a CPU a step reads and writes the weights and the optimizer's state of all members: as long as they stay in the cache
    between two steps, more members share the interpreter's time per step; beyond it each waits for the memory. On a GPU as
    many as fit into its memory.

    Args:
        parameters: of one network.
        optimizer: sgd keeps one number per weight, the others two.
        room: for one population.
    """
    kept = {"sgd": 2, "rmsprop": 3}.get(optimizer, 3)
    if room.is_gpu:
        kept += 2  # the gradient, and a copy of it while it is made
    fitting = room.bytes // (parameters * kept * FLOAT_BYTES)
    return max(1, fitting if room.is_gpu else min(fitting, MOST_MEMBERS))


def _parts(cells: Sequence[int], seeds: Sequence[int], size: int, room: Room) -> Iterator[list[tuple[int, int]]]:
    """Yield (seed, cell) of each population of a group: as equal in number as can be, by seed first.

    Members of one seed share every batch, which makes one product of theirs in the first layer. So on a CPU a population has
    more than one seed only where it has room for all of the group's cells from each.
    """
    together = len(seeds) if room.is_gpu else max(1, size // len(cells))
    for some in _evenly(list(seeds), together):
        yield from _evenly([(seed, cell) for seed in some for cell in cells], size)


def _evenly(items: list[Item], most: int) -> Iterator[list[Item]]:
    """Yield the items in as few parts of at most `most` as can be, of sizes that differ by one at most.

    >>> [len(part) for part in _evenly(list(range(6)), 4)]
    [3, 3]
    """
    parts = math.ceil(len(items) / most)
    for part in range(parts):
        yield items[part * len(items) // parts : (part + 1) * len(items) // parts]


def remaining(tasks: Sequence[PopulationTask], done: Container[str]) -> list[PopulationTask]:
    """Return what of a plan is still to be trained: each population's members whose keys are not done."""
    left = (replace(task, members=tuple(m for m in task.members if m.key not in done)) for task in tasks)
    return [task for task in left if task.members]


def cpu_room() -> Room:
    """Return the room of a population on one core: its share of the last cache, `CACHE_BYTES` where that is not known or more.

    Virtual machines name the cache of the whole host, hence the limit.
    """
    return Room(min(_cache_share(Path("/sys/devices/system/cpu/cpu0/cache")) or CACHE_BYTES, CACHE_BYTES))


def _cache_share(folder: Path) -> int:
    """Return the bytes of the largest cache over the cores that share it; 0 where the machine does not say."""
    shares = []
    for cache in folder.glob("index*"):
        try:
            size = (cache / "size").read_text().strip()
            shared = (cache / "shared_cpu_list").read_text().strip()
            units: Mapping[str, int] = {"K": 2**10, "M": 2**20, "G": 2**30}
            shares.append(int(size[:-1]) * units[size[-1]] // _count(shared))
        except (OSError, ValueError, KeyError, IndexError):
            continue
    return max(shares, default=0)


def _count(ranges: str) -> int:
    """Return how many numbers a list of ranges holds.

    >>> _count("0-3,8")
    5
    """
    ends = [part.split("-") for part in ranges.split(",")]
    return sum(int(end[-1]) - int(end[0]) + 1 for end in ends)
