"""Tables of the share of weights <= 0 in the last layer, epoch by epoch: a sweep's epochs.csv, or a published one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from gradscope.csv_sheet import Sheet, read_sheet
from gradscope.errors import TraceError
from gradscope.run_table import RunRow, RunTable

METRIC = "share of weights <= 0 in the last layer"
COUNTS = ("nonpositive_weights", "total_weights")
"""The columns of a published table."""
SHARE = "nonpositive_weight_frac_"
"""How the columns of a sweep's own table begin; the layer's number follows."""
EPOCH, SEED = "epoch", "seed"


def is_weight_table(path: Path) -> bool:
    """Tell whether a CSV file is a published table of weights <= 0; a file that cannot be read is none."""
    try:
        return path.suffix == ".csv" and set(COUNTS) <= set(read_sheet(path).header)
    except TraceError:
        return False


def read_weights(path: Path) -> RunTable:
    """Read the share of weights <= 0 of each row and epoch; the seeds of a sweep are its runs.

    A run whose weights are no longer finite has no share and is left out; a note counts them.

    Raises:
        TraceError: the file cannot be read or has no such columns.
    """
    sheet = read_sheet(path)
    if set(COUNTS) <= set(sheet.header):
        return _table(sheet, _published(sheet))
    if {EPOCH, SEED} <= set(sheet.header) and any(name.startswith(SHARE) for name in sheet.header):
        return _table(sheet, _own(sheet))
    columns = ", ".join(COUNTS)
    raise TraceError(f"{path}: expected a sweep's epochs.csv or a table with {columns}, got {', '.join(sheet.header[:8])}")


Key = tuple[tuple[str, str], ...]


def _table(sheet: Sheet, values: Mapping[Key, list[float]]) -> RunTable:
    rows = []
    for key, runs in values.items():
        finite = tuple(value for value in runs if math.isfinite(value))
        if finite:
            rows.append(RunRow(dict(key), finite, len(finite)))
    diverged = sum(not math.isfinite(value) for runs in values.values() for value in runs)
    note = f"{diverged} shares of {sum(map(len, values.values()))} are of runs whose weights are not finite, and left out"
    return RunTable(str(sheet.path), tuple(rows), METRIC, chance=0.0, notes=(note,) if diverged else ())


def _published(sheet: Sheet) -> dict[Key, list[float]]:
    few, all_ = (sheet.header.index(name) for name in COUNTS)
    found: dict[Key, list[float]] = {}
    for line, fields in sheet.lines:
        total = sheet.number(line, fields, all_)
        if not total > 0:
            raise TraceError(f"{sheet.path}:{line}: {COUNTS[1]}: expected a number above 0, got '{fields[all_]}'")
        key = _key(sheet, fields, sheet.header.index(EPOCH) + 1 if EPOCH in sheet.header else min(few, all_))
        found.setdefault(key, []).append(sheet.number(line, fields, few) / total)
    return found


def _own(sheet: Sheet) -> dict[Key, list[float]]:
    """Return the shares of the last layer that a row has: networks of the sweep may differ in depth."""
    columns = [i for i, name in enumerate(sheet.header) if name.startswith(SHARE)]
    found: dict[Key, list[float]] = {}
    for line, fields in sheet.lines:
        last = max((i for i in columns if fields[i]), default=None)
        if last is not None:
            key = (*_key(sheet, fields, sheet.header.index(SEED)), (EPOCH, fields[sheet.header.index(EPOCH)]))
            found.setdefault(key, []).append(sheet.number(line, fields, last))
    return found


def _key(sheet: Sheet, fields: list[str], before: int) -> Key:
    return tuple((sheet.header[i], fields[i]) for i in range(before))
