"""Tensors in, numbers out: the statistics of a site and of a parameter at one step.

Everything keeps a leading member axis, stays on the tensor's device and makes no host copy. Values of half precision are
accumulated in float32. Over an empty batch, shares and means are NaN. A NaN in a tensor counts as not below zero, not
saturated and not closed, and turns norms, means and root mean squares into NaN, which is how `non-finite` sees it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

SATURATED_SLOPE = 0.05  # of the largest slope: where tanh is beyond |z| = 2.18, sigmoid beyond |z| = 4.36
_TINY = 1e-30  # keeps 0 / 0 out of a scaled sum; far below any norm that float32 can square

# Where a non-linearity is probed: densely where slopes peak, and far out on both sides where they settle.
_PROBE_NEAR = (-8.0, 8.0, 161)
_PROBE_FAR = 50.0

Elementwise = Callable[[Tensor], Tensor]


def wide(tensor: Tensor) -> Tensor:
    """Return the tensor in a type fit for accumulating: float32 for half precision, else its own."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def nonpositive_frac(z: Float[Tensor, "member sample unit"]) -> Float[Tensor, "member unit"]:
    """Return the share of samples with z <= 0, per unit: the sign ratio.

    >>> nonpositive_frac(torch.tensor([[[-1.0, 2.0], [0.0, 3.0]]])).tolist()
    [[1.0, 0.0]]
    """
    return _share(torch.le, wide(z), 0.0)


