"""Tables of runs as CSV: a sweep's results.csv, or a published one in per cent or shares."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from gradscope.csv_sheet import Sheet, read_sheet
from gradscope.distinct_runs import distinct_runs
from gradscope.errors import TraceError
from gradscope.run_table import ABOVE_CHANCE, RunRow, RunTable

PER_CENT_ABOVE = 1.5  # no share is above 1, and a table in per cent whose best run scores under 1.5 % is none of networks
CHANCE = 0.1  # of the published data sets, all of ten classes

RUN = re.compile(r"run[1-9]\d*")
MEASURED = re.compile(
    r"run\d+|mean|std|accuracy|r2|low|high|seeds?|missing|distinct|collapsed|first_step|findings|(test|train)_loss.*"
)
"""Columns that are no factors in a table that somebody else wrote."""
OWN = ("seeds", "missing", "mean")
"""Columns by which a sweep's own results.csv is known; what stands before them are its factors."""


def read_csv(path: Path) -> RunTable:
    """Read a table of runs; lines that begin with # are left out.

    Runs that repeat others are left out of a table that is not a sweep's own. Values above 1.5 mean that all are per cent.

    Raises:
        TraceError: the file cannot be read, or has no metric, or something else than a number in it.
    """
    sheet = read_sheet(path)
    measured = _measured(sheet)
    if not measured:
        columns = ", ".join(sheet.header[:8])
        raise TraceError(f"{path}: expected a column run1, mean or accuracy, got {columns}; is it a table of runs?")
    numbers = [[sheet.number(line, fields, i) for i in measured] for line, fields in sheet.lines]
    per_cent = any(value > PER_CENT_ABOVE for row in numbers for value in row)
    values = [[value / 100 if per_cent else value for value in row] for row in numbers]
    rows = _rows(sheet, values)
    return RunTable(
        name=str(path),
        rows=tuple(rows),
        metric="r2" if "r2" in sheet.header else "accuracy",
        notes=tuple(_notes(sheet, rows, per_cent=per_cent)),
    )


def _is_own(sheet: Sheet) -> bool:
    return all(name in sheet.header for name in OWN)


def _factors(sheet: Sheet) -> list[int]:
    """Return the columns that are factors."""
    if _is_own(sheet):
        return list(range(sheet.header.index(OWN[0])))
    return [i for i, name in enumerate(sheet.header) if not MEASURED.fullmatch(name)]


def _measured(sheet: Sheet) -> list[int]:
    """Return the columns with the metric: the runs, else the accuracy or mean."""
    runs = [i for i, name in enumerate(sheet.header) if RUN.fullmatch(name)]
    single = [sheet.header.index(name) for name in ("accuracy", "r2", "mean") if name in sheet.header]
    return runs or single[:1]


def _rows(sheet: Sheet, values: Sequence[Sequence[float]]) -> list[RunRow]:
    factors = _factors(sheet)
    if _is_own(sheet):
        kept = [[i for i, value in enumerate(row) if not math.isnan(value)] for row in values]
    else:
        kept = distinct_runs(values, CHANCE + ABOVE_CHANCE)
    return [
        RunRow(
            {sheet.header[i]: fields[i] for i in factors if fields[i] != ""},
            tuple(row[i] for i in of_row),
            sum(not math.isnan(value) for value in row),
            _collapsed(sheet, fields),
        )
        for (_, fields), row, of_row in zip(sheet.lines, values, kept, strict=True)
    ]


def _collapsed(sheet: Sheet, fields: Sequence[str]) -> int | None:
    """Return how many runs collapsed, from the share that a sweep's own table has."""
    if not _is_own(sheet) or "collapsed" not in sheet.header:
        return None
    share, seeds = (fields[sheet.header.index(name)] for name in ("collapsed", "seeds"))
    try:
        return round(float(share) * int(seeds))
    except ValueError:
        return None


def _notes(sheet: Sheet, rows: Sequence[RunRow], *, per_cent: bool) -> Iterator[str]:
    if per_cent:
        yield "its values are per cent"
    repeated = [row for row in rows if len(row.values) < row.named]
    if repeated:
        named, most = max(row.named for row in rows), max(len(row.values) for row in rows)
        least = min(len(row.values) for row in rows)
        distinct = f"{least} to {most}" if least < most else str(most)
        yield f"of its {named} runs {distinct} are distinct, the others repeat them and are left out"
    if _is_own(sheet):
        missing = sum(int(fields[sheet.header.index("missing")] or 0) for _, fields in sheet.lines)
        if missing:
            yield f"{missing} of its networks are not trained yet"
