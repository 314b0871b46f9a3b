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
        codes: set[CodeType] = {_CALL}
        self._kinds = (*module_classes(), Elementwise)
        own = names or {}
        for path, module in network.named_modules():
            plain = path.replace("_orig_mod.", "").removesuffix("_orig_mod").rstrip(".")
            self._paths[id(module)] = _renamed(plain, own)
            forward = getattr(type(module), "forward", None)  # a scripted module has none of its own
            code = getattr(inspect.unwrap(forward), "__code__", None) if forward is not None else None
            if code is not None and code.co_varnames[:1]:
                codes.add(code)

        # By id: code is slow to hash. Whoever holds the codes keeps their ids.
        self._forwards = {id(code): code for code in codes}
        self._foreign: dict[int, tuple[CodeType, bool]] = {}
        self._places: dict[object, Place] = {}

    def path(self, module: nn.Module) -> str | None:
        """Return a module's path, None for a module of another network."""
        return self._paths.get(id(module))

    def of_module(self, module: nn.Module) -> Place | None:
        """Return the place of a call of an activation module, None where it is another network's."""
        path = self._paths.get(id(module))
        return None if path is None else Place(activation_name(path, type(module)), path, "", True)

    def locate(self, function: str, depth: int = 2) -> Place | None:
        """Return the place of the call `depth` frames up, None where another network makes it.

        Args:
            function: name of what is called, for calls that are no activation module's own.
            depth: frames between the call and here.
        """
        frame: FrameType | None = sys._getframe(depth)
        of_user: FrameType | None = None  # the innermost frame that is neither torch's nor ours
        stranger: nn.Module | None = None
        for _ in range(_FURTHEST):
            if frame is None:
                break
            code = frame.f_code
            if of_user is None and not self._is_foreign(code):
                of_user = frame
            if id(code) in self._forwards:
                module = frame.f_locals.get(code.co_varnames[0])
                path = self._paths.get(id(module)) if isinstance(module, nn.Module) else None
                if path is not None:
                    assert isinstance(module, nn.Module)
                    return self._place(path, type(stranger or module), function, of_user)
                if isinstance(module, nn.Module):
                    stranger = stranger or module
            frame = frame.f_back
        if stranger is not None:
            return None
        line = _line(of_user)
        return Place(f"{function}@{line}" if line else function, "", line, False)

    def _is_foreign(self, code: CodeType) -> bool:
        """Tell whether code is not the user's: torch's, ours, or what checks shapes."""
        known = self._foreign.get(id(code))
        if known is None:
            is_foreign = code.co_filename.startswith((_TORCH, _OWN, _WRAPPERS, "<"))
            known = self._foreign[id(code)] = code, is_foreign
        return known[1]

    def _place(self, path: str, innermost: type[nn.Module], function: str, of_user: FrameType | None) -> Place:
        key = path, innermost, function, None if issubclass(innermost, self._kinds) else _position(of_user)
        place = self._places.get(key)
        if place is None:
            line = _line(of_user)
            if issubclass(innermost, self._kinds):
                place = Place(activation_name(path, innermost), path, line, True)
            else:
                where = f"{path}.{function}" if path else function
                place = Place(f"{where}@{line}" if line else where, path, line, True)
            self._places[key] = place
        return place


def _position(frame: FrameType | None) -> tuple[str, int] | None:
    return None if frame is None else (frame.f_code.co_filename, frame.f_lineno)


def _line(frame: FrameType | None) -> str:
    return "" if frame is None else f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


def _renamed(path: str, names: Mapping[str, str]) -> str:
    """Return a path with the user's name for the innermost module on it that has one."""
    inner, outer = path, ""
    while inner:
        if inner in names:
            return names[inner] + outer
        inner, _, last = inner.rpartition(".")
        outer = f".{last}{outer}"
    return path


def activation_name(path: str, module: type[nn.Module]) -> str:
    """Return the name of an activation module: its path, and its class where the path does not say it."""
    kind = module.__name__.lower()
    last = path.rpartition(".")[2].lower()
    return path if path and (kind in last or last in kind) and not last.isdigit() else f"{path}.{kind}".lstrip(".")
