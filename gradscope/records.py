"""Buffers for what is recorded: filled on the device, copied to the host once per flush."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradscope.row_layout import Found, Key, Layout, RowLayout

Count = tuple[int, int]  # samples of z and of a, the pixels or times in them included

BUFFER_BYTES = 2**24  # on the device; enough for hundreds of records of a small network
MOST_ROWS = 64
MOST_RECORDS, HOST_BYTES = 2000, 2**28
"""Beyond either, records are let go at even distances, the first and the last ones excepted: a run may last forever."""
KEPT_AT_ENDS = 64
_SHARE_LEFT, _FEWEST = 0.75, 16  # so that not every flush has to let some go; of those in between


@dataclass(frozen=True)
class Segment:
    """Rows with one layout on the host: [record, value], with the steps and samples of each."""

    layout: Layout
    rows: NDArray[np.float32]
    counts: tuple[Mapping[str, Count], ...]  # samples behind each site, by record
    steps: tuple[int, ...]
    samples: tuple[int, ...]

    def kept(self, keep: NDArray[np.bool_]) -> Segment:
        """Return the segment with some of its records only."""
        chosen = np.flatnonzero(keep).tolist()
        counts = tuple(self.counts[i] for i in chosen)
        return Segment(
            self.layout, self.rows[keep], counts, tuple(self.steps[i] for i in chosen), tuple(self.samples[i] for i in chosen)
        )


class Records:
    """Rows of statistics, one per recorded step. A row holds every key's values, [member] or [member, unit], end to end."""

    def __init__(self, members: int) -> None:
        self.members = members
        self.steps: list[int] = []
        self.samples: list[int] = []
        self._layout: RowLayout | None = None
        self._buffer: Tensor | None = None
        self._rows: tuple[Tensor, ...] = ()  # of the buffer
        self._filled = 0
        self._counts: list[Mapping[str, Count]] = []
        self._segments: list[Segment] = []
        self._numbers: list[int] = []  # of the records that are left, among all there were
        self._added, self._stride = 0, 1
        self._columns: dict[tuple[Key, int | None], NDArray[np.float32]] = {}  # until the next flush

    def __len__(self) -> int:
        return len(self.steps)

    def add(self, step: int, samples: int, found: Found, counts: Mapping[str, Count] | None = None) -> None:
        """Append one record. Known keys that are missing are filled with NaN; an unknown key or shape starts a new segment.

        Args:
            step: the step it belongs to.
            samples: independent samples behind it.
            found: the values.
            counts: for each site the number of values per unit that its sums are over.
        """
        if not found:
            return
        if self._layout is None or not self._layout.fits(found):
            self.flush()
            self._layout = RowLayout(found, self._layout)
            self._layout.fits(found)
            self._start(self._layout)
        elif self._filled == len(self._rows):
            self.flush()
        torch.cat(self._layout.parts(found), out=self._rows[self._filled])
        self._filled += 1
        counts = dict(counts or {})
        same = bool(self._counts) and self._counts[-1] == counts
        self._counts.append(self._counts[-1] if same else counts)  # what is kept is the garbage collector's burden
        self.steps.append(step)
        self.samples.append(samples)
        self._number(1)

    def flush(self) -> None:
        """Copy what is in the buffer to the host."""
        if self._layout is not None and self._buffer is not None and self._filled:
            rows = self._buffer[: self._filled].cpu().numpy().copy()
            behind = tuple(self.steps[-self._filled :]), tuple(self.samples[-self._filled :])
            self._segments.append(Segment(self._layout.layout, rows, tuple(self._counts), *behind))
            self._filled, self._counts = 0, []
            if len(self.steps) > MOST_RECORDS or sum(segment.rows.nbytes for segment in self._segments) > HOST_BYTES:
                self._thin()
            self._columns = {}

    @property
    def segment_count(self) -> int:
        """Number of flushes so far that copied something."""
        return len(self._segments)

    def since(self, flushes: int) -> list[Segment]:
        """Return what was flushed after so many flushes."""
        return self._segments[flushes:]

    def extend(self, segments: Sequence[Segment]) -> None:
        """Append what another process has flushed."""
        for segment in segments:
            self._segments.append(segment)
            self.steps += segment.steps
            self.samples += segment.samples
            self._number(len(segment.steps))
        self._columns = {}

    def _number(self, count: int) -> None:
        self._numbers += range(self._added, self._added + count)
        self._added += count

    def _thin(self) -> None:
        numbers, lengths = np.array(self._numbers), [len(segment.steps) for segment in self._segments]
        at_ends = (numbers < KEPT_AT_ENDS) | (np.arange(len(numbers)) >= len(numbers) - KEPT_AT_ENDS)
        row_bytes = np.repeat([segment.rows.itemsize * segment.rows.shape[1] for segment in self._segments], lengths)
        keep = at_ends | (numbers % self._stride == 0)
        while (
            keep.sum() > _SHARE_LEFT * MOST_RECORDS or row_bytes[keep].sum() > _SHARE_LEFT * HOST_BYTES
        ) and self._stride * _FEWEST < self._added:
            self._stride *= 2
            keep = at_ends | (numbers % self._stride == 0)
        self._numbers = numbers[keep].tolist()
        ends = np.cumsum(lengths)[:-1]
        self._segments = [s.kept(part) for s, part in zip(self._segments, np.split(keep, ends), strict=True)]
        self.steps = [step for segment in self._segments for step in segment.steps]
        self.samples = [count for segment in self._segments for count in segment.samples]

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

    def counts(self, site: str) -> NDArray[np.float32]:
        """Return how many values of z and of a stand behind a site's sums, [record, 2]; NaN where it was not passed."""
        missing = (np.nan, np.nan)
        rows = [held.get(site, missing) for segment in self._segments for held in segment.counts]
        return np.array(rows, np.float32).reshape(-1, 2)

    def _start(self, layout: RowLayout) -> None:
        values = sum(shape.numel() for _, shape in layout.layout)
        rows = min(MOST_ROWS, max(1, BUFFER_BYTES // (4 * values)))
        self._buffer = torch.empty(rows, values, device=layout.device)
        self._rows = self._buffer.unbind()


def _slice(segment: Segment, key: Key, shape: tuple[int, ...]) -> NDArray[np.float32]:
    start = 0
    for held, size in segment.layout:
        if held == key and size.numel() == math.prod(shape):
            return segment.rows[:, start : start + size.numel()].reshape(-1, *shape)
        start += size.numel()
    return np.full((len(segment.rows), *shape), np.nan, np.float32)
