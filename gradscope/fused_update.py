"""SGD taken during the backward pass: a linear layer's gradient product goes straight into its momentum.

The gradient of a weight is never held by itself, so a step of a population costs little more than its matrix products. Numbers
are those of `torch.optim.SGD` up to float32 rounding, and the momentum lies where torch's optimizer keeps it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class LinearUpdate:
    """One linear layer of a population, with the settings and the momentum of its optimizer's group."""

    def __init__(self, weight: nn.Parameter, bias: nn.Parameter, optimizer: torch.optim.SGD) -> None:
        """Hold what an update needs.

        Args:
            weight: [member, output, input].
            bias: [member, output].
            optimizer: holds both in its first group; plain SGD, with or without momentum and weight decay.
        """
        group = optimizer.param_groups[0]
        self.parameters = (weight, bias)
        self.units = bias.shape[1]
        self._weight, self._bias = weight.detach(), bias.detach().unsqueeze(2)  # the same memory
        self.lr = float(group["lr"])  # of the coming step
        self._momentum, self._decay = float(group["momentum"]), float(group["weight_decay"])
        self._optimizer = optimizer
        self.waits = False  # for `take_held`, so that others may look at the gradients first
        self._held: list[tuple[Tensor, Tensor]] = []
        self._of_weight: Tensor | None = None
        self._of_bias: Tensor | None = None
        self._ones = weight.new_ones(0, 0, 0)

    def preactivations(
        self, x: Float[Tensor, "member batch input"], out: Tensor | None = None
    ) -> Float[Tensor, "member output batch"]:
        """Return x W^T + b, by unit; written to `out` if it is given, [member batch output]."""
        return _by_unit(x, self._weight, self._bias, out)

    def gradient_at_input(
        self, grad_z: Float[Tensor, "member batch output"], out: Tensor | None = None
    ) -> Float[Tensor, "member batch input"]:
        """Return what passes back through the weights as they are, written to `out` if it is given."""
        return torch.bmm(self._weight.mT, grad_z.mT.contiguous(), out=None if out is None else out.mT).mT

    def take(self, x: Float[Tensor, "member batch input"], grad_z: Float[Tensor, "member batch output"]) -> None:
        """Update weight and bias with the gradient at the layer's pre-activations."""
        if self._of_weight is None or self._of_bias is None:
            self._of_weight, self._of_bias = self._buffers()
        if self._ones.shape[1] != grad_z.shape[1]:
            self._ones = grad_z.new_ones(len(grad_z), grad_z.shape[1], 1)
        by_output = grad_z.mT.contiguous()
        self._move(self._weight, self._of_weight, by_output, x)
        self._move(self._bias, self._of_bias, by_output, self._ones)

    def hold(self, x: Tensor, grad_z: Tensor) -> None:
        """Keep for `take_held` what an update is made of."""
        self._held.append((x.detach(), grad_z))

    def take_held(self) -> None:
        """Take the updates that waited, from the same products as without waiting; the gradients are let go."""
        for parameter in self.parameters:
            parameter.grad = None
        while self._held:
            self.take(*self._held.pop())

    def _move(self, parameter: Tensor, momentum: Tensor, left: Tensor, right: Tensor) -> None:
        """Take SGD's step along the gradient `left @ right`. Without momentum the buffer holds nothing between steps."""
        if not self._momentum and not self._decay:
            parameter.baddbmm_(left, right, alpha=-self.lr)
            return
        momentum.baddbmm_(left, right, beta=self._momentum)
        if self._decay:
            momentum.add_(parameter, alpha=self._decay)
        parameter.add_(momentum, alpha=-self.lr)

    def _buffers(self) -> tuple[Tensor, Tensor]:
        """Return the optimizer's own momentum of weight and bias; zeros, which its next step finds, where it has none yet."""
        found = []
        for parameter in self.parameters:
            state = self._optimizer.state[parameter]
            if state.get("momentum_buffer") is None:
                buffer = torch.zeros_like(parameter)
                if self._momentum:
                    state["momentum_buffer"] = buffer
                found.append(buffer)
            else:
                found.append(state["momentum_buffer"])
        return found[0], found[1].unsqueeze(2)


class _UpdatedLinear(torch.autograd.Function):
    """Forward: z = x W^T + b as [member, output, batch]. Backward: the gradient at x, and the update of W and b or theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, update: LinearUpdate) -> Tensor:  # noqa: ANN401, ARG004
        ctx.save_for_backward(x)
        ctx.update = update
        return update.preactivations(x)  # no view, since an activation may work in place

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:  # noqa: ANN401
        (x,), update, grad_z = ctx.saved_tensors, ctx.update, grad.mT
        grad_x = update.gradient_at_input(grad_z) if ctx.needs_input_grad[0] else None
        if update.waits:
            update.hold(x, grad_z)
            return grad_x, torch.bmm(grad, x), grad.sum(dim=2), None
        update.take(x, grad_z)  # after the product with the weights as they were
        return grad_x, None, None, None


def linear(
    x: Float[Tensor, "member batch input"], weight: Float[Tensor, "member output input"], bias: Float[Tensor, "member output"]
) -> Float[Tensor, "member batch output"]:
    """Return x W^T + b, which lies in memory as [member, output, batch]: so the products of a step take some 5 % less time."""
    return _by_unit(x, weight, bias.unsqueeze(2)).mT


def _by_unit(x: Tensor, weight: Tensor, bias: Tensor, out: Tensor | None = None) -> Tensor:
    return torch.baddbmm(bias, weight, x.mT, out=None if out is None else out.mT)


def updated_linear(x: Float[Tensor, "member batch input"], update: LinearUpdate) -> Float[Tensor, "member batch output"]:
    """Return the pre-activations; the backward pass through them moves the layer's weight and bias, and leaves no `.grad`.

    An update that waits leaves the gradients in `.grad`, as an ordinary layer does, until it is told to go on.
    """
    return _UpdatedLinear.apply(x, *update.parameters, update).mT  # type: ignore[no-any-return]


def linear_updates(layers: Sequence[tuple[nn.Parameter, nn.Parameter]], optimizer: torch.optim.Optimizer) -> list[LinearUpdate]:
    """Return an update for each layer's (weight, bias); none where the optimizer's step is another than plain SGD's."""
    groups = optimizer.param_groups
    is_plain = type(optimizer) is torch.optim.SGD and len(groups) == 1
    if not is_plain or any(groups[0][name] for name in ("nesterov", "dampening", "maximize")):
        return []
    assert isinstance(optimizer, torch.optim.SGD)
    return [LinearUpdate(weight, bias, optimizer) for weight, bias in layers]
