"""Networks that learn, as users have them: what gradscope finds in them is a false alarm.

Each states the test accuracy that shows that it learns. Those that look dead and are not belong here: wide layers of which four
values in five are zeros, half of the units dropped, nine winners' losers in ten set to zero, trained bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.corpus_case import Case
from benchmarks.corpus_models import Act, Chain, Layer, Winners, convolutions, mlp, recurrent, transformer
from benchmarks.corpus_tasks import TASKS
from benchmarks.corpus_training import Setup, parts_of

STEPS = 1500  # at most
FEWEST = (300, 700, STEPS)  # in turn: some findings come with the first steps, others late
PIXELS, IMAGES, ROWS, PATCHES, WORDS, BLOBS, RINGS, TABLE = 0.9, 0.9, 0.8, 0.8, 0.9, 0.85, 0.9, 0.75
"""What a network must beat on each task; a linear classifier has 0.93 on the digits' pixels, a guess 0.1 to 0.35."""

ACTS: Mapping[str, Callable[[], Act]] = {
    "relu": nn.ReLU, "leaky-relu": nn.LeakyReLU, "elu": nn.ELU, "selu": nn.SELU, "celu": nn.CELU, "gelu": nn.GELU,
    "silu": nn.SiLU, "mish": nn.Mish, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "softsign": nn.Softsign,
    "softplus": nn.Softplus, "hardtanh": nn.Hardtanh, "hardswish": nn.Hardswish, "hardsigmoid": nn.Hardsigmoid,
    "relu6": nn.ReLU6, "prelu": nn.PReLU, "rrelu": nn.RReLU, "logsigmoid": nn.LogSigmoid, "tanhshrink": nn.Tanhshrink,
}  # fmt: skip
OPTIMIZERS: Sequence[tuple[str, float, Mapping[str, Any]]] = (
    ("sgd", 0.1, {}), ("sgd", 0.02, {"momentum": 0.9}), ("sgd", 0.02, {"momentum": 0.9, "nesterov": True}),
    ("adam", 1e-3, {}), ("adamw", 2e-3, {"weight_decay": 0.05}), ("rmsprop", 1e-3, {}), ("adagrad", 0.02, {}),
    ("nadam", 1e-3, {}), ("radam", 2e-3, {}), ("adamax", 2e-3, {}),
)  # fmt: skip


def healthy() -> Iterator[Case]:
    """Yield the healthy cases that train in a loop of their own."""
    for i, (name, goal, setup) in enumerate(_all()):
        fewest = FEWEST[i % len(FEWEST)]
        yield Case(f"healthy: {name}", "healthy", goal, STEPS, fewest, setup=partial(_telling, setup, is_telling=i % 2 == 0))


def _telling(setup: Callable[[], Setup], *, is_telling: bool) -> Setup:
    made = setup()
    made.tells_accuracy = is_telling
    return made


def _all() -> Iterator[tuple[str, float, Callable[[], Setup]]]:
    yield from _activations()
    yield from _optimizers()
    yield from _images()
    yield from _sequences()
    yield from _sparse()
    yield from _small_tasks()
    yield from _schedules()


def _setup(task: str, build: Callable[[], Chain], **how: Any) -> Setup:
    return Setup(build(), TASKS[task](), **how)


def _case(name: str, goal: float, task: str, build: Callable[[], Chain], **how: Any) -> tuple[str, float, Callable[[], Setup]]:
    return name, goal, partial(_setup, task, build, **how)


def _activations() -> Iterator[tuple[str, float, Callable[[], Setup]]]:
    for name, act in ACTS.items():
        lr = 0.5 if "sigmoid" in name else 0.1
        yield _case(f"mlp of {name}", PIXELS, "pixels", partial(mlp, 64, [64, 32], 10, act), lr=lr)
    for act in (F.relu, F.gelu, torch.tanh, F.silu):
        build = partial(mlp, 64, [48, 48], 10, lambda act=act: act)
        yield _case(f"mlp of {act.__name__} as a function", PIXELS, "pixels", build)


