"""Which gate belongs to a call: to a function with its options, to a population's layer, to a module of the user's."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor, nn

from gradscope.activation_functions import Function, constants_of, element_function
from gradscope.elementwise import Elementwise
from gradscope.gates import Gate, IntervalGate, Part, PartedGate, SlopeGate, interval_gate, search_gate
from gradscope.unit_activation import UnitActivation
from gradscope.user_activations import call_module

COMPOSITES: tuple[Function, ...] = (UnitActivation.forward, Elementwise.forward, call_module)
"""Activations made of several functions, which a function mode sees as one call: (module, z)."""

_searched: dict[tuple[type[nn.Module], str, torch.dtype], IntervalGate | None] = {}


def gate_of_call(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any], z: Tensor, axis: int) -> Gate:
    """Return the gate of `function(*args, **kwargs)`, of which z is the pre-activation with its units at `axis`."""
    if function is UnitActivation.forward:
        return _of_population(args[0], z.dtype)
    if function is Elementwise.forward:
        return SlopeGate(args[0].function, axis, has_members=False)
    if function is call_module:
        return gate_of_user_module(args[0], z.dtype) or SlopeGate(args[0].forward, axis, has_members=False)
    constants = constants_of(args, kwargs)
    found = None if constants is None else interval_gate(function, *constants, z.dtype)
    return found or SlopeGate(element_function(function, args, kwargs), axis, has_members=False)


def call_key(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable | None:
    """Return what is the same for calls that have the same gate, None where tensors take part, which may change at any time."""
    if function in COMPOSITES:
        return function, id(args[0])
    constants = constants_of(args, kwargs)
    return None if constants is None else (function, *constants)


def gate_of_user_module(module: nn.Module, dtype: torch.dtype) -> Gate | None:
    """Return the gate of an element-wise module without parameters, None where it has too many intervals."""
    own = copy.deepcopy(module).cpu()
    return search_gate(lambda z: own.forward(z.clone()), dtype)


def gate_of_module(module: nn.Module, dtype: torch.dtype, axis: int, *, has_members: bool) -> Gate:
    """Return the gate of an element-wise module."""
    if not any(True for _ in module.parameters()) and type(module).__module__.startswith("torch.nn."):
        key = (type(module), module.extra_repr(), dtype)
        if key not in _searched:
            _searched[key] = search_gate(_out_of_place(module), dtype)
        found = _searched[key]
        if found is not None and not isinstance(module, nn.RReLU):
            return found
    return SlopeGate(module.forward, axis, has_members=has_members)


def _out_of_place(module: nn.Module) -> Callable[[Tensor], Tensor]:
    def of_z(z: Tensor) -> Tensor:
        result: Tensor = module.forward(z.clone())
        return result

    return of_z


def _of_population(layer: UnitActivation, dtype: torch.dtype) -> Gate:
    parts = []
    for rows, group in zip(layer.rows, layer.groups, strict=True):
        start = 0
        for units, function in zip(group.units, group.functions, strict=True):  # type: ignore[arg-type]
            where = slice(rows[0], rows[-1] + 1), slice(start, start + units)
            parts.append(Part(*where, gate_of_module(function, dtype, 2, has_members=True)))
            start += units
    return parts[0].gate if len(parts) == 1 else PartedGate(parts)
