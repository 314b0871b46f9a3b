"""Small sweeps for the tests of what runs them."""

from __future__ import annotations

from collections.abc import Sequence

from gradscope.cell import Cell, Planned, PopulationTask
from gradscope.cell_run import CellRun
from gradscope.recipe import Recipe
from gradscope.recipe_file import parse_recipe

TEXT = """
name: {name}
data: {data}
stack: {{hidden: {hidden}, activations: [{activations}]}}
training: {{lr: {lr}, epochs: {epochs}}}
seeds: {seeds}
fixes: []
"""


def recipe_of(
    activations: str = "relu, tanh, none", *, hidden: Sequence[int] = (8, 6), lr: float = 0.1, seeds: object = 2,
    epochs: int = 1, data: str = "digits", name: str = "small",
) -> Recipe:  # fmt: skip
    return parse_recipe(
        TEXT.format(
            name=name, data=data, hidden=list(hidden), activations=activations, lr=lr, epochs=epochs, seeds=seeds
        )
    )  # fmt: skip


def cells_of(*recipes: Recipe) -> list[Cell]:
    return [Cell({"cell": str(i)}, recipe) for i, recipe in enumerate(recipes)]


def run_of(member: Planned, value: float = 0.5, steps: int = 3) -> CellRun:
    """What an engine that does not train may say of a network."""
    return CellRun(
        key=member.key, seed=member.seed, metric="accuracy", value=value, chance=0.1, test_samples=9, steps=steps,
        verdict="healthy", epochs=[], findings=[], start={},
    )  # fmt: skip


def task_of(index: int, members: int = 1, recipe: Recipe | None = None) -> PopulationTask:
    """A population whose members' keys are `index.member`."""
    found = recipe or recipe_of()
    return PopulationTask(index, tuple(Planned(i, 1, f"{index}.{i}", found) for i in range(members)))


def keys_of(recipe: Recipe) -> dict[int, str]:
    """Keys in words."""
    assert recipe.stack is not None
    layers = " ".join(str(block.activation) for layer in recipe.stack.layers for block in layer.blocks)
    return {seed: f"{layers} {recipe.stack.hidden} {recipe.training.lr} {seed}" for seed in recipe.seed_list}