def _optimizers() -> Iterator[tuple[str, float, Callable[[], Setup]]]:
    for name, lr, options in OPTIMIZERS:
        told = " ".join([name, *(f"{key}={value}" for key, value in options.items())])
        how = {"optimizer": name, "lr": lr, "options": dict(options)}
        yield _case(f"mlp by {told}", PIXELS, "pixels", partial(mlp, 64, [64, 64], 10, nn.ReLU), **how)


def _images() -> Iterator[tuple[str, float, Callable[[], Setup]]]:
    adam = {"optimizer": "adam", "lr": 3e-3}
    group = partial(nn.GroupNorm, 2)
    yield _case("convolutions", IMAGES, "digits", partial(convolutions, [8, 16], 10, nn.ReLU))
    yield _case("convolutions of tanh", IMAGES, "digits", partial(convolutions, [8, 16], 10, nn.Tanh))
    yield _case("convolutions, batch-norm", IMAGES, "digits", partial(convolutions, [8, 16, 16], 10, nn.ReLU, nn.BatchNorm2d))
    yield _case("convolutions, group-norm", IMAGES, "digits", partial(convolutions, [8, 16], 10, nn.SiLU, group), **adam)
    for norm, how in ((None, adam), (nn.BatchNorm2d, {})):
        build = partial(convolutions, [8, 8, 8, 16], 10, nn.ReLU, norm, shortcut=True)
        yield _case(f"residual convolutions{', batch-norm' if norm else ''}", IMAGES, "digits", build, **how)
    for norm in (nn.BatchNorm1d, nn.LayerNorm):
        yield _case(f"mlp, {norm.__name__}", PIXELS, "pixels", partial(mlp, 64, [48, 48, 48], 10, nn.ReLU, norm))
        yield _case(f"deep mlp of sigmoid, {norm.__name__}", PIXELS, "pixels", partial(mlp, 64, [48] * 4, 10, nn.Sigmoid, norm))
    residual = partial(mlp, 64, [48] * 8, 10, nn.ReLU, shortcut=True)
    yield _case("residual mlp of 8", PIXELS, "pixels", residual, lr=0.02)
    yield _case("residual mlp of 8, layer-norm", PIXELS, "pixels", partial(residual, norm=nn.LayerNorm), **adam)


def _sequences() -> Iterator[tuple[str, float, Callable[[], Setup]]]:
    adam = {"optimizer": "adam", "lr": 5e-3}
    yield _case("recurrent of tanh", ROWS, "rows", partial(recurrent, 8, 32, 10), **adam)
    yield _case("recurrent of tanh, clipped", ROWS, "rows", partial(recurrent, 8, 32, 10), lr=0.2, clip=1.0)
    yield _case("recurrent of relu", ROWS, "rows", partial(recurrent, 8, 32, 10, act=F.relu), **adam)
    for cell in (nn.LSTM, nn.GRU):
        build = lambda cell=cell: recurrent(8, 32, 10, cell(8, 32, batch_first=True))  # noqa: E731
        yield _case(cell.__name__.lower(), ROWS, "rows", build, **adam)
    for act in (nn.GELU, nn.ReLU):
        build = lambda act=act: transformer(nn.Linear(4, 16), 16, 16, 2, 10, act)  # noqa: E731
        yield _case(f"transformer of {act.__name__.lower()} on patches", PATCHES, "patches", build, **adam)
        build = lambda act=act: transformer(nn.Embedding(20, 16), 12, 16, 2, 4, act)  # noqa: E731
        yield _case(f"transformer of {act.__name__.lower()} on words", WORDS, "words", build, **adam)
    deep = lambda: transformer(nn.Linear(4, 16), 16, 16, 4, 10, nn.GELU)  # noqa: E731
    yield _case("transformer of four blocks, adamw", PATCHES, "patches", deep, optimizer="adamw", lr=3e-3, clip=1.0)


