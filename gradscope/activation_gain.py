"""Initial weights matched to the activations: the gain that keeps the size of the signal from layer to layer.

Independent weights of mean zero make z a normal variable of variance fan-in * Var(w) * E[a^2], whatever the mean of a is. With
Var(w) = gain^2 / fan-in and gain = 1 / sqrt(E[f(z)^2]), z ~ N(0, 1), the next layer's z has variance 1 again, and so on (He et
al. 2015, eq. 7 to 10, where relu gives sqrt 2). torch's own gains for tanh and selu are rules of thumb instead.

What it cannot do: where the outputs have a mean, the same for every sample, keep what tells samples apart. Of sigmoid's E[a^2]
the squared mean is 85 %, of relu's 32 %, of tanh's and selu's nothing. Nor does it hold a deviation down: with depth one
grows where E[f(z)^2] grows faster than z^2 (tanhshrink, softshrink; a little with hardswish, silu, gelu and mish).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import nn

from gradscope.activations import ActivationSpec
from gradscope.initial_weights import seeded

REACH = 10
"""Beyond 10 standard deviations lies less than 1e-22 of the normal distribution."""
STEPS = 1000
"""To one standard deviation. 0, where most kinks are, is a node: relu and selu come out to 1e-9 and better."""


Build = Callable[[ActivationSpec], nn.Module]
Blocks = tuple[tuple[ActivationSpec, int], ...]


def second_moment(module: nn.Module, dtype: torch.dtype = torch.float64) -> float:
    """Return E[f(z)^2] for z ~ N(0, 1) by the trapezoidal rule, summed in float64; a random f is taken at its mean.

    Args:
        module: an element-wise activation; parameters of its own are used as they are.
        dtype: in which f is computed, where it has no parameters.
    """
    parameters = [*module.parameters(), *module.buffers()]
    z = torch.arange(-REACH * STEPS, REACH * STEPS + 1, dtype=torch.float64) / STEPS
    density = torch.exp(-0.5 * z**2)
    with torch.no_grad():
        a = module.eval()(z.to(parameters[0].dtype if parameters else dtype)).double()
    return float((a**2 * density).sum() / density.sum())


def matched_gain(blocks: Blocks, build: Build) -> float:
    """Return the gain of the weights behind a layer: 1 / sqrt of the mean over its units of E[f(z)^2].

    1.0 where there is no such number: an activation that is zero everywhere, or infinite somewhere.

    >>> round(matched_gain(((ActivationSpec("relu"), 4),), lambda spec: nn.ReLU()), 6)
    1.414214

    Args:
        blocks: the layer's activations, each with its number of units.
        build: makes an activation's module; what it draws is always the same.
    """
    total = 0.0
    for spec, units in blocks:
        with seeded(0):
            total += units * second_moment(build(spec), torch.float32 if spec.is_reference else torch.float64)
    mean = total / sum(units for _, units in blocks)
    return mean**-0.5 if math.isfinite(mean) and mean > 0 else 1.0


def matched_gains(before: Sequence[Blocks | None], build: Build) -> list[float]:
    """Return the gain behind each of several layers, each kind computed once; 1.0 for None, which is no layer."""
    gains = {blocks: matched_gain(blocks, build) for blocks in dict.fromkeys(before) if blocks is not None}
    return [1.0 if blocks is None else gains[blocks] for blocks in before]
