"""Tables of runs as CSV: a sweep's results.csv, or a published one in per cent or shares."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from gradscope.csv_sheet import Sheet, read_sheet
from gradscope.distinct_runs import distinct_runs
from gradscope.errors import TraceError
from gradscope.interval import bounded
from gradscope.run_table import ABOVE_CHANCE, RunRow, RunTable, notes_of

PER_CENT_ABOVE = 1.5  # no share is above 1, and a table in per cent whose best run scores under 1.5 % is none of networks
CHANCE = 0.1  # of the published data sets, all of ten classes
LARGEST = 1 + 1e-6  # share; and no R2 is above 1

RUN = re.compile(r"run[1-9]\d*")
MEASURED = re.compile(
    r"run\d+|mean|std|metric|chance|accuracy|r2|low|high|seeds?|missing|distinct|collapsed|first_step|findings|(test|train)_loss.*"
)
"""Columns that are no factors in a table that somebody else wrote."""
OWN = ("seeds", "missing", "mean")
"""Columns by which a sweep's own results.csv is known; what stands before them are its factors."""


def read_csv(path: Path) -> RunTable:
    """Read a table of runs; lines that begin with # are left out.

    Runs that repeat others are left out of a table that is not a sweep's own. Values above 1.5 mean that all are per cent. A
    run without a finite metric counts as at chance, an R2 below 0 as 0.

    Raises:
        TraceError: the file cannot be read, or has no metric, or something else than a share or a percentage in it.
    """
    sheet = read_sheet(path)
    measured = _measured(sheet)
    if not measured:
        columns = ", ".join(sheet.header[:8])
        raise TraceError(f"{path}: expected a column run1, mean or accuracy, got {columns}; is it a table of runs?")
    numbers = [[sheet.number(line, fields, i) for i in measured] for line, fields in sheet.lines]
    finite = [value for row in numbers for value in row if math.isfinite(value)]
    per_cent = any(value > PER_CENT_ABOVE for value in finite)
    metric = _metric(sheet)
    chances = _chances(sheet, metric)
    values = [
        [_share(sheet, *place, i, value, chance, metric, per_cent=per_cent) for i, value in zip(measured, row, strict=True)]
        for place, row, chance in zip(sheet.lines, numbers, chances, strict=True)
    ]
    rows = _rows(sheet, values)
    absent = sum(math.isnan(value) for row in values for value in row)
    diverged = sum(map(len, numbers)) - absent - len(finite)
    return RunTable(
        name=str(path),
        rows=tuple(rows),
        metric=metric,
        chance=chances[0] if "chance" in sheet.header and len(set(chances)) == 1 else None,
        notes=tuple(_notes(sheet, rows, diverged, per_cent=per_cent)),
    )


def _metric(sheet: Sheet) -> str:
    """Return what the table measures, nothing where it does not tell."""
    if _is_own(sheet) and "metric" in sheet.header:
        return ", ".join(dict.fromkeys(found for found in sheet.texts("metric") if found))
    return next((name for name in ("r2", "accuracy") if name in sheet.header), "")


def _chances(sheet: Sheet, metric: str) -> list[float]:
    """Return what the best constant answer scores, [row]."""
    assumed = 0.0 if metric == "r2" else CHANCE
    if not _is_own(sheet) or "chance" not in sheet.header:
        return [assumed] * len(sheet.lines)
    found = [sheet.number(line, fields, sheet.header.index("chance")) for line, fields in sheet.lines]
    known = [value for value in found if math.isfinite(value)]
    return [value if math.isfinite(value) else (known or [assumed])[0] for value in found]  # a row that is not trained has none


def _share(
    sheet: Sheet, line: int, fields: Sequence[str], column: int, value: float, chance: float, metric: str, *, per_cent: bool
) -> float:
    """Return a run's metric as a share within bounds, NaN for a run that is not there."""
    if not fields[column].strip():
        return math.nan
    found = value / 100 if per_cent else value
    if math.isfinite(found) and (found > LARGEST or (found < 0 and metric == "accuracy")):
        where = f"{sheet.path}:{line}: {sheet.header[column]}"
        raise TraceError(
            f"{where}: expected a share (0.97), or in a table of per cents one (97), got '{fields[column].strip()}'"
        )
    return bounded([found], chance)[0]


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


def _notes(sheet: Sheet, rows: Sequence[RunRow], diverged: int, *, per_cent: bool) -> Iterator[str]:
    if per_cent:
        yield "its values are per cent"
    repeated = [row for row in rows if len(row.values) < row.named]
    if repeated:
        named, most = max(row.named for row in rows), max(len(row.values) for row in rows)
        least = min(len(row.values) for row in rows)
        distinct = f"{least} to {most}" if least < most else str(most)
        yield f"of its {named} runs {distinct} are distinct, the others repeat them and are left out"
    missing = sum(int(text or 0) for text in sheet.texts("missing")) if _is_own(sheet) else 0
    yield from notes_of(missing, diverged)
