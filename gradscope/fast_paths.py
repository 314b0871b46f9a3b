"""Parts of torch.nn that choose their way by whether someone looks: to be left unlooked at, where that changes their bits.

In evaluation, attention and transformer encoders without gradients take one fused kernel, but not while a function mode is
on. Where they would take it, in whatever network, the mode is off for their call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gradscope.function_mode import FunctionMode
from gradscope.stand_ins import CALL

_FUSED: tuple[type[nn.Module], ...] = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerEncoder)

_leaving: list[FunctionMode] = []  # the modes that are on; the classes are changed for all of them at once


def leave_alone(mode: FunctionMode) -> None:
    """Turn the mode off for calls that may take the fused kernel, from now on."""
    if mode not in _leaving:
        _leaving.append(mode)
    for kind in _FUSED:
        setattr(kind, CALL, _called)


def look_again(mode: FunctionMode) -> None:
    """Have those calls looked at like any other."""
    if mode in _leaving:
        _leaving.remove(mode)
    if not _leaving:
        for kind in _FUSED:
            if CALL in vars(kind):
                delattr(kind, CALL)


def _called(self: nn.Module, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
    inputs = (value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
    needs_gradient = any(tensor.requires_grad for tensor in (*inputs, *self.parameters()))
    call: Callable[..., Any] = self._call_impl
    if self.training or (torch.is_grad_enabled() and needs_gradient):
        return call(*args, **kwargs)
    return _unseen(list(_leaving), call, args, kwargs)


def _unseen(modes: list[FunctionMode], call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
    if not modes:
        return call(*args, **kwargs)
    with modes[0].off():
        return _unseen(modes[1:], call, args, kwargs)
