"""What the sweep benchmark trains: the published grid, and cases that differ from it in one thing. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gradscope.cell import Cell, PopulationTask
from gradscope.recipe import Recipe, build_recipe
from gradscope.sweep_plan import Room, Shape, cpu_room, plan

ACTIVATIONS = ("relu", "tanh", "sigmoid", "selu")
INPUTS, OUTPUTS, BATCH = 784, 10, 32
STACKS = len(ACTIVATIONS) ** 3
EPOCHS = 50  # more than any measurement takes
MAIN = "main"
GPU_FREE_FRAC = 0.25  # of its free memory for a population: gradscope sweep takes half, but has no other contender beside it


@dataclass(frozen=True)
class Case:
    """So many networks of these hidden widths: the published stacks from one seed each, then from the next."""

    name: str
    members: int = STACKS
    hidden: tuple[int, ...] = (500, 256)

    @property
    def widths(self) -> tuple[int, ...]:
        """Of all layers, the input's and the output's included."""
        return (INPUTS, *self.hidden, OUTPUTS)

    @property
    def weights(self) -> int:
        """Weights of one network's linear layers, without biases."""
        return sum(wide * after for wide, after in zip(self.widths, self.widths[1:], strict=False))

    @property
    def product_flops(self) -> int:
        """Operations in the matrix products of one member-step: z, the weights' gradients, the gradients between layers."""
        return 2 * BATCH * (3 * self.weights - self.widths[0] * self.widths[1])


CASES = (
    Case(MAIN),
    Case("members-1", members=1),
    Case("members-8", members=8),
    Case("members-512", members=512),
    Case("depth-10", hidden=(500, *(256,) * 8)),
    Case("depth-30", hidden=(500, *(256,) * 28)),
    *(Case(f"width-{width}", hidden=(width, width)) for width in (64, 256, 512, 1024, 2048)),
)
QUICK = Case("tiny", members=4, hidden=(32, 16))  # whether all of it runs; its times say nothing


def populations(case: Case, room: Room) -> list[PopulationTask]:
    """Return the case's networks in the populations that `gradscope sweep` would train where there is this room for each."""
    seeds = math.ceil(case.members / STACKS)
    recipes = [_recipe(case, stack, seeds) for stack in _stacks(min(case.members, STACKS))]
    cells = [Cell(factors={}, recipe=recipe) for recipe in recipes]
    shape = Shape(INPUTS, OUTPUTS, steps=1)  # all train equally long
    return plan(cells, lambda recipe: shape, _keys, room)


def room(case: Case, population: int | None, *, on_gpu: bool) -> Room:
    """Return what a population has to fit into: as `gradscope sweep` has it, or so that it has so many networks at most."""
    if population:
        per_weight = 16 if on_gpu else 8  # bytes: see `gradscope.sweep_plan.population_size`
        parameters = case.weights + sum(case.widths[1:])
        return Room(population * parameters * per_weight, is_gpu=on_gpu)
    if not on_gpu:
        return cpu_room()
    import torch

    return Room(int(torch.cuda.mem_get_info()[0] * GPU_FREE_FRAC), is_gpu=True)


def groups(tasks: Sequence[PopulationTask], processes: int, most: int) -> list[list[PopulationTask]]:
    """Return populations that train at the same time, one in each process: at most so many such groups, evenly spread."""
    count = max(1, min(most, len(tasks) // processes))
    firsts = [group * (len(tasks) // processes) // count * processes for group in range(count)]
    return [list(tasks[first : first + processes]) for first in firsts]


def activations(recipe: Recipe) -> list[str]:
    """Return the name of each layer's activation."""
    assert recipe.stack is not None
    return [layer.blocks[0].activation.name for layer in recipe.stack.layers]


def _keys(recipe: Recipe) -> dict[int, str]:
    return {seed: f"{recipe.name} from {seed}" for seed in recipe.seed_list}


def _stacks(count: int) -> list[int]:
    """Return which of the published stacks are trained; a part of them has each activation in each layer equally often."""
    return list(range(STACKS)) if count == STACKS else [i * 9 % STACKS for i in range(count)]


def _recipe(case: Case, stack: int, seeds: int) -> Recipe:
    digits = (stack // 16, stack // 4 % 4, stack % 4)
    return build_recipe(
        {
            "name": f"stack-{stack}",
            "data": "mnist",
            "stack": {
                "hidden": case.hidden,
                "activations": [ACTIVATIONS[digits[layer % 3]] for layer in range(len(case.hidden) + 1)],
            },
            "training": {"optimizer": "sgd", "lr": 0.01, "momentum": 0.5, "batch_size": BATCH, "epochs": EPOCHS},
            "seeds": seeds,
            "fixes": [],
        }
    )
