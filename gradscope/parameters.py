"""A network's parameters member by member, and what an optimizer knows of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gradscope.stack import Population


@dataclass(frozen=True)
class MemberParameter:
    """A parameter whose first axis runs over `rows` of the members; an ordinary network's is its only member's."""

    name: str
    parameter: nn.Parameter
    rows: tuple[int, ...]
    is_stacked: bool  # whether the parameter itself has the member axis

    @property
    def values(self) -> Float[Tensor, " member *rest"]:
        """The parameter's values with a member axis, without a copy."""
        return self._with_members(self.parameter.detach())

    @property
    def gradient(self) -> Float[Tensor, " member *rest"] | None:
        """The gradient likewise; None where there is none or it is sparse."""
        gradient = self.parameter.grad
        return None if gradient is None or gradient.is_sparse else self._with_members(gradient.detach())

    def spread(self, values: Float[Tensor, " row"], members: int) -> Float[Tensor, " member"]:
        """Return one value per member of the network, NaN for members without this parameter."""
        if len(self.rows) == members:
            return values
        full = values.new_full((members,), torch.nan)
        full[self.rows[0] : self.rows[-1] + 1] = values  # rows are neighbours: no index tensor has to go to the device
        return full

    def _with_members(self, values: Tensor) -> Tensor:
        return values if self.is_stacked else values.unsqueeze(0)


def member_parameters(network: nn.Module) -> list[MemberParameter]:
    """Return the trainable parameters of a network or population in order; of complex numbers there are no statistics."""
    if isinstance(network, Population):
        return [MemberParameter(name, parameter, rows, True) for name, parameter, rows in network.named_member_parameters()]
    named = network.named_parameters()
    return [MemberParameter(name, parameter, (0,), False) for name, parameter in named if _is_followed(parameter)]


def _is_followed(parameter: nn.Parameter) -> bool:
    return parameter.requires_grad and parameter.is_floating_point()


def wants_copy(optimizer: torch.optim.Optimizer) -> bool:
    """Tell whether the size of a step can only be had from a copy of the weights before it.

    SGD with plain momentum moves each weight by exactly learning rate times momentum buffer, which is at hand after the step.
    """
    return not (
        type(optimizer) is torch.optim.SGD
        and all(group["momentum"] > 0 and not group["nesterov"] for group in optimizer.param_groups)
    )


def momentum_of(optimizer: torch.optim.Optimizer, parameter: nn.Parameter) -> Tensor | None:
    """Return SGD's momentum buffer of a parameter: what it has just moved by, in units of the learning rate."""
    # get(): optimizer.state makes an entry for whatever is asked for, and one too many breaks its state_dict()
    buffer: Tensor | None = optimizer.state.get(parameter, {}).get("momentum_buffer")
    return buffer


def groups_of(optimizer: torch.optim.Optimizer) -> dict[int, dict[str, Any]]:
    """Return the group of each of an optimizer's parameters, by the parameter's id."""
    return {id(parameter): group for group in optimizer.param_groups for parameter in group["params"]}
