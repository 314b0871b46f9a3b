"""Activations and their derivatives as calls that write to memory which stands already, for training without a graph.

The kernels are those that autograd runs for the modules of torch.nn, so that both ways come to the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

aten: Any = torch.ops.aten
SELU = (1.6732632423543772848170429916717, 1.0507009873554804934193349852946, 1.0)  # alpha, scale, input scale: as in torch


class Kernel(NamedTuple):
    """One activation a = f(z), element by element."""

    forward: Callable[[Tensor, Tensor], object]  # z, and where a is written: onto z, where that is not needed afterwards
    backward: Callable[[Tensor, Tensor, Tensor], object]  # gradient at a, overwritten with the one at z; z; a
    needs_z: bool = True  # for the gradient; otherwise a is enough


def kernel_of(module: nn.Module) -> Kernel | None:
    """Return the kernel of a module of torch.nn; None where there is none that writes to memory of ours."""
    make = _KERNELS.get(type(module))
    return make(module) if make else None


def _identity(_: Any) -> Kernel:  # noqa: ANN401 - as below, a class of torch.nn with attributes of its own
    return Kernel(lambda z, a: a.copy_(z), lambda grad, z, a: grad, needs_z=False)


def _relu(_: Any) -> Kernel:  # noqa: ANN401
    return Kernel(
        lambda z, a: aten.clamp_min.out(z, 0, out=a),
        lambda grad, z, a: aten.threshold_backward.grad_input(grad, a, 0, grad_input=grad),
        needs_z=False,
    )


def _tanh(_: Any) -> Kernel:  # noqa: ANN401
    return Kernel(
        lambda z, a: aten.tanh.out(z, out=a),
        lambda grad, z, a: aten.tanh_backward.grad_input(grad, a, grad_input=grad),
        needs_z=False,
    )


def _sigmoid(_: Any) -> Kernel:  # noqa: ANN401
    return Kernel(
        lambda z, a: aten.sigmoid.out(z, out=a),
        lambda grad, z, a: aten.sigmoid_backward.grad_input(grad, a, grad_input=grad),
        needs_z=False,
    )


def _leaky_relu(module: Any) -> Kernel:  # noqa: ANN401
    slope = module.negative_slope
    return Kernel(
        lambda z, a: aten.leaky_relu.out(z, slope, out=a),
        lambda grad, z, a: aten.leaky_relu_backward.grad_input(grad, z, slope, False, grad_input=grad),
    )


def _exponential(alpha: float, scale: float, input_scale: float, backward_scale: float | None = None) -> Kernel:
    """Return the kernel of ELU and of what torch makes of it."""
    back = input_scale if backward_scale is None else backward_scale
    return Kernel(
        lambda z, a: aten.elu.out(z, alpha, scale, input_scale, out=a),
        lambda grad, z, a: aten.elu_backward.grad_input(grad, alpha, scale, back, False, z, grad_input=grad),
    )


def _celu(module: Any) -> Kernel:  # noqa: ANN401
    alpha = module.alpha
    return _exponential(alpha, 1.0, 1.0 / alpha, 1.0 / float(np.float32(alpha)))  # autograd keeps alpha in single precision


def _gelu(module: Any) -> Kernel:  # noqa: ANN401
    way = module.approximate
    return Kernel(
        lambda z, a: aten.gelu.out(z, approximate=way, out=a),
        lambda grad, z, a: aten.gelu_backward.grad_input(grad, z, approximate=way, grad_input=grad),
    )


def _silu(_: Any) -> Kernel:  # noqa: ANN401
    return Kernel(
        lambda z, a: aten.silu.out(z, out=a),
        lambda grad, z, a: aten.silu_backward.grad_input(grad, z, grad_input=grad),
    )


def _softplus(module: Any) -> Kernel:  # noqa: ANN401
    shape = (module.beta, module.threshold)
    return Kernel(
        lambda z, a: aten.softplus.out(z, *shape, out=a),
        lambda grad, z, a: aten.softplus_backward.grad_input(grad, z, *shape, grad_input=grad),
    )


def _hardtanh(module: Any) -> Kernel:  # noqa: ANN401
    limits = (module.min_val, module.max_val)
    return Kernel(
        lambda z, a: aten.hardtanh.out(z, *limits, out=a),
        lambda grad, z, a: aten.hardtanh_backward.grad_input(grad, z, *limits, grad_input=grad),
    )


_KERNELS: dict[type[nn.Module], Callable[[Any], Kernel]] = {
    nn.Identity: _identity,
    nn.ReLU: _relu,
    nn.Tanh: _tanh,
    nn.Sigmoid: _sigmoid,
    nn.LeakyReLU: _leaky_relu,
    nn.ELU: lambda module: _exponential(module.alpha, 1.0, 1.0),
    nn.SELU: lambda module: _exponential(*SELU),
    nn.CELU: _celu,
    nn.GELU: _gelu,
    nn.SiLU: _silu,
    nn.Softplus: _softplus,
    nn.Hardtanh: _hardtanh,
}
