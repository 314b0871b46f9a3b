"""The unit of a sweep's work: one cell of the grid, trained from one seed, and the group of them that trains in lock-step."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from gradscope.recipe import Recipe
from gradscope.recipe_file import dump_recipe

Precision = Literal["float32", "bf16"]

NOT_OF_THE_RESULT = ("name", "data", "normalize", "seeds", "most_seeds", "fixes", "expect", "device")
"""Keys of a recipe that change nothing about what one network comes to; for its data stand the samples themselves."""


@dataclass(frozen=True)
class Cell:
    """One point of a grid.

    `factors` are its columns in the results: name to value as it is written there, in the columns' order. `recipe` is what it
    trains: without grid and fixes, with the sweep's seeds.
    """

    factors: Mapping[str, str]
    recipe: Recipe


@dataclass(frozen=True)
class Planned:
    """One network that a sweep trains: a cell (by its place in the grid), a seed, and the key of its result."""

    cell: int
    seed: int
    key: str
    recipe: Recipe


@dataclass(frozen=True)
class PopulationTask:
    """Networks that train in lock-step: equal data, widths, training and schedule. `index` is its place in the sweep's plan."""

    index: int
    members: tuple[Planned, ...]


def run_keys(
    recipe: Recipe,
    seeds: Sequence[int],
    *,
    steps: int | None = None,
    precision: Precision = "float32",
    samples: str = "",
    code: Sequence[str] = (),
) -> dict[int, str]:
    """Return by seed the hash under which the result of a cell is kept, 32 hexadecimal digits.

    What the result depends on goes into it, defaults included; nothing else does, so that a renamed recipe, one with more
    seeds, or samples that lie elsewhere find again what was trained before. Left out as well are gradscope's version and the
    device, which a journal says beside its results.

    Args:
        recipe: the cell's.
        seeds: those wanted.
        steps: where the training was cut short, after how many steps.
        precision: of the products.
        samples: a digest of them, after standardisation.
        code: digests of the user's own code that the network runs.
    """
    lines = dump_recipe(recipe).splitlines()
    kept = [line for line in lines if line.split(":")[0] not in NOT_OF_THE_RESULT]
    parts = {seed: [*kept, str(seed), str(steps), precision, samples, *code] for seed in seeds}
    return {seed: hashlib.sha256(json.dumps(of_seed).encode()).hexdigest()[:32] for seed, of_seed in parts.items()}
