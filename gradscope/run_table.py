"""A table of runs to be compared with another: a sweep's, or one that somebody published. Metrics are shares (0.97)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from gradscope.errors import TraceError
from gradscope.interval import bounded
from gradscope.sweep_report import CellRow, SweepResult

ABOVE_CHANCE = 0.0005
"""What is no more than this above the best constant answer is at chance: half of a published table's last digit, 0.1 %."""


@dataclass(frozen=True)
class RunRow:
    """One row: its factors, and one value for each distinct run; a run without a finite metric has that of chance."""

    factors: Mapping[str, str]
    values: tuple[float, ...]
    named: int
    """Runs that the table names; more than values where some are repetitions."""
    collapsed: int | None = None
    """Runs that collapsed; None where nobody looked."""

    @property
    def mean(self) -> float:
        """Mean over the distinct runs; NaN without any, or where one is NaN."""
        return math.fsum(self.values) / len(self.values) if self.values else math.nan

    @property
    def std_err(self) -> float | None:
        """Standard error of the mean (sample deviation over the root of n); None for a single run."""
        n = len(self.values)
        if n < 2:
            return None
        return math.sqrt(math.fsum((value - self.mean) ** 2 for value in self.values) / (n - 1) / n)


@dataclass(frozen=True)
class RunTable:
    """All rows, where they came from, and what a reader must know about them."""

    name: str
    rows: tuple[RunRow, ...]
    metric: str = ""
    """accuracy | r2; empty where the table does not tell."""
    chance: float | None = None
    """What the best constant answer scores, where the table knows."""
    test_samples: int | None = None
    """How many samples the metric is taken over, where the table knows."""
    notes: tuple[str, ...] = ()

    def where(self, wanted: Mapping[str, str], option: str) -> RunTable:
        """Return the table with the rows only that have the `wanted` factors, and without those factors.

        Raises:
            TraceError: there is no such factor, or no such row; the line names `option`.
        """
        rows = self.rows
        for name, value in wanted.items():
            known = list(dict.fromkeys(row.factors[name] for row in self.rows if name in row.factors))
            if not known:
                factors = ", ".join(factors_of(self.rows)) or "none"
                raise TraceError(f"{self.name}: {option} {name}={value}: expected one of its factors ({factors}), got '{name}'")
            rows = tuple(row for row in rows if canonical(row.factors.get(name, "")) == canonical(value))
            if not rows:
                raise TraceError(
                    f"{self.name}: {option} {name}={value}: expected one of its values ({', '.join(known[:8])}), got '{value}'"
                )
        kept = [{name: value for name, value in row.factors.items() if name not in wanted} for row in rows]
        return replace(self, rows=tuple(replace(row, factors=left) for row, left in zip(rows, kept, strict=True)))


def canonical(value: str) -> str:
    """Return a factor's value in one spelling: numbers that are equal are the same.

    >>> canonical("1e-2"), canonical("0.010"), canonical("relu")
    ('0.01', '0.01', 'relu')
    """
    try:
        return f"{float(value):.12g}"
    except ValueError:
        return value.strip()


def factors_of(rows: Sequence[RunRow]) -> list[str]:
    """Return the names of the factors, in the order of the columns."""
    return list(dict.fromkeys(name for row in rows for name in row.factors))


def of_result(result: SweepResult, name: str) -> RunTable:
    """Return the runs of a sweep; each seed is a run of its own, whatever it scores."""
    rows = tuple(_row(row) for row in result.rows)
    diverged = sum(not math.isfinite(value) for row in result.rows for value in row.values)
    chances = {row.chance for row in result.rows if row.seeds}
    tested = {row.test_samples for row in result.rows if row.seeds}
    return RunTable(
        name=name,
        rows=rows,
        metric=result.metric,
        chance=chances.pop() if len(chances) == 1 else None,
        test_samples=tested.pop() if len(tested) == 1 else None,
        notes=tuple(notes_of(result.unfinished, diverged)),
    )


def notes_of(missing: int, diverged: int) -> Iterator[str]:
    """Yield what a reader must know about runs that are not there, or came to nothing."""
    if missing:
        yield f"{missing} of its networks are not trained yet"
    if diverged:
        what = "run without a finite metric counts" if diverged == 1 else "runs without a finite metric count"
        yield f"{diverged} {what} as at chance"


def _row(row: CellRow) -> RunRow:
    values = tuple(bounded(row.values, row.chance))
    return RunRow(dict(row.factors), values, len(row.seeds), len(row.collapsed) if row.seeds else None)