def _sparse() -> Iterator[tuple[str, float, Callable[[], Setup]]]:
    """Yield what looks dead: most values are zeros, and each unit has samples of its own."""
    for fifth in (0.7, 1.0):
        build = partial(_shifted, partial(mlp, 64, [256, 128], 10, nn.ReLU), -fifth)
        yield _case(f"wide relus, biases {-fifth}", PIXELS, "pixels", build, lr=0.05)
    wide = partial(mlp, 64, [512], 10, nn.ReLU)
    yield _case("one very wide layer of relus", PIXELS, "pixels", wide)
    for rate in (0.5, 0.7):
        build = partial(mlp, 64, [256, 128], 10, nn.ReLU, after=partial(nn.Dropout, rate))
        yield _case(f"dropout of {rate}", PIXELS, "pixels", build)
    yield _case("a tenth wins", PIXELS, "pixels", partial(mlp, 64, [160], 10, nn.ReLU, after=partial(Winners, 16)))
    yield _case("relu6 and dropout of convolutions", IMAGES, "digits", partial(_dropped, [8, 16]), optimizer="adam", lr=3e-3)
    yield _case("relus with weight decay", PIXELS, "pixels", partial(mlp, 64, [256, 64], 10, nn.ReLU),
                options={"weight_decay": 0.01})  # fmt: skip
    yield _case("tanh on the output", PIXELS, "pixels", partial(mlp, 64, [64], 10, nn.ReLU, head=torch.tanh))
    yield _case("sigmoid on the output", 0.85, "pixels", partial(mlp, 64, [64], 10, nn.Tanh, head=torch.sigmoid), lr=0.5)
    yield _case("leaky relu on the output", PIXELS, "pixels", partial(mlp, 64, [64], 10, nn.ReLU, head=nn.LeakyReLU()))


def _shifted(build: Callable[[], Chain], bias: float) -> Chain:
    model = build()
    for part in parts_of(model, ["layer1", "layer2"]):
        nn.init.normal_(part.weight, std=(2 / part.in_features) ** 0.5)
        nn.init.constant_(part.bias, bias)
    return model


def _dropped(channels: Sequence[int]) -> Chain:
    model = convolutions(channels, 10, nn.ReLU6)
    layer = model.layer1
    assert isinstance(layer, Layer)
    layer.after = nn.Dropout2d(0.3)
    return model


def _small_tasks() -> Iterator[tuple[str, float, Callable[[], Setup]]]:
    for act in ("relu", "tanh", "gelu"):
        yield _case(f"blobs, {act}", BLOBS, "blobs", partial(mlp, 20, [32, 32], 5, ACTS[act]))
        yield _case(f"rings, {act}", RINGS, "rings", partial(mlp, 2, [32, 32], 3, ACTS[act]), lr=0.2)
        yield _case(f"a table, {act}", TABLE, "table", partial(mlp, 10, [32, 16], 4, ACTS[act]))
    yield _case("a table, narrow", TABLE, "table", partial(mlp, 10, [12, 12], 4, nn.ReLU), optimizer="adam", lr=5e-3)
    yield _case("blobs, five layers", BLOBS, "blobs", partial(mlp, 20, [32] * 5, 5, nn.ReLU), lr=0.1)


def _schedules() -> Iterator[tuple[str, float, Callable[[], Setup]]]:
    plain = partial(mlp, 64, [64, 32], 10, nn.ReLU)
    warm = lambda optimizer: torch.optim.lr_scheduler.LinearLR(optimizer, 0.01, total_iters=100)  # noqa: E731
    cosine = lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)  # noqa: E731
    cycle = lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, STEPS)  # noqa: E731
    yield _case("warm-up", PIXELS, "pixels", plain, lr=0.1, schedule=warm)
    yield _case("cosine", PIXELS, "pixels", plain, lr=0.1, schedule=cosine)
    yield _case("one cycle", PIXELS, "pixels", plain, lr=0.05, schedule=cycle, options={"momentum": 0.9})
    yield _case("batches of 8", PIXELS, "pixels", plain, lr=0.02, batch=8)
    yield _case("batches of 256", PIXELS, "pixels", plain, lr=0.3, batch=256)
    yield _case("six relu layers by adam", PIXELS, "pixels", partial(mlp, 64, [32] * 6, 10, nn.ReLU), optimizer="adam", lr=2e-3)
