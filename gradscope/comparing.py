"""Two tables of runs, row by row: differences, their standard errors and intervals, how many rows agree."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gradscope.cell_factors import Layer, cell_text, is_activation, layers_of, others_of
from gradscope.comparison import Chance, ComparedRow, Comparison, Side, Table
from gradscope.errors import TraceError
from gradscope.interval import difference_interval
from gradscope.run_table import ABOVE_CHANCE, RunRow, RunTable, canonical, factors_of

STANDARD_ERRORS = 3.0
POINTS = 0.5
"""Of the metric, in per cent: what nobody would call a difference, however small the spread of the runs."""
FEWEST_TO_LEND = 3
"""Runs of a row whose spread stands in for that of a single run; of two it is a guess."""
CHANCES = {"accuracy": 0.1, "r2": 0.0}
"""Where neither table tells it: the published data sets are all of ten classes, and a constant answer has no R2."""

Key = tuple[tuple[Layer, ...], tuple[tuple[str, str], ...]]
"""What makes rows the same: the activations of each layer, in whatever order within it, and the other factors."""


@dataclass(frozen=True)
class Floor:
    """What the best constant answer scores in each table, and whether neither told."""

    a: float
    b: float
    assumed: bool


@dataclass(frozen=True)
class Agreement:
    """When two rows agree: |difference| <= the larger of so many standard errors of both together and so many points."""

    standard_errors: float = STANDARD_ERRORS
    points: float = POINTS

    def tolerance(self, std_err: float | None) -> float:
        """Return the largest difference, as a share, that agrees.

        >>> Agreement().tolerance(None), round(Agreement().tolerance(0.01), 3)
        (0.005, 0.03)
        """
        return max(self.points / 100, self.standard_errors * (std_err or 0.0))


def compare(a: RunTable, b: RunTable, agreement: Agreement = Agreement()) -> Comparison:
    """Return the comparison of the rows that both tables have, matched by the factors that both know.

    Raises:
        TraceError: they measure different things, share no factor or no row, or several rows of one are the same by the shared
            factors.
    """
    if a.metric and b.metric and a.metric != b.metric:
        raise TraceError(f"{b.name}: expected {a.metric}, which {a.name} has, got {b.metric}; they cannot be compared")
    shared = _shared(a, b)
    of_a, of_b = _by_key(a, b, shared, "--where-a"), _by_key(b, a, shared, "--where-b")
    pairs = [(row, of_b[key]) for key, row in of_a.items() if key in of_b]
    if not pairs:
        here, there = (cell_text(table.rows[0].factors) for table in (b, a))
        raise TraceError(
            f"{b.name}: expected rows that {a.name} has as well, by {', '.join(shared)}; found none: here is ({here}), "
            f"there is ({there})"
        )
    finished = [pair for pair in pairs if all(row.values for row in pair)]
    metric = a.metric or b.metric or "accuracy"
    floor = _floor(a, b, metric)
    rows = [_compared(*pair, shared, floor, agreement) for pair in finished]
    return _comparison(a, b, rows, metric, floor, agreement)


def _comparison(
    a: RunTable, b: RunTable, rows: list[ComparedRow], metric: str, floor: Floor, agreement: Agreement
) -> Comparison:
    at = [(row.a.mean <= floor.a + ABOVE_CHANCE, row.b.mean <= floor.b + ABOVE_CHANCE) for row in rows]
    live = [abs(row.difference) for row, ends in zip(rows, at, strict=True) if not any(ends)]
    return Comparison(
        metric=metric,
        a=Table(name=a.name, rows=len(a.rows), unmatched=len(a.rows) - len(rows), notes=list(a.notes)),
        b=Table(name=b.name, rows=len(b.rows), unmatched=len(b.rows) - len(rows), notes=list(b.notes)),
        standard_errors=agreement.standard_errors,
        points=agreement.points,
        rows=rows,
        agree=sum(row.agrees for row in rows),
        single_runs=sum(row.std_err is None for row in rows),
        borrowed=sum(row.std_err is not None and min(row.a.runs, row.b.runs) == 1 for row in rows),
        mean_abs_difference=math.fsum(live) / len(live) if live else math.nan,
        apart=_apart(a, b),
        at_chance=Chance(
            chance=floor.a,
            chance_b=floor.b,
            assumed=floor.assumed,
            a=sum(ends[0] for ends in at),
            b=sum(ends[1] for ends in at),
            differ=[row.factors for row, ends in zip(rows, at, strict=True) if ends[0] != ends[1]],
        ),
    )


def _floor(a: RunTable, b: RunTable, metric: str) -> Floor:
    """Return what a constant answer scores in each; a table that does not tell has that of the other."""
    known = [table.chance for table in (a, b) if table.chance is not None]
    level = known[0] if known else CHANCES.get(metric, 0.0)
    of_a, of_b = (level if table.chance is None else table.chance for table in (a, b))
    return Floor(of_a, of_b, assumed=not known)


def _apart(a: RunTable, b: RunTable) -> str:
    """Return by what it is seen that the tables are of different samples; nothing where nothing tells."""
    if a.test_samples and b.test_samples and a.test_samples != b.test_samples:
        return f"A is tested on {a.test_samples} samples, B on {b.test_samples}"
    if a.chance is not None and b.chance is not None and abs(a.chance - b.chance) > ABOVE_CHANCE:
        return f"chance is {100 * a.chance:.4g} % in A, {100 * b.chance:.4g} % in B"
    return ""


def _compared(a: RunRow, b: RunRow, shared: Sequence[str], floor: Floor, agreement: Agreement) -> ComparedRow:
    difference = a.mean - b.mean
    both = _std_err(a, b)
    tolerance = agreement.tolerance(both)
    return ComparedRow(
        factors=_only(a.factors, shared),
        a=_side(a),
        b=_side(b),
        difference=difference,
        std_err=both,
        interval=difference_interval(a.values, b.values, floor=min(floor.a, floor.b)),
        tolerance=tolerance,
        agrees=abs(difference) <= tolerance + 1e-12,  # 0.005 is not quite 0.5 / 100
    )


def _std_err(a: RunRow, b: RunRow) -> float | None:
    """Return the standard error of the difference of two means; see `ComparedRow.std_err`."""
    if a.std_err is not None and b.std_err is not None:
        return math.hypot(a.std_err, b.std_err)
    several = a if a.std_err is not None else b
    runs = len(several.values)
    if several.std_err is None or runs < FEWEST_TO_LEND:
        return None
    return several.std_err * math.sqrt(runs + 1)  # the deviation, for the single run; with the standard error of the others


def _side(row: RunRow) -> Side:
    return Side(mean=row.mean, runs=len(row.values), std_err=row.std_err, collapsed=row.collapsed)


def _shared(a: RunTable, b: RunTable) -> list[str]:
    """Return the factors by which rows are matched; of activations all of either, since layers are matched as a whole."""
    of_a, of_b = factors_of(a.rows), factors_of(b.rows)
    both_have_stacks = any(map(is_activation, of_a)) and any(map(is_activation, of_b))
    found = [name for name in of_a if name in of_b or (both_have_stacks and is_activation(name))]
    if not found:
        raise TraceError(
            f"{b.name}: expected a factor of {a.name} ({', '.join(of_a) or 'none'}), got {', '.join(of_b) or 'none'}"
        )
    return found


def _only(factors: Mapping[str, str], shared: Sequence[str]) -> dict[str, str]:
    return {name: value for name, value in factors.items() if name in shared}


def _by_key(table: RunTable, other: RunTable, shared: Sequence[str], option: str) -> dict[Key, RunRow]:
    stacks, others = any(map(is_activation, shared)), [name for name in shared if not is_activation(name)]
    found: dict[Key, RunRow] = {}
    for row in table.rows:
        rest = others_of(row.factors)
        layers = layers_of(row.factors) if stacks else ()
        key = (layers, tuple((name, canonical(rest.get(name, ""))) for name in others))
        if key in found:
            raise TraceError(_ambiguous(table, other, found[key], row, option))
        found[key] = row
    return found


def _ambiguous(table: RunTable, other: RunTable, one: RunRow, another: RunRow, option: str) -> str:
    differ = [name for name, value in one.factors.items() if another.factors.get(name, "") != value]
    hint = f"; choose one, such as {option} {differ[0]}={one.factors[differ[0]]}" if differ else ""
    same = ", ".join(f"{name} {value}" for name, value in one.factors.items() if name not in differ)
    apart = f" that differ in {', '.join(differ)}, which {other.name} does not tell apart" if differ else ""
    return f"{table.name}: expected one row for {same or 'all'}, got several{apart}{hint}"
