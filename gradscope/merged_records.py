"""The records of several processes that train one network together, as those of one that saw all samples. numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Key = tuple[str, str]
Column = NDArray[np.float32]

ADDED = ("nonpositive", "saturated", "closed", "out_sum")  # sums per unit
MOMENTS = ("first", "shift", "spread")
GRADIENTS = ("into_gate", "out_of_gate", "output_grad_norm")


@runtime_checkable
class RecordColumns(Protocol):
    """What traces are built from: recorded values by place and statistic."""

    steps: list[int]
    samples: list[int]
    members: int

    def __len__(self) -> int:
        """Return the number of records."""

    def column(self, key: Key, width: int | None = None) -> Column:
        """Return one statistic, [record, member] or [record, member, unit]."""

    def counts(self, site: str) -> Column:
        """Return how many values of z and of a stand behind a site's sums, [record, 2]."""


class MergedRecords:
    """Records of every rank, merged step by step; a step that a rank has not reported yet rests on the others.

    Parameters and their gradients are the same everywhere.
    """

    def __init__(self, first: RecordColumns, others: Sequence[RecordColumns], ranks: int) -> None:
        """Take the records of this process, those of the others as far as they have come, and the number of ranks."""
        self.first, self.others, self.ranks = first, others, ranks
        self.steps, self.members = first.steps, first.members
        self._places = [_places(first.steps, other.steps) for other in others]
        samples = [np.where(place >= 0, np.append(other.samples, 0)[place], 0) for other, place in self._with_places()]
        self.samples: list[int] = (np.array(first.samples, np.int64) + sum(samples, np.zeros(len(first), np.int64))).tolist()

    def __len__(self) -> int:
        return len(self.steps)

    def column(self, key: Key, width: int | None = None) -> Column:
        """Return one statistic over all ranks' samples."""
        own = self.first.column(key, width)
        place, name = key
        if name in ADDED:
            return _filled_sum([own, *self._aligned(key, width)])
        if name in ("shift", "spread"):
            return self._moments(place, width)[name == "spread"]
        if name == "out_norm" or name in GRADIENTS:
            squares = [part.astype(np.float64) ** 2 for part in (own, *self._aligned(key, width))]
            present = np.sum([np.isfinite(square) for square in squares], axis=0)
            # of a gradient, what a rank has is that of its own mean loss, and the step is made with the ranks' average
            root: Column = np.sqrt(_filled_sum(squares) / (np.maximum(present, 1) * self.ranks if name in GRADIENTS else 1))
            return root.astype(np.float32)
        return own

    def counts(self, site: str) -> Column:
        """Return the counts over all ranks."""
        return _filled_sum([self.first.counts(site), *self._other_counts(site)])

    def _moments(self, site: str, width: int | None) -> tuple[Column, Column]:
        """Return shift and spread over all ranks, about the first sample of this one."""
        first, *own = (self.first.column((site, name), width).astype(np.float64) for name in MOMENTS)
        sums = [own]
        for (other, place), counted in zip(self._with_places(), self._other_counts(site), strict=True):
            found = [_at(other.column((site, name), width), place).astype(np.float64) for name in MOMENTS]
            apart, count = found[0] - first, counted[:, :1, None].astype(np.float64)
            sums.append([found[1] + apart * count, found[2] + apart * (2 * found[1] + apart * count)])
        shift, spread = (_filled_sum(parts).astype(np.float32) for parts in zip(*sums, strict=True))
        return shift, spread

    def _with_places(self) -> list[tuple[RecordColumns, NDArray[np.int64]]]:
        return list(zip(self.others, self._places, strict=True))

    def _aligned(self, key: Key, width: int | None) -> list[Column]:
        return [_at(other.column(key, width), place) for other, place in self._with_places()]

    def _other_counts(self, site: str) -> list[Column]:
        return [_at(other.counts(site), place) for other, place in self._with_places()]


def _places(steps: Sequence[int], others: Sequence[int]) -> NDArray[np.int64]:
    """Return for each step its place among the others, -1 where it is missing."""
    where = {step: i for i, step in enumerate(others)}
    return np.array([where.get(step, -1) for step in steps], np.int64)


def _at(values: Column, place: NDArray[np.int64]) -> Column:
    padded = np.concatenate([values, np.full((1, *values.shape[1:]), np.nan, values.dtype)])
    return padded[place]


def _filled_sum(parts: Sequence[NDArray[np.floating]]) -> NDArray[np.floating]:
    """Return the sum of what is there, NaN where nothing is."""
    whole = np.stack(parts)
    missing = np.isnan(whole).all(axis=0)
    return np.where(missing, np.nan, np.nansum(whole, axis=0)).astype(parts[0].dtype)
