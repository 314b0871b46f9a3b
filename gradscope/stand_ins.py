"""Stands in for the call of single modules during the steps looked at, and leaves them as they were.

torch calls a module's `_compiled_call_impl` in the place of the module, where it has one. Set past `__setattr__`, it is
noticed by nobody else: no hook, nothing in the state, nothing that the compiler guards on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

CALL = "_compiled_call_impl"
Call = Callable[..., Any]


class _StandIn:
    """What is called instead of a module, until it is `over`; what was there before may be another's."""

    def __init__(self, had: Call | None, instead: Call, call: Call) -> None:
        self.had, self.is_over = had, False
        self._instead, self._call = instead, call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        return self._call(*args, **kwargs) if self.is_over else self._instead(*args, **kwargs)

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Copy and pickle as None, where a module's own way of doing so takes all it has: nobody stands in for the copy."""
        return type(None), ()


class StandIns:
    """The modules that are stood in for just now."""

    def __init__(self) -> None:
        self._put: list[tuple[nn.Module, _StandIn]] = []

    def put(self, module: nn.Module, make: Callable[[Call], Call]) -> None:
        """Have `make(call)` called instead of the module; `call` is what would have been called without."""
        had = vars(module).get(CALL)
        call = had or module._call_impl
        standing = _StandIn(had, make(call), call)
        vars(module)[CALL] = standing
        self._put.append((module, standing))

    def clear(self) -> None:
        """Take all away, those of others that are over and what the user has put in the place meanwhile excepted."""
        for module, standing in self._put:
            standing.is_over = True
            found = vars(module).get(CALL)
            while isinstance(found, _StandIn) and found.is_over:
                found = found.had
            if found is None:
                vars(module).pop(CALL, None)
            else:
                vars(module)[CALL] = found
        self._put = []


def is_compiled_in_place(module: nn.Module) -> bool:
    """Tell whether `module.compile()` was called."""
    found = vars(module).get(CALL)
    while isinstance(found, _StandIn):
        found = found.had
    return found is not None
