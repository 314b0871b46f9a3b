"""Healthy and sick recipes: stacks, whose layers can be changed one by one, so that the cause of a failure can be tested."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from benchmarks.corpus_case import DRAWS, LARGE_BOUNDED, LARGE_RELU, Case, Plant

HEALTHY_SEEDS, SICK_SEEDS = 3, 5  # five, since a cause is told from noise by paired seeds
STEPS = 450  # ten epochs of the digits
THROWN = ("exploding-gradient", "vanishing-gradient", "stuck-at-chance")  # what weights show that too large steps threw away
TOO_LARGE, TOO_SMALL = "pre-activations too large", "pre-activations too small"


def recipe(hidden: Sequence[int], activations: Sequence[object], seeds: int, **changes: Any) -> Mapping[str, Any]:
    """Return a recipe on the digits; `changes` are those of the stack or of the training."""
    training = {"optimizer": "sgd", "lr": 0.1, "batch_size": 32, "epochs": 10}
    stack: dict[str, Any] = {"hidden": list(hidden), "activations": list(activations)}
    for key, value in changes.items():
        (stack if key in ("init", "norm", "residual") else training)[key] = value
    return {"name": "case", "data": "digits", "stack": stack, "training": training, "seeds": seeds, "fixes": []}


def healthy_recipes() -> Iterator[Case]:
    """Yield stacks that learn, each with the accuracy that all of its seeds must beat."""
    for name, goal, changes, hidden, activations in _healthy():
        made = recipe(hidden, activations, HEALTHY_SEEDS, **changes)
        yield Case(f"healthy recipe: {name}", "healthy", goal, STEPS, recipe=made)


def _healthy() -> Iterator[tuple[str, float, Mapping[str, Any], Sequence[int], Sequence[object]]]:
    for act in ("relu", "tanh", "gelu", "silu", "elu", "selu", "leaky_relu", "softsign", "mish"):
        yield f"two layers of {act}", 0.88, {}, [64, 32], [act, act, "none"]
    for init in ("kaiming-normal", "xavier-uniform", "orthogonal", "lsuv", "matched-normal"):
        yield f"relus, {init}", 0.9, {"init": init}, [64, 48, 32], ["relu"] * 3 + ["none"]
    for norm in ("batchnorm-all", "layernorm-all", "batchnorm-last"):
        yield f"sigmoids, {norm}", 0.85, {"norm": norm}, [64, 32], ["sigmoid", "sigmoid", "none"]
    for optimizer, lr in (("adam", 0.003), ("adamw", 0.003), ("rmsprop", 0.001)):
        yield f"relus by {optimizer}", 0.9, {"optimizer": optimizer, "lr": lr}, [64, 32], ["relu", "relu", "none"]
    yield "relus that mix with tanhs", 0.88, {}, [64, 32], [["relu", "tanh"], ["relu", "tanh"], "none"]
    yield "tanh on the output", 0.88, {}, [64, 32], ["relu", "relu", "tanh"]
    yield "batch-norm before relu on the output", 0.88, {"norm": "batchnorm-all"}, [64, 32], ["relu", "sigmoid", "relu"]
    yield "six layers, residual", 0.88, {"residual": True, "lr": 0.05}, [48] * 6, ["relu"] * 6 + ["none"]
    yield "six layers, he", 0.88, {"init": "kaiming-normal", "lr": 0.05}, [48] * 6, ["relu"] * 6 + ["none"]
    yield "wide relus", 0.9, {"lr": 0.05}, [400, 100], ["relu", "relu", "none"]
    yield "warm-up and clipping", 0.88, {"warmup": 0.1, "clip": 1.0}, [64, 32], ["relu", "relu", "none"]


@dataclass(frozen=True)
class Drawn:
    """A stack with a planted cause. What `twin` holds stands in the healthy one instead: activations, or changes."""

    plant: Plant
    told: str
    hidden: Sequence[int]
    activations: Sequence[object]
    changes: Mapping[str, Any] = field(default_factory=dict)
    change: Callable[[Any], Any] | None = None  # of the samples
    twin: Mapping[str, Any] = field(default_factory=dict)

    def case(self, number: int) -> Case:
        """Return it as a case, beside its twin."""
        name = f"{self.plant.name}, recipe: {self.told}, {'-'.join(map(str, self.hidden))} ({number})"
        made = recipe(self.hidden, self.activations, SICK_SEEDS, **self.changes)
        others = {"activations": self.activations, **self.changes} | self.twin
        twin = recipe(self.hidden, seeds=SICK_SEEDS, **{key: value for key, value in others.items() if value is not None})
        return Case(name, "sick", 0.8, STEPS, plant=self.plant, recipe=made, change=self.change, twin=twin)


def sick_recipes() -> Iterator[Case]:
    """Yield stacks with one planted cause; widths are drawn from a seed, anew for each half."""
    for half, seed in DRAWS.items():
        rng = random.Random(seed)
        for kind in (_relu_behind_sigmoid, _saturated, _deep, _fast, _exploding, _scaled_input, _zeros):
            cases = [drawn.case(i) for i, drawn in enumerate(kind(rng))]
            yield from (case for case in cases if case.half == half)


def _widths(rng: random.Random, layers: int) -> list[int]:
    return [rng.choice([48, 64, 96]) for _ in range(layers)]


def _relu_behind_sigmoid(rng: random.Random) -> Iterator[Drawn]:
    plant = Plant(
        "relu on the logits",
        ("output-collapse", "common-mode"),
        ("dead-units", "dead-layer", "vanishing-gradient", "stuck-at-chance"),
        ("3.relu",),
        ("common-mode closed last pre-activations",),
    )
    for before in ("relu", "tanh", "sigmoid"):
        for lr in (0.01, 0.05, 0.1):
            hidden = [rng.choice([96, 128, 200]), rng.choice([64, 96])]
            told = f"{before}, sigmoid, relu at {lr}"
            twin = {"activations": [before, "sigmoid", "none"]}
            yield Drawn(plant, told, hidden, [before, "sigmoid", "relu"], {"lr": lr}, twin=twin)


def _saturated(rng: random.Random) -> Iterator[Drawn]:
    plant = Plant("saturation by weights", ("saturation",), LARGE_BOUNDED, causes=(TOO_LARGE, "saturated gates"))
    for act in ("sigmoid", "tanh"):
        for std in (3.0, 6.0, 12.0):
            placed, told = replace(plant, places=(f"1.{act}",)), f"{act}, deviation {std}"
            yield Drawn(placed, told, _widths(rng, 2), [act, act, "none"], {"init": {"std": std}}, twin={"init": None})


def _deep(rng: random.Random) -> Iterator[Drawn]:
    plant = Plant("deep sigmoid", ("vanishing-gradient",), ("stuck-at-chance", "common-mode"), causes=(TOO_SMALL,))
    for depth in (6, 7, 8, 10):
        for lr in (0.03, 0.1):
            hidden = [rng.choice([32, 48, 64])] * depth
            activations, twin = ["sigmoid"] * depth + ["none"], {"activations": ["tanh"] * depth + ["none"]}
            yield Drawn(plant, f"{depth} layers at {lr}", hidden, activations, {"lr": lr}, twin=twin)


def _fast(rng: random.Random) -> Iterator[Drawn]:
    plant = Plant("learning rate", ("oversized-updates", "diverging-loss", "dead-units", "dead-layer", "non-finite"), THROWN,
                  causes=("steps too large",))  # fmt: skip
    for depth in (2, 3):
        for lr, momentum in ((1.0, 0.9), (3.0, 0.5), (10.0, 0.5)):
            changes, told = {"lr": lr, "momentum": momentum}, f"{depth} layers at {lr}"
            activations, twin = ["relu"] * depth + ["none"], {"lr": 0.1, "momentum": 0.5}
            yield Drawn(plant, told, _widths(rng, depth), activations, changes, twin=twin)


def _exploding(rng: random.Random) -> Iterator[Drawn]:
    plant = Plant("exploding initialisation", ("exploding-gradient",), LARGE_RELU, causes=(TOO_LARGE,))
    for depth in (6, 8, 10):
        for std in (0.6, 1.0):
            hidden, told = [rng.choice([48, 64])] * depth, f"{depth} layers, deviation {std}"
            changes, twin = {"init": {"std": std}, "lr": 0.01}, {"init": "kaiming-normal"}
            yield Drawn(plant, told, hidden, ["relu"] * depth + ["none"], changes, twin=twin)


def _scaled_input(rng: random.Random) -> Iterator[Drawn]:
    for act, also in (("relu", LARGE_RELU), ("tanh", LARGE_BOUNDED)):
        plant = Plant("input scale", ("unscaled-input", "saturation"), also, causes=(TOO_LARGE, "steps too large"))
        for factor in (300.0, 1e3, 1e4):
            placed, told = replace(plant, places=(f"1.{act}",)), f"{act}, times {factor:g}"
            yield Drawn(placed, told, _widths(rng, 2), [act, act, "none"], change=partial(_multiplied, factor=factor))


def _zeros(rng: random.Random) -> Iterator[Drawn]:
    rules = ("identical-units", "dead-layer", "vanishing-gradient")
    plant = Plant("all weights zero", rules, ("dead-units", "stuck-at-chance"), causes=("unlucky initial weights",))
    for act in ("relu", "tanh", "gelu"):
        yield Drawn(plant, act, _widths(rng, 2), [act, act, "none"], {"init": "zeros"}, twin={"init": None})


def _multiplied(data: Any, factor: float) -> Any:
    return replace(data, x_train=data.x_train * factor, x_test=data.x_test * factor)
