"""A comparison for someone at a terminal: how many rows agree first, then those that do not, largest difference first."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gradscope.cell_factors import cell_text, layers_of, others_of, stack_text
from gradscope.comparison import ComparedRow, Comparison, Side
from gradscope.comparison import Table as WholeTable
from gradscope.renderers.console_page import Page, fits
from gradscope.renderers.wording import counted, listed, longest_word

INDENT = 2
LABEL = 6  # columns of the longest label
MOST_NAMED = 6
INTERVAL, COLLAPSED = "95 %", "coll. A, B"
LEFT_OUT_FIRST = (INTERVAL, COLLAPSED, "s.e.")
LEGENDS = {
    INTERVAL: "where A - B lies if runs of either that were not seen may collapse; of a few runs it is wide, and may hold 0 "
    "beside `differs`, which is said of the runs that were seen",
    COLLAPSED: "runs that collapsed, of those made, in A and in B",
}


class _Column(NamedTuple):
    """One column, of texts that may wrap between words or of numbers that may not."""

    title: str
    cells: Sequence[str]
    is_text: bool = False

    @property
    def least(self) -> int:
        """The width under which something is broken."""
        texts = [self.title, *self.cells]
        return longest_word(texts) if self.is_text else max(map(len, texts))


def print_comparison(found: Comparison, *, console: Console, only_different: bool = True) -> None:
    """Print the comparison on `console`: the sums, then the rows; `only_different` leaves out those that agree."""
    page = Page.of(console, INDENT)
    for label, style, text in _head(found):
        console.print(page.labelled(label.ljust(LABEL), style, page.text(text)))
    rows = found.different if only_different else found.rows
    if rows:
        title = "ROWS THAT DO NOT AGREE, largest difference first" if only_different else "ALL ROWS"
        console.print()
        console.print(page.text(f"{title}; {found.metric} in per cent, differences in points", "bold underline"))
        table, left = row_table(rows, page)
        console.print(Padding(table, (0, 0, 0, INDENT)))
        for title, text in _legends(rows, left):
            console.print(Padding(page.labelled(title, "dim", page.text(text, "dim")), (0, 0, 0, INDENT)))


def _legends(rows: Sequence[ComparedRow], left: Sequence[str]) -> Iterator[tuple[str, str]]:
    titles = [column.title for column in _columns(rows) if column.title not in left]
    yield from ((title, text) for title, text in LEGENDS.items() if title in titles)
    if left:
        yield "-", f"no room for {' and '.join(left)}; a wider page or --format csv has them"


def _head(found: Comparison) -> Iterator[tuple[str, str, str]]:
    of = len(found.rows)
    yield "AGREE", "bold green" if found.agree == of else "bold", f"{found.agree} of {counted(of, 'row')}, {_rule(found)}"
    for label, table in (("A", found.a), ("B", found.b)):
        yield label, "bold", "; ".join([f"{table.name}: {counted(table.rows, 'row')}{_unmatched(table)}", *table.notes])
    if found.single_runs:
        of_them = "all" if found.single_runs == of else f"{found.single_runs}"
        yield "NOTE", "yellow", f"{of_them} rows have a single run on a side: no standard error, only the points count there"
    if found.borrowed:
        of_them = "all" if found.borrowed == of else f"{found.borrowed}"
        yield "NOTE", "yellow", f"{of_them} rows have a single run on a side, which is taken to spread as the other side's runs"
    if found.apart:
        yield "NOTE", "yellow", f"{found.apart}: they are of different data, and differences of rows are those of the data too"
    yield "MEAN", "dim", _mean(found)
    if found.at_chance.chance or found.at_chance.chance_b:
        yield "CHANCE", "dim", _at_chance(found)


def _rule(found: Comparison) -> str:
    points = f"{found.points:g} {'point' if found.points == 1 else 'points'}"
    return f"within {found.standard_errors:g} standard errors of both together, or {points} if that is more"


def _unmatched(table: WholeTable) -> str:
    return f", {table.unmatched} of them without a finished one in the other" if table.unmatched else ""


def _mean(found: Comparison) -> str:
    if not found.rows:
        return "no row is finished in both"
    if math.isnan(found.mean_abs_difference):
        return "every row is at chance in one of them"
    over = "over the rows that are at chance in neither" if found.at_chance.a or found.at_chance.b else "over all rows"
    return f"absolute difference {100 * found.mean_abs_difference:.2f} points, {over}"


def _at_chance(found: Comparison) -> str:
    at = found.at_chance
    levels = [f"{100 * level:.4g} %{where}" for level, where in ((at.chance, " (A)"), (at.chance_b, " (B)"))]
    level = " or ".join(levels) if at.chance != at.chance_b else levels[0].removesuffix(" (A)")
    level += " (taken for ten classes)" if at.assumed else ""
    if not at.a and not at.b:
        return f"no row is at chance, {level}"
    same = "the same ones" if not at.differ else f"{len(at.differ)} in one of them only: "
    named = listed([f"({cell_text(factors)})" for factors in at.differ], MOST_NAMED)
    return f"rows at {level}: {at.a} in A, {at.b} in B, {same}{named if at.differ else ''}"


def row_table(rows: Sequence[ComparedRow], page: Page) -> tuple[Table, list[str]]:
    """Return the rows as a table, and the titles of the columns that a narrow page has no room for."""
    columns, left = _columns(rows), []
    for title in LEFT_OUT_FIRST:
        if not fits([column.least for column in columns], page) and any(column.title == title for column in columns):
            columns = [column for column in columns if column.title != title]
            left.append(title)
    table = Table.grid(padding=(0, 1, 0, 0))
    has_room = fits([column.least for column in columns], page)
    for column in columns:
        least = column.least if has_room else None
        is_text = column.is_text
        table.add_column(justify="left" if is_text else "right", no_wrap=not is_text, overflow="fold", min_width=least)
    table.add_row(*(Text(column.title, "dim") for column in columns))
    for i, row in enumerate(rows):
        table.add_row(*(page.text(column.cells[i], "" if row.agrees else "bold red") for column in columns))
    return table, left


def _columns(rows: Sequence[ComparedRow]) -> list[_Column]:
    """Return factors, both means in per cent, difference, standard error, interval, and collapsed runs where some are known."""
    names = list(dict.fromkeys(name for row in rows for name in others_of(row.factors)))
    stacks = [stack_text(layers_of(row.factors)) for row in rows]
    found = [_Column("activations", stacks, is_text=True)] if any(stacks) else []
    found += [_Column(name, [row.factors.get(name, "") for row in rows], is_text=True) for name in names]
    numbers = [_numbers(row) for row in rows]
    found += [_Column(title, [line[i] for line in numbers]) for i, title in enumerate(("A", "B", "A - B", "s.e."))]
    if any(row.interval for row in rows):
        found.append(_Column(INTERVAL, [_interval(row) for row in rows]))
    if any(side.collapsed is not None for row in rows for side in (row.a, row.b)):
        found.append(_Column(COLLAPSED, [f"{_collapsed(row.a)} {_collapsed(row.b)}" for row in rows]))
    return [*found, _Column("", ["" if row.agrees else "differs" for row in rows])]


def _numbers(row: ComparedRow) -> list[str]:
    return [_points(row.a.mean), _points(row.b.mean), _points(row.difference, sign=True), _points(row.std_err)]


def _points(value: float | None, *, sign: bool = False) -> str:
    return "" if value is None else f"{100 * value:{'+' if sign else ''}.2f}"


def _interval(row: ComparedRow) -> str:
    return "" if row.interval is None else "[{:+.0f}, {:+.0f}]".format(*(100 * end for end in row.interval))


def _collapsed(side: Side) -> str:
    return "" if side.collapsed is None else f"{side.collapsed}/{side.runs}"
