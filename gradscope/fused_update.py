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
            weight: [member, input, output].
            bias: [member, output].
            optimizer: holds both in its first group; plain SGD, with or without momentum and weight decay.
        """
        group = optimizer.param_groups[0]
        self.parameters = (weight, bias)
        self.weight, self.bias = weight.detach(), bias.detach().unsqueeze(1)  # the same memory
        self.transposed = self.weight.transpose(1, 2)
        self.lr = float(group["lr"])  # of the coming step
        self._momentum, self._decay = float(group["momentum"]), float(group["weight_decay"])
        self._optimizer = optimizer
        self.waits = False  # for `take_held`, so that others may look at the gradients first
        self._held: list[tuple[Tensor, Tensor]] = []
        self._of_weight: Tensor | None = None
        self._of_bias: Tensor | None = None
        self._ones = weight.new_ones(0)

    def take(self, x: Float[Tensor, "member batch input"], grad_z: Float[Tensor, "member batch output"]) -> None:
        """Update weight and bias with the gradient at the layer's pre-activations."""
        if self._of_weight is None or self._of_bias is None:
            self._of_weight, self._of_bias = self._buffers()
        if self._ones.shape[-1] != grad_z.shape[1]:
            self._ones = grad_z.new_ones(len(grad_z), 1, grad_z.shape[1])
        self._move(self.weight, self._of_weight, x.transpose(1, 2), grad_z)
        self._move(self.bias, self._of_bias, self._ones, grad_z)

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
        return found[0], found[1].unsqueeze(1)


class _UpdatedLinear(torch.autograd.Function):
    """Forward: z = x W + b. Backward: the gradient at x, and the update of W and b on the way."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, update: LinearUpdate) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(x)
        ctx.update = update
        return torch.baddbmm(update.bias, x, update.weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_z: Tensor) -> tuple[Tensor | None, None, None]:  # noqa: ANN401
        (x,), update = ctx.saved_tensors, ctx.update
        grad_x = torch.bmm(grad_z, update.transposed) if ctx.needs_input_grad[0] else None
        update.take(x, grad_z)  # after the product with the weights as they were
        return grad_x, None, None


def updated_linear(x: Float[Tensor, "member batch input"], update: LinearUpdate) -> Float[Tensor, "member batch output"]:
    """Return the pre-activations; the backward pass through them moves the layer's weight and bias, and leaves no `.grad`.

    An update that waits leaves the gradients in `.grad`, as an ordinary layer does, until it is told to go on.
    """
    if not update.waits:
        return _UpdatedLinear.apply(x, update.parameters[0], update)  # type: ignore[no-any-return]
    weight, bias = update.parameters
    z = torch.baddbmm(bias.unsqueeze(1), x, weight)
    z.register_hook(lambda grad_z: update.hold(x, grad_z))
    return z


def linear_updates(layers: Sequence[tuple[nn.Parameter, nn.Parameter]], optimizer: torch.optim.Optimizer) -> list[LinearUpdate]:
    """Return an update for each layer's (weight, bias); none where the optimizer's step is another than plain SGD's."""
    groups = optimizer.param_groups
    is_plain = type(optimizer) is torch.optim.SGD and len(groups) == 1
    if not is_plain or any(groups[0][name] for name in ("nesterov", "dampening", "maximize")):
        return []
    assert isinstance(optimizer, torch.optim.SGD)
    return [LinearUpdate(weight, bias, optimizer) for weight, bias in layers]