def slope(function: Elementwise, z: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return f'(z) element by element, from the function itself by automatic differentiation.

    The network's own graph, gradients, saved tensors (checkpointing counts them) and random state are left alone.

    >>> slope(torch.relu, torch.tensor([-1.0, 2.0])).tolist()
    [0.0, 1.0]
    """
    with torch.enable_grad(), torch.random.fork_rng(_devices(z)), saved_tensors_hooks(_same, _same):
        point = z.detach().requires_grad_()
        output = function(point.clone())  # the copy is for in-place functions
        if not output.requires_grad:  # a step function: nothing passes back
            return torch.zeros_like(z)
        (result,) = torch.autograd.grad(output.sum(), point)
    return result


def _same(tensor: Tensor) -> Tensor:
    return tensor


def saturated_frac(
    slopes: Float[Tensor, "member sample unit"], largest: Float[Tensor, "#member unit"]
) -> Float[Tensor, "member unit"]:
    """Return the share of samples whose slope is below 5 % of the non-linearity's largest slope, per unit."""
    return _share(torch.lt, wide(slopes).abs(), SATURATED_SLOPE * wide(largest).unsqueeze(1))


def closed_frac(slopes: Float[Tensor, "member sample unit"]) -> Float[Tensor, "member unit"]:
    """Return the share of samples whose slope is exactly 0, per unit: nothing passes back."""
    return _share(torch.eq, wide(slopes), 0.0)


def common_mode(z: Float[Tensor, "member sample unit"]) -> Float[Tensor, "member unit"]:
    """Return abs(mean z) / std z over samples, per unit: how much of z is the same for every sample.

    For a Gaussian z the share of samples on the other side of zero is Phi(-common_mode). Infinite where z does not vary
    (0 / 0 included: z is zero for every sample, and a relu there is shut for all), NaN for fewer than two samples.

    >>> common_mode(torch.tensor([[[1.0], [3.0]]])).item()
    2.0
    """
    if z.shape[1] < 2:
        return z.new_full((z.shape[0], z.shape[2]), torch.nan, dtype=wide(z).dtype)
    mean = wide(z).mean(dim=1)
    varying = wide(z) - mean.unsqueeze(1)
    deviation = varying.mul_(varying).mean(dim=1).sqrt_()
    return torch.where(deviation == 0, torch.inf, mean.abs() / deviation)


def site_common_mode(a: Float[Tensor, "member sample unit"]) -> Float[Tensor, " member"]:
    """Return norm(mean of a over samples) / root mean square distance from it: a whole layer's common mode.

    How alike the outputs of a layer are from sample to sample; what the next layer is fed. Infinite for a constant output;
    beyond a thousand, float32 rounding shows.
    """
    samples = max(a.shape[1], 1)
    common = wide(a).mean(dim=1).square().sum(dim=1)
    varying = (plain_norm(a).square() / samples - common).clamp_(min=0)
    return torch.where(varying == 0, torch.inf, common / varying).sqrt_()


def norm(values: Float[Tensor, " member *rest"]) -> Float[Tensor, " member"]:
    """Return the Euclidean norm per member, accumulated so that gradients of 1e-30 do not square to zero.

    In float64, which costs one pass; where the device has none (mps), scaled by the largest value.
    """
    flat = wide(values).reshape(values.shape[0], -1)
    if flat.shape[1] == 0:
        return flat.new_zeros(flat.shape[0])
    if flat.device.type != "mps":
        exact: Tensor = torch.linalg.vector_norm(flat, dim=1, dtype=torch.float64)
        return exact.to(flat.dtype)
    largest = torch.maximum(flat.amax(dim=1), -flat.amin(dim=1)).clamp_(min=_TINY)
    scaled: Tensor = torch.linalg.vector_norm(flat / largest.unsqueeze(1), dim=1)
    return scaled.mul_(largest)


def plain_norm(values: Float[Tensor, " member *rest"]) -> Float[Tensor, " member"]:
    """Return the Euclidean norm per member in one pass; in float32, values below 1e-19 count as zero, above 1e19 as infinite.

    For activations, and for weights and their gradients: they are many, and a weight does not notice steps that small.
    """
    length: Tensor = torch.linalg.vector_norm(wide(values).reshape(values.shape[0], -1), dim=1)
    return length


def rms(values: Float[Tensor, " member *rest"]) -> Float[Tensor, " member"]:
    """Return the root mean square per member; NaN where there is no value."""
    count = values[0].numel()
    return norm(values) / count**0.5 if count else norm(values) * torch.nan


def nonpositive_weight_frac(weight: Float[Tensor, " member *rest"]) -> Float[Tensor, " member"]:
    """Return the share of weights <= 0 per member."""
    return _share(torch.le, wide(weight).reshape(weight.shape[0], -1), 0.0)


class Shape(NamedTuple):
    """What a non-linearity looks like, per unit, read from its values on a grid."""

    largest_slope: Float[Tensor, "member unit"]
    shuts: Bool[Tensor, "member unit"]  # far below zero slope and output are exactly 0: relu and its kin
    saturates: Bool[Tensor, "member unit"]  # far out on both sides the slope is below 5 % of the largest
    linear: Bool[Tensor, "member unit"]  # the same slope everywhere: no non-linearity at all


def probe_grid(like: Tensor) -> Float[Tensor, " point"]:
    """Return the points at which `shape_of` expects a non-linearity's output and slope, ascending."""
    near = torch.linspace(*_PROBE_NEAR, dtype=torch.float32, device=like.device)
    far = torch.full((1,), _PROBE_FAR, device=like.device)
    return torch.cat([-far, near, far]).to(like.dtype)


def shape_of(outputs: Float[Tensor, "member point unit"], slopes: Float[Tensor, "member point unit"]) -> Shape:
    """Describe a non-linearity by its outputs and slopes at `probe_grid`'s points."""
    magnitude = slopes.abs()
    largest = magnitude.amax(dim=1)
    flat = magnitude[:, [0, -1]] < SATURATED_SLOPE * largest.unsqueeze(1)
    return Shape(
        largest_slope=largest,
        shuts=(slopes[:, 0] == 0) & (outputs[:, 0] == 0),
        saturates=flat.all(dim=1),
        linear=(slopes.amin(dim=1) == slopes.amax(dim=1)) & (largest > 0),  # a constant is no identity: it shuts everything
    )


def _share(compare: Callable[..., Tensor], values: Float[Tensor, "member sample *rest"], limit: Tensor | float) -> Tensor:
    """Return the share over axis 1; exactly 1 where all agree (a mean may round).

    The comparison writes 0 and 1 as floats, which is three times as fast to sum as bools.
    """
    return compare(values, limit, out=torch.empty_like(values)).sum(dim=1) / values.shape[1]


def _devices(tensor: Tensor) -> list[int]:
    """Return the CUDA device whose random state a function of `tensor` could draw from."""
    return [tensor.get_device()] if tensor.is_cuda else []
