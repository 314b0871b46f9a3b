"""Buffers for what is recorded: filled on the device, copied to the host once per flush."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Key = tuple[str, str]  # place (site or parameter), statistic
Layout = tuple[tuple[Key, torch.Size], ...]

BUFFER_BYTES = 2**24  # on the device; enough for hundreds of records of a small network
MOST_ROWS = 64


@dataclass(frozen=True)
class _Segment:
    """Rows with one layout on the host: [record, value]."""

    layout: Layout
    rows: NDArray[np.float32]


class Records:
    """Rows of statistics, one per recorded step. A row holds every key's values, [member] or [member, unit], end to end."""

    def __init__(self, members: int) -> None:
        self.members = members
        self.steps: list[int] = []
        self.samples: list[int] = []
        self._layout: Layout = ()
        self._missing: dict[Key, Tensor] = {}
        self._buffer: Tensor | None = None
        self._filled = 0
        self._segments: list[_Segment] = []
        self._columns: dict[tuple[Key, int | None], NDArray[np.float32]] = {}  # until the next flush

    def __len__(self) -> int:
        return len(self.steps)

    def add(self, step: int, samples: int, found: Mapping[Key, Tensor]) -> None:
        """Append one record. Known keys that are missing are filled with NaN; an unknown key or shape starts a new segment."""
        if not found:
            return
        layout = tuple((key, values.shape) for key, values in found.items())
        if not set(layout) <= set(self._layout):
            self.flush()
            self._start(layout, next(iter(found.values())).device)
        assert self._buffer is not None
        if self._filled == len(self._buffer):
            self.flush()
        row = [found.get(key, self._missing.get(key)) for key, _ in self._layout]
        parts = [part.flatten().float() for part in row if part is not None]
        torch.cat(parts, out=self._buffer[self._filled])
        self._filled += 1
        self.steps.append(step)
        self.samples.append(samples)

    def flush(self) -> None:
        """Copy what is in the buffer to the host."""
        if self._buffer is not None and self._filled:
            self._segments.append(_Segment(self._layout, self._buffer[: self._filled].cpu().numpy().copy()))
            self._filled = 0
            self._columns = {}

    def column(self, key: Key, width: int | None = None) -> NDArray[np.float32]:
        """Return what was flushed of one key: [record, member], or [record, member, unit] with `width` units.

        NaN where a record lacks the key.
        """
        found = self._columns.get((key, width))
        if found is None:
            shape = (self.members,) if width is None else (self.members, width)
            parts = [_slice(segment, key, shape) for segment in self._segments]
            found = self._columns[key, width] = np.concatenate([np.empty((0, *shape), np.float32), *parts])
        return found

    def _start(self, layout: Layout, device: torch.device) -> None:
        values = sum(shape.numel() for _, shape in layout)
        rows = min(MOST_ROWS, max(1, BUFFER_BYTES // (4 * values)))
        self._layout = layout
        self._missing = {key: torch.full(shape, torch.nan, device=device) for key, shape in layout}
        self._buffer = torch.empty(rows, values, device=device)


def _slice(segment: _Segment, key: Key, shape: tuple[int, ...]) -> NDArray[np.float32]:
    start = 0
    for held, size in segment.layout:
        if held == key and tuple(size) == shape:
            return segment.rows[:, start : start + size.numel()].reshape(-1, *shape)
        start += size.numel()
    return np.full((len(segment.rows), *shape), np.nan, np.float32)
