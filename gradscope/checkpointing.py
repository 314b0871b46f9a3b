"""Activation checkpointing of the reentrant kind: it runs forward without gradients, and again, with them, in backward.

The recomputation is what autograd sees, so sites are recorded there; their order and numbers are those of the first run.
(The other kind recomputes values for a graph that stands already: its sites are recorded in the first run only.)
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import CodeType, FrameType

from torch.autograd.graph import Node
from torch.utils import checkpoint
from torch.utils.checkpoint import CheckpointFunction

_FORWARD: CodeType = CheckpointFunction.forward.__code__
_BACKWARD: CodeType = CheckpointFunction.backward.__code__
_OTHER_KIND = "unpack_hook"  # the function of torch.utils.checkpoint in which the other kind recomputes
_FURTHEST = 600  # frames


def runs_forward() -> bool:
    """Tell whether a checkpointed part is running without gradients."""
    return _frames(_FORWARD) != []


class Segments:
    """The sites of each checkpointed part, in order. A part within a part counts as the outer one's, and again by itself."""

    def __init__(self) -> None:
        self._keys: dict[int, list[str]] = {}
        self._next: dict[int, int] = {}

    def reserve(self, key: str, follow: Callable[[Node], None]) -> None:
        """Append a site to the part that is running; `follow` is called with the node of a new part.

        The first time, that is the outermost part: only its node is in the graph. When an outer part is run again, the
        inner one's node is in the graph of the recomputation.
        """
        frames = _frames(_FORWARD)
        if not frames:
            return
        frame = frames[-1] if _recomputed() is None else frames[0]
        part = id(frame.f_locals["ctx"])
        if part not in self._keys:
            self._keys[part] = []
            follow(frame.f_locals["ctx"])
        self._keys[part].append(key)

    def next_key(self) -> str | None:
        """Return the site that is being run again, None where no part of this kind is."""
        frame = _recomputed()
        if frame is None:
            return None
        part = id(frame.f_locals["ctx"])
        keys, number = self._keys.get(part, []), self._next.get(part, 0)
        self._next[part] = number + 1
        return keys[number] if number < len(keys) else None

    def clear(self) -> None:
        """Forget the parts of a pass that is over."""
        self._keys.clear()
        self._next.clear()


def _frames(code: CodeType) -> list[FrameType]:
    """Return the frames above that run some code, the nearest first."""
    found = []
    frame: FrameType | None = sys._getframe(1)
    for _ in range(_FURTHEST):
        if frame is None:
            break
        if frame.f_code is code:
            found.append(frame)
        frame = frame.f_back
    return found


def _recomputed() -> FrameType | None:
    """Return the frame in which a part of this kind is run again, None where none is or the other kind is nearer."""
    frame: FrameType | None = sys._getframe(1)
    for _ in range(_FURTHEST):
        if frame is None or (frame.f_code.co_name == _OTHER_KIND and frame.f_code.co_filename == checkpoint.__file__):
            return None
        if frame.f_code is _BACKWARD:
            return frame
        frame = frame.f_back
    return None
