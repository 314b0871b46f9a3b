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

PARTS = 16
"""On a CPU a population has at most a 16th of a sweep's networks: else few of many cores work, and a kill costs it all."""

FEWEST = 8
"""But so many may train together however small the sweep: 64-16-12-10 takes 1.4 times as long as among 16, among 4 twice."""

GPU_TRAFFIC_BYTES = 300 * 300e9
"""What a population on a GPU may move, in five minutes on one of 300 GB/s: a kill or the end of the time costs no more."""

RANDOM = ("rrelu",)
"""Activations that draw random numbers in training; code of the user's own may, too."""

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
    most = max(FEWEST, math.ceil(sum(map(len, keys)) / PARTS))
    groups: dict[object, list[int]] = {}
    for i, cell in enumerate(cells):
        groups.setdefault(group_of(cell.recipe), []).append(i)
    found: list[tuple[float, tuple[Planned, ...]]] = []
    for members in groups.values():
        first = cells[members[0]].recipe
        shape = shape_of(first)
        parameters = count_parameters(first, shape)
        size = _group_size(first, shape, parameters, room, most)
        for part in _parts(members, first.seed_list, size, room):
            planned = (Planned(i, seed, keys[i][seed], cells[i].recipe) for seed, i in part)
            found.append((shape.steps * float(parameters), tuple(planned)))
    found.sort(key=lambda costed: -costed[0])  # stable: equal ones stay in the grid's order
    return [PopulationTask(index, members) for index, (_, members) in enumerate(found)]


def fewest_populations(networks: int, *, is_gpu: bool) -> int:
    """Return how many populations so many networks make at least, before anything is known of their samples.

    >>> fewest_populations(1000, is_gpu=False), fewest_populations(1000, is_gpu=True), fewest_populations(3, is_gpu=False)
    (16, 1, 1)
    """
    return 1 if is_gpu else math.ceil(networks / MOST_MEMBERS)


def group_of(recipe: Recipe) -> object:
    """Return what must be equal for networks to train in lock-step."""
    stack = recipe.stack
    hidden = stack.hidden if stack else ()
    return (samples_key(recipe), hidden, recipe.training, recipe.watch, recipe.seed_list, trains_alone(recipe))


def trains_alone(recipe: Recipe) -> bool:
    """Tell whether a network must have a population of its own, since it draws random numbers while it trains.

    The members of a population draw from one stream: a network's result would depend on who the others are.
    """
    blocks = [block for layer in (recipe.stack.layers if recipe.stack else ()) for block in layer.blocks]
    return any(block.activation.name in RANDOM or block.activation.is_reference for block in blocks)


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
    fitting = room.bytes // (parameters * _kept_numbers(optimizer, room) * FLOAT_BYTES)
    return max(1, fitting if room.is_gpu else min(fitting, MOST_MEMBERS))


def _group_size(recipe: Recipe, shape: Shape, parameters: int, room: Room, most: int) -> int:
    """Return how many networks of a group train together at most; `most` is the limit of a CPU that the sweep's size sets."""
    if trains_alone(recipe):
        return 1
    size = population_size(parameters, recipe.training.optimizer, room)
    if not room.is_gpu:
        return min(size, most)
    moved = 2 * _kept_numbers(recipe.training.optimizer, room) * FLOAT_BYTES * parameters * shape.steps  # read and written
    return max(1, min(size, int(GPU_TRAFFIC_BYTES // moved)))


def _kept_numbers(optimizer: str, room: Room) -> int:
    """Return how many numbers a weight takes: itself, the optimizer's, on a GPU its gradient and a copy while that is made."""
    return {"sgd": 2}.get(optimizer, 3) + 2 * room.is_gpu


def _parts(cells: Sequence[int], seeds: Sequence[int], size: int, room: Room) -> Iterator[list[tuple[int, int]]]:
    """Yield (seed, cell) of each population of a group: as equal in number as can be, by seed first.

    Members of one seed share every batch; where there are several seeds, each member has a copy of its own. So on a CPU a
    population has more than one seed only where it has room for all of the group's cells from each.
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
