"""A comparison for someone at a terminal: how many rows agree first, then those that do not, largest difference first."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gradscope.cell_factors import cell_text, layers_of, others_of, stack_text
from gradscope.comparison import ComparedRow, Comparison, Side
from gradscope.comparison import Table as WholeTable
from gradscope.renderers.console_page import Page
from gradscope.renderers.wording import counted, listed

INDENT = 2
LABEL = 6  # columns of the longest label
MOST_NAMED = 6
INTERVAL = "95 %: interval of A - B; it leaves room for runs that collapse, of which so few may have shown none"


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
        console.print(Padding(row_table(rows, found, page), (0, 0, 0, INDENT)))
    if any(row.interval for row in rows):
        console.print(Padding(page.text(INTERVAL, "dim"), (0, 0, 0, INDENT)))


def _head(found: Comparison) -> Iterator[tuple[str, str, str]]:
    of = len(found.rows)
    yield "AGREE", "bold green" if found.agree == of else "bold", f"{found.agree} of {counted(of, 'row')}, {_rule(found)}"
    for label, table in (("A", found.a), ("B", found.b)):
        yield label, "bold", "; ".join([f"{table.name}: {counted(table.rows, 'row')}{_unmatched(table)}", *table.notes])
    if found.single_runs:
        of_them = "all" if found.single_runs == of else f"{found.single_runs}"
        yield "NOTE", "yellow", f"{of_them} rows have a single run on a side: no standard error, only the points count there"
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


def row_table(rows: Sequence[ComparedRow], found: Comparison, page: Page) -> Table:
    """Return the rows as a table: factors, both means in per cent, difference, standard error, interval, collapsed runs."""
    names = list(dict.fromkeys(name for row in rows for name in others_of(row.factors)))
    has_stack = any(layers_of(row.factors) for row in rows)
    with_interval = any(row.interval for row in rows)
    with_collapse = any(side.collapsed is not None for row in rows for side in (row.a, row.b))
    titles = [*(["activations"] if has_stack else []), *names, "A", "B", "A - B", "s.e."]
    titles += [*(["95 %"] if with_interval else []), *(["coll. A", "B"] if with_collapse else []), ""]
    table = Table.grid(padding=(0, 1, 0, 0))
    for i in range(len(titles)):
        is_text = i < len(names) + has_stack
        table.add_column(justify="left" if is_text else "right", no_wrap=not is_text, overflow="fold")
    table.add_row(*(Text(title, "dim") for title in titles))
    for row in rows:
        cells = [
            *([stack_text(layers_of(row.factors))] if has_stack else []),
            *(row.factors.get(name, "") for name in names),
            *_numbers(row),
            *([_interval(row)] if with_interval else []),
            *([_collapsed(row.a), _collapsed(row.b)] if with_collapse else []),
            "" if row.agrees else "differs",
        ]
        table.add_row(*(page.text(cell, "" if row.agrees else "bold red") for cell in cells))
    return table


def _numbers(row: ComparedRow) -> list[str]:
    return [_points(row.a.mean), _points(row.b.mean), _points(row.difference, sign=True), _points(row.std_err)]


def _points(value: float | None, *, sign: bool = False) -> str:
    return "" if value is None else f"{100 * value:{'+' if sign else ''}.2f}"


def _interval(row: ComparedRow) -> str:
    return "" if row.interval is None else "[{:+.0f}, {:+.0f}]".format(*(100 * end for end in row.interval))


def _collapsed(side: Side) -> str:
    return "" if side.collapsed is None else f"{side.collapsed}/{side.runs}"
