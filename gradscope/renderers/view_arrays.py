"""The arrays that the tab and the HTML report draw: binned to what a screen can show, and packed into bytes.

docs/view-data.md has the form. numpy only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gradscope.trace import FloatArray, IntArray

WIDTH = 1200  # columns where nothing is asked for: as many as the drawing has pixels on a wide screen
RARE = 0.5  # a row with fewer numbers than this share of its records was not looked at in each, so NaN tells nothing there
DIGITS = 4  # significant, of what is embedded: more than a tooltip shows


def in_range(steps: IntArray, first: int | None, last: int | None) -> slice:
    """Return which records lie between two steps, both included; None stands for no limit."""
    start = 0 if first is None else int(np.searchsorted(steps, first))
    end = len(steps) if last is None else int(np.searchsorted(steps, last, side="right"))
    return slice(start, max(start, end))


def chosen_records(records: int, width: int) -> IntArray:
    """Return the records that are shown in at most `width` columns: the first of each bin, and the last of all.

    >>> chosen_records(10, 4).tolist(), chosen_records(3, 4).tolist()
    ([0, 2, 5, 9], [0, 1, 2])
    """
    columns = min(records, max(1, width))
    chosen = _starts(records, columns)
    chosen[-1:] = records - 1
    return chosen


def binned(values: FloatArray, width: int) -> FloatArray:
    """Return [record, row] as at most `width` columns, [row, column] in float32.

    A column is the record that `chosen_records` names, except that an infinity or a NaN anywhere in the bin takes its place.
    In a row of which fewer than half of the records are known a number takes the place of NaN instead.
    """
    records, rows = values.shape
    columns = min(records, max(1, width))
    if not columns or not rows:
        return np.empty((rows, columns), np.float32)
    chosen = np.repeat(chosen_records(records, width)[:, None], rows, axis=1)
    if columns < records:
        starts = _starts(records, columns)
        known = ~np.isnan(values)
        rare = np.isin(np.arange(rows), rare_rows(values))
        for telling in (known & rare, ~known & ~rare, np.isinf(values)):
            found = np.minimum.reduceat(np.where(telling, np.arange(records)[:, None], records), starts, axis=0)
            keep = (found == records) | (telling[chosen, np.arange(rows)])
            chosen = np.where(keep, chosen, found)
    return np.ascontiguousarray(np.take_along_axis(values, chosen, axis=0).T, np.float32)


def rare_rows(values: FloatArray) -> list[int]:
    """Return the rows of [record, row] of which fewer than half of the records are known.

    A page that bins columns once more has to be told: of binned columns another share is known.
    """
    if not len(values):
        return []
    found: list[int] = np.flatnonzero((~np.isnan(values)).mean(axis=0) < RARE).tolist()
    return found


def packed(arrays: Mapping[str, ArrayLike], **header: object) -> bytes:
    """Return arrays as bytes: integers as int32, all else as float32, behind a header in JSON that names them."""
    made = {name: _four_bytes(np.asarray(values)) for name, values in arrays.items()}
    shapes = [
        {"name": name, "dtype": "int32" if values.dtype.kind == "i" else "float32", "shape": list(values.shape)}
        for name, values in made.items()
    ]
    text = json.dumps({"arrays": shapes, **header}, allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    return b"".join([len(text).to_bytes(4, "little"), text, *(values.tobytes() for values in made.values())])


def trimmed(values: FloatArray, digits: int = DIGITS) -> FloatArray:
    """Return float32 values rounded to some significant binary digits, which compress to half; 0, 1, NaN and infinities stay.

    What is not 1 stays apart from 1, and what is not 0 from 0.

    >>> trimmed(np.float32([0, 1, 1 / 3, 1 - 1e-7, np.inf, np.nan])).tolist()
    [0.0, 1.0, 0.3333282470703125, 0.999969482421875, inf, nan]
    """
    kept_bits = int(np.ceil(digits * np.log2(10)))
    mask = np.uint32(0xFFFFFFFF << (23 - kept_bits) & 0xFFFFFFFF)
    whole = np.ascontiguousarray(values, np.float32)
    cut = (whole.view(np.uint32) & mask).view(np.float32)
    return np.where(np.isfinite(whole) & (np.abs(cut) > 0), cut, whole)


def _starts(records: int, columns: int) -> IntArray:
    return (np.arange(columns) * records) // max(columns, 1)


def _four_bytes(values: NDArray[np.generic]) -> NDArray[np.generic]:
    return np.ascontiguousarray(values, "<i4" if values.dtype.kind in "iu" else "<f4")
