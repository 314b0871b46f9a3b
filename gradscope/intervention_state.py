"""The state of a training at one step: taken from the members of one population, given to copies of them in another."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gradscope.activation_gain import matched_gains
from gradscope.initial_weights import initial_linear
from gradscope.member_traces import MemberName
from gradscope.recipe import Stack
from gradscope.recipe_stack import MOST_LAYERS
from gradscope.stack import MemberNorm, Population, StackLayer
from gradscope.unit_activation import Build

GROUP = re.compile(r"(?<=\.activation\.groups\.)\d+")


@dataclass(frozen=True)
class State:
    """Values by name, with the members on the first axis; what an optimizer keeps by parameter."""

    step: int
    members: int
    values: Mapping[str, Tensor]
    kept: Mapping[str, Mapping[str, Any]]

    def give(self, network: Population, optimizer: torch.optim.Optimizer) -> None:
        """Give a population of these members, so and so many times in turn, their state."""
        with torch.no_grad():
            for name, value in network.state_dict(keep_vars=True).items():
                value.copy_(_fitted(self.values[self._own_name(name)], value))
        for name, parameter in network.named_parameters():
            kept = self.kept.get(self._own_name(name))
            if kept is not None:
                optimizer.state[parameter] = {key: _given(one, parameter) for key, one in kept.items()}

    def _own_name(self, name: str) -> str:
        """Return the name here: a group of activations is shared by all members, or each member has its own."""
        found = GROUP.search(name)
        if found is None:
            return name
        return f"{name[: found.start()]}{int(found[0]) % self.members}{name[found.end() :]}"


def state_of(network: Population, optimizer: torch.optim.Optimizer, step: int) -> State:
    """Return a copy of all that a training goes on from."""
    values = {name: value.detach().clone() for name, value in network.state_dict().items()}
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    kept = {
        names[id(parameter)]: {key: one.clone() if isinstance(one, Tensor) else one for key, one in state.items()}
        for parameter, state in optimizer.state.items()
    }
    return State(step, network.size, values, kept)


def _fitted(value: Tensor, like: Tensor) -> Tensor:
    if value.shape == like.shape:
        return value
    times = like.shape[0] // value.shape[0]
    return value.repeat(times, *[1] * (value.dim() - 1))


def _given(kept: object, parameter: nn.Parameter) -> object:
    """Return a value for a parameter of more members; a step count is the same for all."""
    if not isinstance(kept, Tensor) or not kept.dim():
        return kept.clone() if isinstance(kept, Tensor) else kept
    return _fitted(kept, parameter).clone()


def draw_again(
    network: Population,
    optimizer: torch.optim.Optimizer,
    layer: int,
    stack: Stack,
    names: Sequence[MemberName],
    rows: range,
    build: Build,
    norms: Float[Tensor, " member"],
) -> None:
    """Draw one layer's weights anew for some members, as a network would that starts, and forget what drove the old ones.

    The draw is one that no other layer of the seed has. A norm goes back to its start; what activations learn is left alone.
    Weights of lsuv, whose size is found by looking at samples, are given the size that those before all training had.

    Args:
        network: all of it.
        optimizer: its optimizer, with or without a state.
        layer: counted from 0.
        stack: which all members are.
        names: of all members.
        rows: the members meant.
        build: makes an activation's module.
        norms: of the layer's weights before all training.
    """
    host = network.layers[layer]
    assert isinstance(host, StackLayer)
    _, outputs, inputs = host.weight.shape
    with torch.no_grad():
        for row in rows:
            before = tuple(stack.layers[layer - 1].resolve(inputs)) if layer and stack.init == "matched-normal" else None
            gain = matched_gains([before], build)[0]
            weight, bias = initial_linear(inputs, outputs, stack.init, names[row].seed, 3 * MOST_LAYERS + layer, gain)
            if stack.init == "lsuv":
                weight *= norms[row].to(weight) / weight.norm()
            host.weight[row], host.bias[row] = weight, bias
        for norm in host.norms:
            own = [i for i, row in enumerate(norm.rows) if row in rows]  # type: ignore[arg-type]
            for name, value in norm.state_dict(keep_vars=True).items():
                value[own] = 1.0 if name in ("weight", "running_var") else 0.0
            assert isinstance(norm, MemberNorm)
            norm.draw_weights({i: (names[norm.rows[i]].seed, stack) for i in own}, 4 * MOST_LAYERS + layer)
            for parameter in norm.parameters():
                _forget(optimizer, parameter, own)
    for parameter in (host.weight, host.bias):
        _forget(optimizer, parameter, rows)


def _forget(optimizer: torch.optim.Optimizer, parameter: nn.Parameter, rows: Sequence[int]) -> None:
    for kept in optimizer.state.get(parameter, {}).values():
        if isinstance(kept, Tensor) and kept.dim():
            kept[list(rows)] = 0.0
