"""The networks of the corpora: chains of named stages, each with one non-linearity or a few, so that a place has a name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Act = Callable[[Tensor], Tensor]
Stage = Callable[[nn.Module, Tensor], Tensor]


class Chain(nn.Module):
    """Stages one after the other. `changes` says how a stage is called instead, which is how faults in code are planted."""

    def __init__(self, **stages: nn.Module) -> None:
        super().__init__()
        for name, stage in stages.items():
            self.add_module(name, stage)
        self.changes: dict[str, Stage] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return what the last stage gives."""
        for name, stage in self.named_children():
            change = self.changes.get(name)
            x = change(stage, x) if change else stage(x)
        return x


class Layer(nn.Module):
    """Weights, norm, activation, then what follows; `shortcut` adds the input."""

    def __init__(
        self,
        weights: nn.Module,
        act: Act | None = None,
        norm: nn.Module | None = None,
        after: nn.Module | None = None,
        *,
        shortcut: bool = False,
    ) -> None:
        super().__init__()
        self.weights, self.norm, self.after, self.shortcut = weights, norm, after, shortcut
        self.act = act  # a module, or a function as in torch.nn.functional

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output."""
        h = self.weights(x)
        if self.norm is not None:
            h = self.norm(h)
        if self.act is not None:
            h = self.act(h)
        if self.after is not None:
            h = self.after(h)
        return x + h if self.shortcut else h


class Recurrent(nn.Module):
    """A plain recurrent cell, written as a loop over the time steps; returns the last state."""

    def __init__(self, inputs: int, units: int, act: Act) -> None:
        super().__init__()
        self.weights, self.back = nn.Linear(inputs, units), nn.Linear(units, units, bias=False)
        self.act, self.units = act, units

    def forward(self, x: Tensor) -> Tensor:
        """Return the last state of [batch, time, feature]."""
        state = x.new_zeros(len(x), self.units)
        for t in range(x.shape[1]):
            state = self.act(self.weights(x[:, t]) + self.back(state))
        return state


class Gated(nn.Module):
    """torch's own lstm or gru; returns the last output."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:
        """Return the last output of [batch, time, feature]."""
        return self.cell(x)[0][:, -1]


class Attention(nn.Module):
    """A transformer's block, norm first: two heads of attention, then a hidden layer, both around shortcuts."""

    def __init__(self, width: int, act: Act, heads: int = 2) -> None:
        super().__init__()
        self.before, self.between, self.heads = nn.LayerNorm(width), nn.LayerNorm(width), heads
        self.mix, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.weights, self.back, self.act = nn.Linear(width, 2 * width), nn.Linear(2 * width, width), act

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output of [batch, time, feature]."""
        parts = self.mix(self.before(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.out(F.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2))
        return x + self.back(self.act(self.weights(self.between(x))))


class Place(nn.Module):
    """Adds a learnt vector for each position, to words or to patches."""

    def __init__(self, weights: nn.Module, length: int, width: int) -> None:
        super().__init__()
        self.weights, self.positions = weights, nn.Parameter(0.1 * torch.randn(length, width))

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, time, feature]."""
        return self.weights(x) + self.positions


class Mean(nn.Module):
    """The mean over the time steps."""

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, feature]."""
        return x.mean(dim=1)


class Winners(nn.Module):
    """Keeps the few largest units of each sample and sets the others to zero: nine in ten are zeros, and nothing is wrong."""

    def __init__(self, keep: int) -> None:
        super().__init__()
        self.keep = keep

    def forward(self, x: Tensor) -> Tensor:
        """Return x with all but the largest at zero."""
        least = x.topk(self.keep, dim=-1).values[..., -1:]
        return x * (x >= least)


def mlp(
    inputs: int,
    hidden: Sequence[int],
    outputs: int,
    act: Callable[[], Act],
    norm: Callable[[int], nn.Module] | None = None,
    after: Callable[[], nn.Module] | None = None,
    head: Act | None = None,
    *,
    shortcut: bool = False,
) -> Chain:
    """Return linear layers `layer1`, `layer2`, ... and `head`; shortcuts around those of equal widths."""
    stages: dict[str, nn.Module] = {}
    for k, (wide, units) in enumerate(zip([inputs, *hidden], hidden, strict=False), start=1):
        kinds = (act(), norm and norm(units), after and after())
        stages[f"layer{k}"] = Layer(nn.Linear(wide, units), *kinds, shortcut=shortcut and wide == units)
    return Chain(**stages, head=Layer(nn.Linear(hidden[-1], outputs), head))


def convolutions(
    channels: Sequence[int],
    outputs: int,
    act: Callable[[], Act],
    norm: Callable[[int], nn.Module] | None = None,
    *,
    shortcut: bool = False,
) -> Chain:
    """Return convolutions of 3x3 over 8x8 images, halved once, and a linear head on the means over what is left."""
    stages: dict[str, nn.Module] = {}
    for k, (wide, units) in enumerate(zip([1, *channels], channels, strict=False), start=1):
        pool = nn.MaxPool2d(2) if k == len(channels) else None
        around = shortcut and wide == units and pool is None
        stages[f"layer{k}"] = Layer(nn.Conv2d(wide, units, 3, padding=1), act(), norm and norm(units), pool, shortcut=around)
    return Chain(**stages, flat=nn.Flatten(), head=Layer(nn.Linear(16 * channels[-1], outputs)))


def recurrent(inputs: int, units: int, outputs: int, cell: nn.Module | None = None, act: Act = torch.tanh) -> Chain:
    """Return a recurrent cell, a hidden layer and a head."""
    first = Gated(cell) if cell is not None else Recurrent(inputs, units, act)
    return Chain(layer1=first, layer2=Layer(nn.Linear(units, units), nn.ReLU()), head=Layer(nn.Linear(units, outputs)))


def transformer(embed: nn.Module, length: int, width: int, blocks: int, outputs: int, act: Callable[[], Act]) -> Chain:
    """Return an embedding with positions, blocks of attention, the mean over time, and a head."""
    stages: dict[str, nn.Module] = {f"layer{k}": Attention(width, act()) for k in range(1, blocks + 1)}
    return Chain(embed=Place(embed, length, width), **stages, mean=Mean(), head=Layer(nn.Linear(width, outputs)))
