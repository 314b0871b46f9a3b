"""Where a function is called from: the module of the watched network, and the line for functions that are no module's own.

Read from the interpreter's frames at the call, so that nothing has to be attached to a module: modules called through
`.forward`, in containers or at several places are all the same to it.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType

import jaxtyping
import torch
from torch import nn

from gradscope.elementwise import Elementwise, module_classes

_TORCH = f"{Path(torch.__file__).parent}{os.sep}"
_OWN = f"{Path(__file__).parent}{os.sep}"
_WRAPPERS = f"{Path(jaxtyping.__file__).parent}{os.sep}"  # of functions whose shapes are checked
_CALL = nn.Module._call_impl.__code__
_FURTHEST = 400  # frames


@dataclass(frozen=True)
class Place:
    """The place of a call: its name within the network, and the path of the innermost module ("" for none or the network)."""

    name: str
    path: str
    line: str
    in_network: bool

    def opaque(self, function: str) -> str:
        """Return how a call that cannot be looked into is named."""
        call = f"{function}@{self.line}" if self.line else function
        return f"{self.path} ({call})" if self.path else call


class CallSites:
    """Knows the modules of one network by their paths."""

    def __init__(self, network: nn.Module, names: Mapping[str, str] | None = None) -> None:
        """Take the network and names of the user's own for modules, by path."""
        self._paths: dict[int, str] = {}
        self._forwards: set[CodeType] = {_CALL}
        self._kinds = (*module_classes(), Elementwise)
        own = names or {}
        for path, module in network.named_modules():
            plain = path.replace("_orig_mod.", "").removesuffix("_orig_mod").rstrip(".")
            self._paths[id(module)] = _renamed(plain, own)
            forward = getattr(type(module), "forward", None)  # a scripted module has none of its own
            code = getattr(inspect.unwrap(forward), "__code__", None) if forward is not None else None
            if code is not None and code.co_varnames[:1]:
                self._forwards.add(code)

    def path(self, module: nn.Module) -> str | None:
        """Return a module's path, None for a module of another network."""
        return self._paths.get(id(module))

    def of_module(self, module: nn.Module) -> Place | None:
        """Return the place of a call of an activation module, None where it is another network's."""
        path = self._paths.get(id(module))
        return None if path is None else Place(activation_name(path, module), path, "", True)

    def locate(self, function: str, depth: int = 2) -> Place | None:
        """Return the place of the call `depth` frames up, None where another network makes it.

        Args:
            function: name of what is called, for calls that are no activation module's own.
            depth: frames between the call and here.
        """
        frame: FrameType | None = sys._getframe(depth)
        line = ""
        stranger: nn.Module | None = None
        for _ in range(_FURTHEST):
            if frame is None:
                break
            code = frame.f_code
            if not line and not code.co_filename.startswith((_TORCH, _OWN, _WRAPPERS, "<")):
                line = f"{Path(code.co_filename).name}:{frame.f_lineno}"
            if code in self._forwards:
                module = frame.f_locals.get(code.co_varnames[0])
                path = self._paths.get(id(module)) if isinstance(module, nn.Module) else None
                if path is not None:
                    assert isinstance(module, nn.Module)
                    return self._place(path, stranger or module, function, line)
                if isinstance(module, nn.Module):
                    stranger = stranger or module
            frame = frame.f_back
        return None if stranger is not None else Place(f"{function}@{line}" if line else function, "", line, False)

    def _place(self, path: str, innermost: nn.Module, function: str, line: str) -> Place:
        if isinstance(innermost, self._kinds):
            return Place(activation_name(path, innermost), path, line, True)
        where = f"{path}.{function}" if path else function
        return Place(f"{where}@{line}" if line else where, path, line, True)


def _renamed(path: str, names: Mapping[str, str]) -> str:
    """Return a path with the user's name for the innermost module on it that has one."""
    inner, outer = path, ""
    while inner:
        if inner in names:
            return names[inner] + outer
        inner, _, last = inner.rpartition(".")
        outer = f".{last}{outer}"
    return path


def activation_name(path: str, module: nn.Module) -> str:
    """Return an activation module's name: its path, and its class where the path does not say it."""
    kind = type(module).__name__.lower()
    last = path.rpartition(".")[2].lower()
    return path if path and (kind in last or last in kind) and not last.isdigit() else f"{path}.{kind}".lstrip(".")
