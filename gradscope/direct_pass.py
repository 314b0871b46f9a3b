"""A population's training step without autograd's graph: every layer's tensors stand, and each kernel writes to them.

For the steps at which nobody looks. The kernels are those of the ordinary way, in its order: no bit depends on which steps went
which way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from gradscope.activation_kernels import Kernel, kernel_of
from gradscope.fused_update import LinearUpdate
from gradscope.objective import losses_with_gradient
from gradscope.stack import Population, StackLayer
from gradscope.unit_activation import UnitActivation

DEVICES = ("cpu", "cuda")
"""Where writing to strided memory that stands is known to work."""


class DirectPass:
    """Forward and backward pass and update of one population, see `direct_pass`."""

    def __init__(self, layers: Sequence[Sequence[_Part]], updates: Sequence[LinearUpdate], loss: str) -> None:
        self._layers, self._updates, self._loss = layers, updates, loss
        self._batch, self._tensors = 0, list[_Layer]()  # of the last batch's size: an epoch's last one may be smaller

    @torch.no_grad()
    def step(
        self, x: Float[Tensor, "*member batch input"], target: Num[Tensor, "member batch *output"]
    ) -> Float[Tensor, " member"]:
        """Return the members' losses on a batch, and train on it.

        Args:
            x: with a member axis, or shared by all members.
            target: labels, or numbers.
        """
        x = x if x.dim() == 3 else x.expand(len(target), *x.shape)
        layers = self._layers_for(x)
        inputs = [x, *(layer.a for layer in layers)]
        for layer, update, given in zip(layers, self._updates, inputs, strict=False):
            update.preactivations(given, out=layer.z)
            layer.activate()
        found, gradient = losses_with_gradient(self._loss, layers[-1].a, target)
        layers[-1].grad.copy_(gradient)
        for i in reversed(range(len(layers))):
            layers[i].pass_back()
            if i:  # with the weights as they were; samples need no gradient
                self._updates[i].gradient_at_input(layers[i].grad, out=layers[i - 1].grad)
            self._updates[i].take(inputs[i], layers[i].grad)
        return found

    def _layers_for(self, x: Tensor) -> list[_Layer]:
        batch = x.shape[1]
        if batch != self._batch:
            shapes = [(len(x), update.units, batch) for update in self._updates]  # in memory as `linear` leaves it
            self._tensors = [_Layer(parts, x.new_empty(shape).mT) for parts, shape in zip(self._layers, shapes, strict=True)]
            self._batch = batch
        return self._tensors


@dataclass(frozen=True)
class _Part:
    """Neighbouring members, and neighbouring units of theirs, that share an activation."""

    members: slice
    units: slice
    kernel: Kernel

    def of(self, whole: Tensor) -> Tensor:
        return whole[self.members, :, self.units]


class _Layer:
    """One layer's pre-activations, outputs and gradient, [member, batch, unit]; outputs overwrite z where nobody needs it."""

    def __init__(self, parts: Sequence[_Part], z: Tensor) -> None:
        self.z, self.grad = z, torch.empty_like(z)
        self.a = torch.empty_like(z) if any(part.kernel.needs_z for part in parts) else z
        self._calls: list[tuple[Kernel, Tensor, Tensor, Tensor]] = []
        for part in parts:
            of_z = part.of(z)
            self._calls.append((part.kernel, of_z, of_z if self.a is z else part.of(self.a), part.of(self.grad)))

    def activate(self) -> None:
        for kernel, z, a, _ in self._calls:
            kernel.forward(z, a)

    def pass_back(self) -> None:
        """Make of the gradient at the outputs the one at the pre-activations."""
        for kernel, z, a, grad in self._calls:
            kernel.backward(grad, z, a)


def direct_pass(network: nn.Module, updates: Sequence[LinearUpdate], loss: str) -> DirectPass | None:
    """Return the pass of a population that is made of linear layers and known activations; None of any other network.

    Args:
        network: what is trained.
        updates: one for each linear layer, or none where the optimizer has to take the step.
        loss: see `objective.losses`.
    """
    if type(network) is not Population or len(updates) != len(network.layers) or _has_hooks(network):
        return None
    if network.layers[0].weight.device.type not in DEVICES:
        return None
    layers = [_parts(layer) for layer in network.layers]
    return DirectPass(layers, updates, loss) if all(layers) else None


def _parts(layer: nn.Module) -> list[_Part]:
    """Return the activations of a layer; none where there is more to it."""
    if type(layer) is not StackLayer or not layer.is_linear_and_activation or type(layer.activation) is not UnitActivation:
        return []
    if not layer.activation.is_as_built:
        return []
    parts = []
    for members, start, stop, module in layer.activation.shared():
        kernel = kernel_of(module)
        if not kernel:
            return []
        parts.append(_Part(slice(members[0], members[-1] + 1), slice(start, stop), kernel))
    return parts


def _has_hooks(network: nn.Module) -> bool:
    """Tell whether anyone waits for a call of a module, which would not come."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return bool(_has_any_global_hook()) or any(getattr(module, kind) for module in network.modules() for kind in kinds)
