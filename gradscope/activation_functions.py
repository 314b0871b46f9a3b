"""The functions of torch that act as element-wise non-linearities, in all spellings: `F.relu`, `torch.relu_`, `Tensor.relu`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Function = Callable[..., Any]

# Name that sites get -> spellings. Softmax is left out: it normalises over units, it is no gate.
SPELLINGS: dict[str, tuple[str, ...]] = {
    name: (name,)
    for name in (
        "relu", "relu6", "tanh", "gelu", "silu", "elu", "selu", "celu", "leaky_relu", "prelu", "rrelu", "hardtanh",
        "hardsigmoid", "hardswish", "mish", "softplus", "softsign", "softshrink", "hardshrink", "tanhshrink",
    )
} | {
    "sigmoid": ("sigmoid", "expit", "special_expit"),
    "logsigmoid": ("logsigmoid", "log_sigmoid"),
    "threshold": ("threshold", "_threshold"),
    "clamp": ("clamp", "clip", "clamp_min", "clamp_max"),
}  # fmt: skip

# Functions that act non-linearly inside, on more than one element or one tensor, where no gate can be measured.
OPAQUE_SPELLINGS: dict[str, tuple[str, ...]] = {
    name: (name,)
    for name in (
        "scaled_dot_product_attention", "multi_head_attention_forward", "_transformer_encoder_layer_fwd",
        "_native_multi_head_attention", "lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell",
        "rnn_relu_cell", "glu", "sin", "cos", "erf", "atan", "maximum", "minimum",
    )
}  # fmt: skip

_OWNERS = (functional, torch, torch.Tensor, torch.special, torch._C._nn)


def _spelled(names: tuple[str, ...]) -> Iterator[Function]:
    for owner in _OWNERS:
        for name in names:
            for spelling in (name, f"{name}_"):
                found = getattr(owner, spelling, None)
                if callable(found):
                    yield found


ACTIVATIONS: dict[Function, str] = {function: name for name, names in SPELLINGS.items() for function in _spelled(names)}
OPAQUE: dict[Function, str] = {function: name for name, names in OPAQUE_SPELLINGS.items() for function in _spelled(names)}


def pre_activation(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """Return z of a call of one of `ACTIVATIONS`: its first argument, where that is a tensor of real numbers."""
    z = args[0] if args else kwargs.get("input", kwargs.get("self"))
    return z if isinstance(z, Tensor) and z.is_floating_point() else None


def element_function(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[Tensor], Tensor]:
    """Return the call as a function of z alone, never in place and never into the caller's `out`; no graph is kept."""
    rest = [_apart(value) for value in args[1:]]
    named = {key: _apart(value) for key, value in kwargs.items() if key not in ("input", "self", "out")}

    def of_z(z: Tensor) -> Tensor:
        fit = [_like(value, z) for value in rest], {key: _like(value, z) for key, value in named.items()}
        result: Tensor = function(z.clone(), *fit[0], **fit[1])  # the copy is for what works in place
        return result

    return of_z


def _apart(value: object) -> object:
    return value.detach() if isinstance(value, Tensor) else value


def _like(value: object, z: Tensor) -> object:
    """Return a tensor in z's precision, as autocast would pass it; anything else as it is."""
    return value.to(z.dtype) if isinstance(value, Tensor) and value.is_floating_point() else value


def constants_of(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[object, ...], tuple[tuple[str, object], ...]] | None:
    """Return what beside z decides the function, by position and by name; None where tensors take part."""
    rest = args[1:]
    named = tuple(sorted((key, value) for key, value in kwargs.items() if key not in ("input", "self", "out", "inplace")))
    plain = all(isinstance(value, int | float | str | None) for value in (*rest, *(value for _, value in named)))
    return (rest, named) if plain else None
