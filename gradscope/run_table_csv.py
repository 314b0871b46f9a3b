"""Tables of runs as CSV: a sweep's results.csv, or a published one in per cent or shares."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gradscope.distinct_runs import distinct_runs
from gradscope.errors import TraceError
from gradscope.run_table import ABOVE_CHANCE, RunRow, RunTable

PER_CENT_ABOVE = 1.5  # no share is above 1, and a table in per cent whose best run scores under 1.5 % is none of networks
CHANCE = 0.1  # of the published data sets, all of ten classes
LARGEST_BYTES = 100_000_000

RUN = re.compile(r"run[1-9]\d*")
MEASURED = re.compile(
    r"run\d+|mean|std|accuracy|r2|low|high|seeds?|missing|distinct|collapsed|first_step|findings|(test|train)_loss.*"
)
"""Columns that are no factors in a table that somebody else wrote."""
OWN = ("seeds", "missing", "mean")
"""Columns by which a sweep's own results.csv is known; what stands before them are its factors."""


@dataclass(frozen=True)
class _Sheet:
    """A CSV file as it stands: its header, and each line's number and fields."""

    path: Path
    header: list[str]
    lines: list[tuple[int, list[str]]]

    @property
    def is_own(self) -> bool:
        return all(name in self.header for name in OWN)

    @property
    def factors(self) -> list[int]:
        """The columns that are factors."""
        if self.is_own:
            return list(range(self.header.index(OWN[0])))
        return [i for i, name in enumerate(self.header) if not MEASURED.fullmatch(name)]

    @property
    def measured(self) -> list[int]:
        """The columns with the metric: the runs, else the accuracy or mean."""
        runs = [i for i, name in enumerate(self.header) if RUN.fullmatch(name)]
        single = [self.header.index(name) for name in ("accuracy", "r2", "mean") if name in self.header]
        return runs or single[:1]


def read_csv(path: Path) -> RunTable:
    """Read a table of runs; lines that begin with # are left out.

    Runs that repeat others are left out of a table that is not a sweep's own. Values above 1.5 mean that all are per cent.

    Raises:
        TraceError: the file cannot be read, or has no metric, or something else than a number in it.
    """
    sheet = _sheet(path)
    if not sheet.measured:
        columns = ", ".join(sheet.header[:8])
        raise TraceError(f"{path}: expected a column run1, mean or accuracy, got {columns}; is it a table of runs?")
    numbers = [[_number(sheet, line, fields, i) for i in sheet.measured] for line, fields in sheet.lines]
    per_cent = any(value > PER_CENT_ABOVE for row in numbers for value in row)
    values = [[value / 100 if per_cent else value for value in row] for row in numbers]
    rows = _rows(sheet, values)
    return RunTable(
        name=str(path),
        rows=tuple(rows),
        metric="r2" if "r2" in sheet.header else "accuracy",
        notes=tuple(_notes(sheet, rows, per_cent=per_cent)),
    )


def _rows(sheet: _Sheet, values: Sequence[Sequence[float]]) -> list[RunRow]:
    if sheet.is_own:
        kept = [[i for i, value in enumerate(row) if not math.isnan(value)] for row in values]
    else:
        kept = distinct_runs(values, CHANCE + ABOVE_CHANCE)
    return [
        RunRow(
            {sheet.header[i]: fields[i] for i in sheet.factors if fields[i] != ""},
            tuple(row[i] for i in of_row),
            sum(not math.isnan(value) for value in row),
            _collapsed(sheet, fields),
        )
        for (_, fields), row, of_row in zip(sheet.lines, values, kept, strict=True)
    ]


def _collapsed(sheet: _Sheet, fields: Sequence[str]) -> int | None:
    """Return how many runs collapsed, from the share that a sweep's own table has."""
    if not sheet.is_own or "collapsed" not in sheet.header:
        return None
    share, seeds = (fields[sheet.header.index(name)] for name in ("collapsed", "seeds"))
    try:
        return round(float(share) * int(seeds))
    except ValueError:
        return None


def _notes(sheet: _Sheet, rows: Sequence[RunRow], *, per_cent: bool) -> Iterator[str]:
    if per_cent:
        yield "its values are per cent"
    repeated = [row for row in rows if len(row.values) < row.named]
    if repeated:
        named, most = max(row.named for row in rows), max(len(row.values) for row in rows)
        least = min(len(row.values) for row in rows)
        distinct = f"{least} to {most}" if least < most else str(most)
        yield f"of its {named} runs {distinct} are distinct, the others repeat them and are left out"
    if sheet.is_own:
        missing = sum(int(fields[sheet.header.index("missing")] or 0) for _, fields in sheet.lines)
        if missing:
            yield f"{missing} of its networks are not trained yet"


def _number(sheet: _Sheet, line: int, fields: Sequence[str], column: int) -> float:
    text = fields[column].strip()
    try:
        return float(text) if text else math.nan
    except ValueError as error:
        where = f"{sheet.path}:{line}: {sheet.header[column]}"
        raise TraceError(f"{where}: expected a number, got '{text[:40]}'") from error


def _sheet(path: Path) -> _Sheet:
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise TraceError(f"{path}: expected a table of at most 100 MB, got {path.stat().st_size / 1e6:.0f} MB")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TraceError(f"{path}: expected a table as CSV in UTF-8, got other bytes at {error.start}") from error
    numbered = [(i, line) for i, line in enumerate(text.splitlines(), start=1) if line.strip() and not line.startswith("#")]
    try:
        lines = [(i, next(csv.reader([line]))) for i, line in numbered]
    except csv.Error as error:
        raise TraceError(f"{path}: expected a table as CSV: {error}") from error
    if len(lines) < 2:
        raise TraceError(f"{path}: expected a table as CSV, a header and rows below it, got {len(lines)} lines")
    header = [name.strip() for name in lines[0][1]]
    for line, fields in lines[1:]:
        if len(fields) != len(header):
            raise TraceError(f"{path}:{line}: expected {len(header)} fields as in the header, got {len(fields)}")
    return _Sheet(path, header, lines[1:])
