"""Sick networks in loops of their own: one cause, planted at a known place in a network that learns without it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.corpus_case import DEAD, DRAWS, LARGE, LARGE_BOUNDED, LARGE_RELU, Case, Plant
from benchmarks.corpus_models import Chain, Layer, convolutions, mlp, recurrent, transformer
from benchmarks.corpus_tasks import TASKS
from benchmarks.corpus_training import Setup, parts_of

STEPS = 500
Change = Callable[[Setup, str], None]


@dataclass(frozen=True)
class Base:
    """A network that learns: how it is made and trained, and the stages in which something can be planted."""

    name: str
    task: str
    build: Callable[[], Chain]
    stages: tuple[str, ...]
    goal: float
    lr: float = 0.05
    optimizer: str = "sgd"

    def setup(self) -> Setup:
        """Return it, healthy."""
        return Setup(self.build(), TASKS[self.task](), self.optimizer, self.lr)


@dataclass(frozen=True)
class Family:
    """A planted cause: the networks that it can be planted in, how, and what a right diagnosis says."""

    plant: Plant
    bases: Sequence[Base]
    change: Change
    count: int
    is_placed: bool = True  # at a stage; else in the whole network
    stages: tuple[str, ...] = field(default=())  # instead of the network's own
    stands: Callable[[str], tuple[str, ...]] = lambda stage: (stage,)  # where an origin is right


def _mlp(act: Callable[[], nn.Module], hidden: Sequence[int], **how: float) -> Base:
    stages = tuple(f"layer{k + 1}" for k in range(len(hidden)))
    name = f"{len(hidden)} {act.__name__.lower()} layers"
    return Base(name, "pixels", partial(mlp, 64, hidden, 10, act), stages, 0.8, **({"lr": 0.1} | how))


def _he(hidden: Sequence[int]) -> Chain:
    model = mlp(64, hidden, 10, nn.ReLU)
    for name, _ in model.named_children():
        nn.init.kaiming_normal_(parts_of(model, [name])[0].weight, nonlinearity="relu")
    return model


def _cnn(act: Callable[[], nn.Module], channels: Sequence[int]) -> Base:
    stages = tuple(f"layer{k + 1}" for k in range(len(channels)))
    name = f"{len(channels)} convolutions of {act.__name__.lower()}"
    return Base(name, "digits", partial(convolutions, channels, 10, act), stages, 0.8)


def _rnn(act: Callable[[Tensor], Tensor]) -> Base:
    build = partial(recurrent, 8, 32, 10, act=act)
    return Base(f"recurrent of {act.__name__}", "rows", build, ("layer1", "layer2"), 0.6, 5e-3, "adam")


RELU = (_mlp(nn.ReLU, [64, 32]), _mlp(nn.ReLU, [64, 48, 32]), _mlp(nn.ReLU, [48] * 4), _cnn(nn.ReLU, [8, 16]),
        _cnn(nn.ReLU, [8, 8, 16]))  # fmt: skip
BOUNDED = (_mlp(nn.Tanh, [64, 32]), _mlp(nn.Tanh, [48] * 3), _mlp(nn.Tanh, [48] * 4), _cnn(nn.Tanh, [8, 16]),
           _mlp(nn.Softsign, [64, 48, 32]), _rnn(torch.tanh))  # fmt: skip
SMOOTH = (_mlp(nn.GELU, [64, 32]), _mlp(nn.SiLU, [48] * 3), _mlp(nn.ELU, [64, 48, 32]))
WORDS = Base("transformer on words", "words", lambda: transformer(nn.Embedding(20, 16), 12, 16, 2, 4, nn.ReLU),
             ("layer1", "layer2"), 0.8, 5e-3, "adam")  # fmt: skip
SIGMOIDS = tuple(
    replace(_mlp(kind, hidden, lr=lr), name=f"{hidden[0]} and {hidden[1]} units of {name}", stages=("head",), goal=0.6)
    for name, kind in (("sigmoid", nn.Sigmoid), ("hard sigmoid", nn.Hardsigmoid))
    for hidden, lr in (([64, 32], 0.5), ([128, 64], 0.3), ([48, 48], 0.5))
)
DEEP = tuple(
    replace(_mlp(nn.Tanh, [width] * depth, lr=lr), name=f"{depth} layers of {width}")
    for width, depth, lr in ((48, 7, 0.1), (64, 8, 0.1), (64, 7, 0.1), (64, 6, 0.05))
)
DEEP_RELU = tuple(
    Base(f"{depth} relu layers, he", "pixels", partial(_he, [width] * depth), (), 0.8, 0.05)
    for width, depth in ((48, 6), (64, 8), (32, 10))
)


# --- what is planted ---


def _bias(value: float) -> Change:
    def plant(setup: Setup, stage: str) -> None:
        bias = parts_of(setup.model, [stage])[0].bias
        nn.init.constant_(bias, value)

    return plant


def _weights(factor: float) -> Change:
    @torch.no_grad()
    def plant(setup: Setup, stage: str) -> None:
        parts_of(setup.model, [stage])[0].weight.mul_(factor)

    return plant


def _all_weights(factor: float) -> Change:
    """Scale every layer but the head: of one saturated layer the others still learn."""

    @torch.no_grad()
    def plant(setup: Setup, stage: str) -> None:
        for part in parts_of(setup.model, [name for name, _ in setup.model.named_children() if name.startswith("layer")]):
            part.weight.mul_(factor)

    return plant


def _rate(factor: float) -> Change:
    def plant(setup: Setup, stage: str) -> None:
        if stage:
            setup.factors[stage] = factor
        else:
            setup.lr *= factor

    return plant


def _input(factor: float, offset: float = 0.0) -> Change:
    def plant(setup: Setup, stage: str) -> None:
        setup.samples = setup.samples.changed(lambda x: x * factor + offset)

    return plant


def _everywhere(fill: Callable[[Tensor], object]) -> Change:
    def plant(setup: Setup, stage: str) -> None:
        for name, _ in setup.model.named_children():
            for part in getattr(setup.model, name).modules():
                if isinstance(part, nn.Linear | nn.Conv2d):
                    fill(part.weight)
                    if part.bias is not None:
                        nn.init.zeros_(part.bias)

    return plant


def _scaled(factor: float) -> Callable[[Tensor], object]:
    def fill(weight: Tensor) -> None:
        nn.init.kaiming_normal_(weight)
        with torch.no_grad():
            weight.mul_(factor)

    return fill


def _relu_on_logits(setup: Setup, stage: str) -> None:
    head = setup.model.head
    assert isinstance(head, Layer)
    head.act = nn.ReLU()


@torch.no_grad()
def _same_units(setup: Setup, stage: str) -> None:
    """Give all units of a stage the weights of its first, in and out: of a layer of many one is left."""
    names = [name for name, part in setup.model.named_children() if any(True for _ in part.parameters())]
    before = parts_of(setup.model, [stage])[0]
    after = parts_of(setup.model, [names[names.index(stage) + 1]])[0]
    before.weight.copy_(before.weight[:1].expand_as(before.weight))
    before.bias.copy_(before.bias[:1].expand_as(before.bias))
    units = before.weight.shape[0]
    wide = after.weight.unflatten(1, (units, -1))  # a head behind convolutions has several inputs for each channel
    after.weight.copy_(wide[:, :1].expand_as(wide).flatten(1, 2))


def _breaking(how: str, step: int) -> Change:
    def plant(setup: Setup, stage: str) -> None:
        calls = {"done": -1}

        def broken(part: nn.Module, h: Tensor) -> Tensor:
            calls["done"] += setup.model.training
            if calls["done"] < step:
                return part(h)
            return part({"a log": torch.log(h - 1e3), "a division": h / (h - h), "an overflow": h * torch.exp(h + 1e3)}[how])

        setup.model.changes[stage] = broken

    return plant


def _cut(how: str) -> Change:
    def plant(setup: Setup, stage: str) -> None:
        def detached(part: nn.Module, h: Tensor) -> Tensor:
            return part(h.detach())

        def data(part: nn.Module, h: Tensor) -> Tensor:
            return part(h.data)

        def no_grad(part: nn.Module, h: Tensor) -> Tensor:
            with torch.no_grad():
                return part(h)

        setup.model.changes[stage] = {"detach": detached, ".data": data, "no_grad": no_grad}[how]

    return plant


def _sigmoids(setup: Setup, stage: str) -> None:
    for layer in setup.model.children():
        if isinstance(layer, Layer) and layer.act is not None:
            layer.act = nn.Sigmoid()


def _leave_out(setup: Setup, stage: str) -> None:
    setup.left_out = (stage,)


def _before(stage: str) -> tuple[str, ...]:
    """Return the stage whose output is the last that gets no gradient."""
    return (f"layer{int(stage.removeprefix('layer')) - 1}",)


# --- the families ---


def _families() -> Iterator[Family]:
    everything = (*RELU, *BOUNDED, *SMOOTH)
    chains = tuple(base for base in everything if len(base.stages) > 2)
    dead = Plant("dead layer by bias", ("dead-layer", "dead-units"), ("vanishing-gradient", "common-mode", "stuck-at-chance"))
    for value in (-30.0, -300.0):
        yield Family(dead, RELU, _bias(value), 6)
    thrown = Plant(
        "learning rate of one layer", ("oversized-updates", "dead-layer", "dead-units", "diverging-loss"), LARGE_RELU
    )
    for factor in (1000.0, 1e4):
        yield Family(thrown, RELU, _rate(factor), 5)
    for factor, offset in ((1000.0, 0.0), (100.0, 3e3), (1e-5, 0.0), (1.0, 300.0)):
        also = LARGE_RELU if factor > 1 else ("vanishing-gradient", "stuck-at-chance")
        also = (*LARGE_RELU, "common-mode") if offset else also  # what is added is the same for all samples
        fed = Plant("input scale", ("unscaled-input",), also)
        yield Family(fed, RELU, _input(factor, offset), 3, stages=("layer1",))
    logits = Plant("relu on the logits", ("output-collapse", "common-mode"), (*DEAD, "vanishing-gradient", "stuck-at-chance"))
    yield Family(logits, SIGMOIDS, _relu_on_logits, 12)
    large = Plant("saturation by weights", ("saturation",), LARGE_BOUNDED)
    for factor in (50.0, 200.0):
        yield Family(large, BOUNDED, _weights(factor), 6)
    every = replace(large, name="saturation by all weights")
    yield Family(every, BOUNDED[:-1], _all_weights(50.0), 8, stages=("layer1",))
    constant_on = (
        *DEAD,
        "vanishing-gradient",
        "common-mode",
        "stuck-at-chance",
    )  # what comes after is fed the same by all samples
    held = Plant("saturation by bias", ("saturation",), constant_on)
    yield Family(held, BOUNDED, _bias(12.0), 8)
    scaled = Plant("saturation by input", ("saturation", "unscaled-input"), LARGE_BOUNDED)
    for factor in (100.0, 1000.0):
        yield Family(scaled, BOUNDED[:-1], _input(factor), 4, stages=("layer1",))
    deep = Plant("deep sigmoid", ("vanishing-gradient",), ("stuck-at-chance", "common-mode"))
    yield Family(deep, DEEP, _sigmoids, 8, is_placed=False)
    same_from_start = ("identical-units", "dead-layer", "vanishing-gradient")
    zeros = Plant("all weights zero", same_from_start, ("dead-units", "common-mode", "stuck-at-chance"))
    yield Family(zeros, everything, _everywhere(nn.init.zeros_), 6, is_placed=False)
    large_sums = (*LARGE, "saturation", *DEAD, "common-mode")  # of inputs that all count alike
    constant = Plant("all weights one constant", ("identical-units",), large_sums)
    for value in (0.05, 0.2):
        filled = _everywhere(partial(nn.init.constant_, val=value))
        yield Family(constant, everything, filled, 4, stages=("layer1",))
    exploding = Plant("exploding initialisation", ("exploding-gradient",), LARGE_RELU)
    for factor in (4.0, 10.0):
        yield Family(exploding, DEEP_RELU, _everywhere(_scaled(factor)), 5, is_placed=False)
    fast = Plant("learning rate", ("oversized-updates", "diverging-loss", "non-finite"), (*LARGE_RELU, "saturation"))
    for factor in (100.0, 1000.0):
        yield Family(fast, everything, _rate(factor), 6, is_placed=False)
    for how, step in (("a log", 0), ("a division", 7), ("an overflow", 20), ("a log", 19), ("a division", 150)):
        broken = Plant(f"not finite by {how}", ("non-finite",), ("diverging-loss", "stuck-at-chance"))
        yield Family(broken, (*everything, WORDS), _breaking(how, step), 3)
    frozen = Plant("a layer the optimizer does not hold", ("frozen-weights",), ("stuck-at-chance",), may_learn=True)
    yield Family(frozen, (*everything, WORDS), _leave_out, 8, stands=lambda stage: (f"{stage}.",))
    still = Plant("learning rate of zero", ("frozen-weights",), ("stuck-at-chance",))
    yield Family(still, everything, _rate(0.0), 4, is_placed=False)
    shut = (*DEAD, "vanishing-gradient", "common-mode", "stuck-at-chance")  # if the one unit that is left is
    same = Plant("identical units", ("identical-units",), shut, may_learn=True)
    yield Family(same, (*RELU, *BOUNDED[:4], *SMOOTH), _same_units, 12)
    for how in ("detach", ".data", "no_grad"):
        cut = Plant(f"cut off by {how}", ("frozen-weights",), ("stuck-at-chance",), may_learn=True)
        at = ("layer2", "layer3")
        places = (lambda stage: (stage, f"{stage}.", *_before(stage))) if how == "no_grad" else _before
        yield Family(cut, chains, _cut(how), 4, stages=at, stands=places)


def planted() -> Iterator[Case]:
    """Yield the sick cases that train in a loop of their own.

    Networks and places are drawn from a seed for each planted cause, so that a new one changes no other's, and anew for each
    half.
    """
    before: Counter[str] = Counter()
    for family in _families():
        number = before[family.plant.name]
        before[family.plant.name] += 1
        for half, seed in DRAWS.items():
            drawn = _cases(family, random.Random(f"{seed} {family.plant.name} {number}"), number)
            yield from (case for case in drawn if case.half == half)


def _cases(family: Family, rng: random.Random, number: int) -> Iterator[Case]:
    stages = {base: (family.stages or base.stages) if family.is_placed else ("",) for base in family.bases}
    choices = [(base, stage) for base, some in stages.items() for stage in some]
    drawn = rng.sample(choices, min(family.count, len(choices)))
    drawn += rng.choices(choices, k=family.count - len(drawn))
    for i, (base, stage) in enumerate(drawn):
        where = f", {stage}" if stage else ""
        plant = replace(family.plant, places=family.stands(stage) if stage else ())
        name = f"{plant.name}: {base.name}{where} ({number}.{i})"
        yield Case(name, "sick", base.goal, STEPS, STEPS, plant, partial(_planted, base, family.change, stage))


def _planted(base: Base, change: Change, stage: str) -> Setup:
    setup = base.setup()
    change(setup, stage)
    return setup


def twins() -> Iterator[Case]:
    """Yield each network without anything planted, which must learn: else what is planted in it proves nothing."""
    bases = {base.name: base for family in _families() for base in family.bases}
    for name, base in bases.items():
        yield Case(f"twin: {name}", "healthy", base.goal, STEPS, STEPS, setup=base.setup)
