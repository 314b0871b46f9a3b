"""The cells of a sweep: one recipe for each combination of its grid's values, in an order that a table is read in.

The leftmost column changes slowest, activations first: neighbours agree in their first layers, as in the published tables.
"""

from __future__ import annotations

import dataclasses
import hashlib
import random
import re
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any, NamedTuple

from gradscope.cell import Cell
from gradscope.grid_activations import Choice
from gradscope.recipe import NormalInit, NpzData, Recipe, Stack, Training
from gradscope.recipe_faults import Keys, key_text
from gradscope.recipe_grid import Grid, Sample, place_of, said

LONGEST_NAME = 100


class Point(NamedTuple):
    """One combination: the stack's activations where the grid has some, and by short name the place and value of each key."""

    choice: Choice | None
    values: Mapping[str, tuple[int, Any]]


def cells_of(recipe: Recipe) -> list[Cell]:
    r"""Return the cells of a recipe's grid; without a grid the recipe is its only cell.

    Always the same ones in the same order. Their recipes say which key of the grid a fault comes from.

    >>> from gradscope.recipe_file import parse_recipe
    >>> text = "data: digits\nstack: {hidden: []}\ngrid: {lr: [0.1, 1], activations: {product: [relu, tanh]}, sample: 3}"
    >>> [tuple(cell.factors.values()) for cell in cells_of(parse_recipe(text))]
    [('relu', '1'), ('tanh', '0.1'), ('tanh', '1')]
    """
    grid = recipe.grid
    if grid is None:
        return [Cell({}, recipe.model_copy(update={"fixes": (), "expect": None}))]
    chosen = _sampled(grid.sample, cell_count(recipe, before_sample=True)) if grid.sample else None
    points = [point for i, point in enumerate(_points(recipe, grid)) if chosen is None or i in chosen]
    make, columns = _CellMaker(recipe, grid), _columns(recipe, grid)
    return [make(point, columns) for point in points]


def cell_count(recipe: Recipe, *, before_sample: bool = False) -> int:
    """Return the number of cells, without making them; 1 without a grid."""
    grid = recipe.grid
    if grid is None:
        return 1
    return grid.sample.size if grid.sample and not before_sample else grid.count(_hidden(recipe, grid))


def _hidden(recipe: Recipe, grid: Grid) -> tuple[tuple[int, ...], ...]:
    """Return the hidden widths that there are."""
    return grid.values("hidden") or (recipe.stack.hidden if recipe.stack else (),)


def _sampled(sample: Sample, count: int) -> set[int]:
    """Return the places of a sample's cells; made from `Random.random` alone, which no Python changes."""
    draw = random.Random(sample.seed)
    order = sorted((draw.random(), i) for i in range(count))
    return {i for _, i in order[: sample.size]}


def _points(recipe: Recipe, grid: Grid) -> Iterator[Point]:
    """Yield the combinations: by depth of the stack, within it in the order of the columns."""
    for depth in dict.fromkeys(len(hidden) + 1 for hidden in _hidden(recipe, grid)):
        axes = [
            [(axis.name, (i, value)) for i, value in enumerate(axis.values) if _fits(depth, axis.name, value)]
            for axis in grid.axes
        ]
        for choice in grid.activations.choices(depth) if grid.activations else (None,):
            for values in product(*axes):
                yield Point(choice, dict(values))


def _fits(depth: int, name: str, value: object) -> bool:
    """Tell whether a value of a key is one for stacks of `depth` layers."""
    return not (name == "hidden" and isinstance(value, tuple)) or len(value) + 1 == depth


def _columns(recipe: Recipe, grid: Grid) -> tuple[str, ...]:
    """Return the columns: each layer's activation, of the deepest stack, and each key of more than one value."""
    deepest = max(len(hidden) + 1 for hidden in _hidden(recipe, grid))
    choice = next(grid.activations.choices(deepest)) if grid.activations else None
    names = [name for name, _ in choice.columns] if choice else []
    return (*names, *(axis.name for axis in grid.axes if len(axis.values) > 1))


class _CellMaker:
    """Makes cells from values that are checked already; what several cells share is made once."""

    def __init__(self, recipe: Recipe, grid: Grid) -> None:
        self.recipe, self.grid = recipe, grid
        self.trainings: dict[tuple[object, ...], Training] = {}
        self.where = {
            axis.name: [self._where((*grid.key(axis.name), i)) for i in range(len(axis.values))] for axis in grid.axes
        }

    def __call__(self, point: Point, columns: tuple[str, ...]) -> Cell:
        texts = {name: factor_text(value) for name, (_, value) in point.values.items()} | dict(
            point.choice.columns if point.choice else ()
        )
        factors = {name: texts.get(name, "") for name in columns}  # a shallow stack has no activation in the last columns
        values = {name: value for name, (_, value) in point.values.items()}
        of_recipe = {name: value for name, value in values.items() if name in Recipe.model_fields}
        made = self.recipe.model_copy(
            update=of_recipe
            | {"name": _name(self.recipe.name, factors), "stack": self._stack(point.choice, values)}
            | {"training": self._training(values), "grid": None, "fixes": (), "expect": None}
        )
        made._positions = dataclasses.replace(self.recipe._positions, options=self._options(point))
        return Cell(factors, made)

    def _stack(self, choice: Choice | None, values: Mapping[str, object]) -> Stack | None:
        of_stack = {name: value for name, value in values.items() if name in Stack.model_fields}
        if choice:
            of_stack["activations"] = choice.layers
        return self.recipe.stack and self.recipe.stack.model_copy(update=of_stack)

    def _training(self, values: Mapping[str, object]) -> Training:
        of_training = {name: value for name, value in values.items() if name in Training.model_fields}
        key = tuple(of_training.values())
        if key not in self.trainings:
            raw = said(self.recipe.training) | of_training
            if not Training.model_construct(**raw).uses_momentum:
                raw.pop("momentum", None)  # it was meant for the others
            self.trainings[key] = Training.model_validate(raw)
        return self.trainings[key]

    def _options(self, point: Point) -> dict[Keys, str]:
        """Return for each key of a cell's recipe that the grid says where it does."""
        options = dict(self.recipe._positions.options)
        for name, (i, _) in point.values.items():
            options[place_of(name)] = self.where[name][i]
        if point.choice:
            options["stack", "activations"] = self._where(self.grid.key("activations"))
        return options

    def _where(self, keys: Keys) -> str:
        where, name = self.recipe.where(*keys), key_text(keys)
        return where if where == name else f"{where}: {name}"


def factor_text(value: object) -> str:
    """Return a value of a grid as a cell of a table.

    >>> factor_text((500, 256)), factor_text(0.10), factor_text("adam"), factor_text(()), factor_text((0.5, 0.25))
    ('500-256', '0.1', 'adam', 'none', '0.5/0.25')
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, NormalInit):
        return f"std={factor_text(value.std)}"
    if isinstance(value, NpzData):
        rest = value.model_dump(exclude_defaults=True, exclude={"source", "path"})
        return " ".join([value.path, *(f"{key}={item}" for key, item in rest.items())])
    if isinstance(value, tuple):
        return ("/" if float in map(type, value) else "-").join(map(factor_text, value)) or "none"
    return str(value).removesuffix(".0")


def _name(sweep: str, factors: Mapping[str, str]) -> str:
    """Return the name of a cell, which a folder can have: the same for the same factors, whatever else is in the grid."""
    words = [text if column.startswith("act") else f"{column}={text}" for column, text in factors.items() if text]
    name = re.sub(r"[^\w .+-]", "-", " ".join([sweep, *words]))
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: LONGEST_NAME - 9]}-{digest}"
