"""Sees every call of a torch function while it is on, in this thread, and passes each on unchanged.

It stands at the bottom of torch's stack of modes, below whatever the user's code puts there or takes away meanwhile
(`with torch.device(...)`), so that neither side takes the other's.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch._C import _get_function_stack_at, _len_torch_function_stack
from torch.autograd.graph import Node
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack, _pop_mode, _push_mode

Handler = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]

_all: weakref.WeakSet[FunctionMode] = weakref.WeakSet()


class FunctionMode(TorchFunctionMode):
    """Hands the calls of some functions to handlers, which make the call themselves; all others go straight through."""

    def __init__(self, handlers: Mapping[Callable[..., Any], Handler]) -> None:
        super().__init__()
        self._handlers = dict(handlers)
        self._thread = 0  # in which it is on
        _all.add(self)

    def __torch_function__(  # noqa: D105
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:  # noqa: ANN401  whatever the function returns
        handler = self._handlers.get(func)
        if handler is None:
            return func(*args, **kwargs) if kwargs else func(*args)
        return handler(func, args, kwargs or {})

    @property
    def is_on(self) -> bool:
        """Whether calls are seen, in this thread."""
        return self._thread == threading.get_ident()

    def turn_on(self) -> None:
        """See calls from now on."""
        if not self.is_on:
            self._thread = threading.get_ident()
            if _len_torch_function_stack():
                _restack(self._below)
            else:
                _push_mode(self)

    def turn_off(self) -> None:
        """Let all calls pass unseen."""
        if self.is_on:
            self._thread = 0
            if _len_torch_function_stack() == 1 and _get_function_stack_at(0) is self:
                _pop_mode()
            else:
                _restack(lambda stack: [mode for mode in stack if mode is not self])

    @contextlib.contextmanager
    def off(self) -> Iterator[None]:
        """Be off for a while, if it was on."""
        was_on = self.is_on
        self.turn_off()
        try:
            yield
        finally:
            if was_on:
                self.turn_on()

    def follow(self, node: Node) -> None:
        """Be on while a node of autograd's graph runs, in whichever thread it runs."""
        node.register_prehook(lambda gradients: _push_mode(self))
        node.register_hook(lambda sent, arrived: _restack(lambda stack: [mode for mode in stack if mode is not self]))

    def _below(self, stack: list[Any]) -> list[Any]:
        """Return the stack with this mode at the bottom, where only torch's default device insists on being lower.

        Not so a device that is set by `with`: it is taken off from the top.
        """
        default = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
        lowest = 1 if stack and stack[0] is default else 0
        return [*stack[:lowest], self, *stack[lowest:]]


def _restack(change: Callable[[list[Any]], list[Any]]) -> None:
    stack = _get_current_function_mode_stack()
    for _ in stack:
        _pop_mode()
    for mode in change(stack):
        _push_mode(mode)


def _forget_in_child() -> None:
    """Turn off in a forked process, such as a data loader's worker, which has nobody to do it."""
    for mode in list(_all):
        mode.turn_off()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
