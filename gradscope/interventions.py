"""The interventions: one thing changed at one layer of some members of a population, all else left as it is.

Each is differentiated through, so that what trains is the changed network by its own gradient; only `open_gate` leaves the
network as it is and changes the way back. Means and spreads are those of the batch, per unit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from gradscope.intervention_plan import Arm
from gradscope.stack import Population, StackLayer
from gradscope.unit_activation import UnitActivation
from gradscope.unit_gates import Gates

Change = Callable[[Tensor], Tensor]
EPS = 1e-5  # added to a variance that is divided by, as batch-norm does


def centred(z: Float[Tensor, "member batch unit"]) -> Float[Tensor, "member batch unit"]:
    """Return z less its mean over the batch, per unit: what differs from sample to sample is all that is left."""
    return z - z.mean(dim=1, keepdim=True)


def rescaled(z: Float[Tensor, "member batch unit"]) -> Float[Tensor, "member batch unit"]:
    """Return z over its standard deviation in the batch (1 / n), per unit, and not centred: its sign stays what it was."""
    return z * (z.var(dim=1, keepdim=True, correction=0) + EPS).rsqrt()


class _Opened(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, a: Tensor, opened: Tensor, slopes: Tensor) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(opened, slopes)
        return a.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:  # noqa: ANN401
        opened, slopes = ctx.saved_tensors
        none = grad.new_zeros(())
        return torch.where(opened, grad * slopes, none), torch.where(opened, none, grad), None, None


def open_gate(
    z: Float[Tensor, "member batch unit"],
    a: Float[Tensor, "member batch unit"],
    opened: Sequence[int],
    slopes: Float[Tensor, " unit"],
) -> Float[Tensor, "member batch unit"]:
    """Return `a` to the bit; on the way back the opened members' gradient goes to z straight through, by the slope given.

    The slope is the largest that the function has: 1 for relu and tanh, 1/4 for sigmoid. With 1 there, too, the layers before a
    sigmoid would get four times what the most open one lets through. That is larger steps, not an open gate: it lowers the loss
    of networks whose sigmoids are not saturated at all.

    Args:
        z: pre-activations.
        a: their activations.
        opened: members; what the activations of these learn gets no gradient.
        slopes: of each unit's open gate.

    Source: Bengio, Leonard and Courville 2013, Estimating or Propagating Gradients Through Stochastic Neurons.
    """
    mask = torch.zeros(len(z), 1, 1, dtype=torch.bool, device=z.device)
    mask[list(opened)] = True
    return _Opened.apply(z, a, mask, slopes.to(z))  # type: ignore[no-any-return]


class OpenedGates(nn.Module):
    """A group of members' activations of which some let the gradient through as if they were open for every sample."""

    def __init__(self, group: nn.Module, opened: Sequence[int], slopes: Float[Tensor, " unit"]) -> None:
        """Wrap a group's function; `opened` counts within the group."""
        super().__init__()
        self.group, self.opened, self.slopes = group, tuple(opened), slopes

    def forward(self, z: Float[Tensor, "member batch unit"]) -> Float[Tensor, "member batch unit"]:
        """Return the group's own activations."""
        return open_gate(z, self.group(z), self.opened, self.slopes)


def intervene(network: Population, rows: Mapping[Arm, range], gates: Sequence[Gates]) -> list[RemovableHandle]:
    """Change a population of arms; return the hooks that do, for the caller to remove when it is done with.

    Fresh weights and another learning rate are no matter of the module: see `intervention_state`. Where a shortcut leads around
    a layer, centring the layer's input centres what the shortcut carries, too.

    Args:
        network: its members are the arms in turn, each with all its seeds.
        rows: the members of each arm.
        gates: of each layer.
    """
    hooks: list[RemovableHandle] = []
    for i, layer in enumerate(network.layers):
        assert isinstance(layer, StackLayer)
        acting = [(arm.kind, own) for arm, own in rows.items() if i in arm.layers]
        at_input = [(own, centred) for kind, own in acting if kind == "centre input"]
        at_gate = [(own, AT_GATE[kind]) for kind, own in acting if kind in AT_GATE]
        for module, changes in ((layer, at_input), (layer.activation, at_gate)):
            if changes:
                hooks.append(module.register_forward_pre_hook(partial(_change_first, changes)))
        opened = [member for kind, own in acting if kind == "open gate" for member in own]
        _open(layer.activation, opened, gates[i].largest_slope)
    return hooks


AT_GATE: Mapping[str, Change] = {"centre z": centred, "rescale z": rescaled}


def _change_first(changes: Sequence[tuple[range, Change]], module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a module's arguments with the first one changed for some members; the others' values are only copied."""
    tensor, *rest = args
    parts, done = [], 0
    for own, change in sorted(changes, key=lambda item: item[0].start):
        parts += [tensor[done : own.start], change(tensor[own.start : own.stop])]
        done = own.stop
    parts.append(tensor[done:])
    return _joined([part for part in parts if len(part)], tensor), *rest


def _joined(parts: Sequence[Tensor], like: Tensor) -> Tensor:
    """Return the members' parts as one tensor that lies in memory as the one they were, by which products are rounded."""
    by_unit = like.mT.is_contiguous()
    return torch.cat([part.mT for part in parts]).mT if by_unit else torch.cat(list(parts))


def _open(activation: UnitActivation, members: Sequence[int], slopes: Tensor) -> None:
    for k, rows in enumerate(activation.rows):
        opened = [i for i, member in enumerate(rows) if member in set(members)]
        if opened:
            activation.groups[k] = OpenedGates(activation.groups[k], opened, slopes)
