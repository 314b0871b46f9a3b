"""What a comparison of two tables of runs came to, as data: the content of `gradscope compare --format json`."""

from __future__ import annotations

import math

from pydantic import Field

from gradscope.report import Number
from gradscope.saved_data import SavedPart

SCHEMA = 1


class Side(SavedPart):
    """One row of one table: mean over its distinct runs."""

    mean: Number
    runs: int
    std_err: float | None
    collapsed: int | None
    """Runs that collapsed; null where nobody looked."""


class ComparedRow(SavedPart):
    """One row that both tables have. `difference` is a minus b; `tolerance` is what it may be."""

    factors: dict[str, str]
    a: Side
    b: Side
    difference: Number
    std_err: float | None
    """Of the difference. A single run is taken to spread as the other side's, of which there are three at least; else null."""
    interval: tuple[Number, Number] | None
    """Of the difference, 95 %; null under three runs of either side."""
    tolerance: Number
    agrees: bool


class Chance(SavedPart):
    """The rows whose mean is at chance (no better than the best constant answer)."""

    chance: float
    """Of table a."""
    chance_b: float
    assumed: bool
    """Neither table tells what chance is."""
    a: int
    b: int
    differ: list[dict[str, str]]
    """Rows that are at chance in one of them only."""


class Table(SavedPart):
    """One of the two tables as a whole."""

    name: str
    rows: int
    unmatched: int
    """Rows that the other does not have, or that have no finished run here or there."""
    notes: list[str]


class Comparison(SavedPart):
    """The whole comparison; rows in the order of table a."""

    schema_: int = Field(default=SCHEMA, alias="schema")
    metric: str
    a: Table
    b: Table
    standard_errors: float
    points: float
    rows: list[ComparedRow]
    agree: int
    single_runs: int
    """Rows without a standard error, since one side is a single run and the other has less than three."""
    borrowed: int
    """Rows of which one side is a single run, taken to spread as the other's."""
    mean_abs_difference: Number
    """Over the rows that are at chance in neither."""
    apart: str
    """In plain words by what it is seen that the tables are of different data; empty where nothing tells."""
    at_chance: Chance

    @property
    def different(self) -> list[ComparedRow]:
        """The rows that do not agree, largest difference first."""
        return sorted((row for row in self.rows if not row.agrees), key=lambda row: -_size(row.difference))

    @property
    def factor_names(self) -> list[str]:
        """The factors by which rows were matched, in the order of the columns."""
        return list(dict.fromkeys(name for row in self.rows for name in row.factors))


def _size(difference: float) -> float:
    return math.inf if math.isnan(difference) else abs(difference)
