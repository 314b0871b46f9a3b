"""A sweep for someone at a terminal: what was trained, the best and the worst cells, where the rest is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gradscope.cell_factors import layers_of, others_of, stack_text
from gradscope.renderers.console_page import Page, fits
from gradscope.renderers.sweep_factors import factor_blocks, mixing_blocks
from gradscope.renderers.sweep_heat import heat_table
from gradscope.renderers.wording import counted, fixed, longest_word, number
from gradscope.sweep_report import CellRow, SweepResult

INDENT = 2
MOST_ROWS = 24  # a table that fits a screen with what stands around it; of more rows only both ends are shown
AT_EACH_END = 10
LEAST_FINDING = 15  # columns for the name of what was found; on a page that is too narrow for it the interval goes


def print_sweep(result: SweepResult, *, console: Console, folder: Path | None = None) -> None:
    """Print the result on `console`, in what its encoding can show; `folder` is where the files are."""
    page = Page.of(console, INDENT)
    for line in _head(result, page):
        console.print(line)
    for title, blocks in _sections(result, page):
        console.print()
        console.print(page.text(title, "bold underline"))
        for block in blocks:
            console.print(Padding(block, (0, 0, 0, INDENT)))
    if folder is not None:
        console.print()
        console.print(page.text(f"All {counted(len(result.rows), 'cell')}: {folder / 'results.csv'}"), soft_wrap=True)


def ranked(rows: Sequence[CellRow]) -> list[CellRow]:
    """Return the rows with trained seeds, best mean first; a mean that is not finite stands last, equals in grid order."""
    trained = [row for row in rows if row.seeds]
    return sorted(trained, key=lambda row: -row.mean if math.isfinite(row.mean) else math.inf)


def _head(result: SweepResult, page: Page) -> Iterator[RenderableType]:
    trained = [row for row in result.rows if row.seeds]
    networks = sum(len(row.seeds) for row in trained)
    text = f"{result.recipe}: {counted(len(result.rows), 'cell')}, {counted(networks, 'network')} trained"
    yield page.labelled("SWEEP", "bold", page.text(text, "bold"))
    if result.unfinished:
        missing = f"{result.unfinished} of {networks + result.unfinished} networks are missing; the same command goes on"
        yield page.labelled("UNFINISHED", "bold yellow", page.text(missing))
    sick = [row for row in trained if row.collapsed]
    if sick:
        all_of_them = sum(1 for row in sick if len(row.collapsed) == len(row.seeds))
        text = f"{counted(len(sick), 'cell')} in at least one seed, {all_of_them} in every seed"
        yield page.labelled("COLLAPSED", "bold red", page.text(text))


def _sections(result: SweepResult, page: Page) -> Iterator[tuple[str, Iterable[RenderableType]]]:
    rows = ranked(result.rows)
    if not rows:
        return
    what = f"{result.metric} on the test samples"
    if len(rows) <= MOST_ROWS:
        yield f"CELLS, {what}, best first", [cell_table(rows, result, page), *_legend(rows, page)]
    else:
        yield f"BEST {AT_EACH_END} of {counted(len(rows), 'cell')}, {what}", [cell_table(rows[:AT_EACH_END], result, page)]
        worst = rows[-AT_EACH_END:]
        yield f"WORST {AT_EACH_END}", [cell_table(worst, result, page), *_legend([*rows[:AT_EACH_END], *worst], page)]
    heat = heat_table(result, page)
    if heat is not None:
        yield heat[0], [heat[1]]
    if result.factors is not None:
        basis = f"over {counted(result.factors.cells, 'cell')} and {counted(result.factors.runs, 'network')}"
        yield f"FACTORS, share of the variance of the {result.metric} {basis}", factor_blocks(result.factors, page)
    if result.mixing is not None:
        yield "DOES MIXING ACTIVATIONS HELP?", mixing_blocks(result.mixing, page)


def cell_table(rows: Sequence[CellRow], result: SweepResult, page: Page) -> Table:
    """Return the table of some cells: what they are, mean, deviation, interval, seeds that collapsed, what was found."""
    names = [name for name in result.factor_names if name in others_of(rows[0].factors) and _varies(name, result)]
    has_stack = any(layers_of(row.factors) for row in rows)
    cells = [_cells(row, names, has_stack=has_stack) for row in rows]
    titles = [*(["activations"] if has_stack else []), *names, "mean", "std", f"{100 * result.confidence:g} %", "coll."]
    widths = [max(len(line[i]) for line in [titles, *cells]) for i in range(len(titles))]
    with_interval = sum(widths) + len(widths) + LEAST_FINDING <= page.width and any(row.interval for row in rows)
    table = Table.grid(padding=(0, 1, 0, 0))
    shown = [i for i, title in enumerate(titles) if with_interval or "%" not in title]
    has_room = fits([*(widths[i] for i in shown), LEAST_FINDING], page)
    for i in shown:
        is_text = i < len(names) + has_stack
        least = longest_word(line[i] for line in [titles, *cells]) if has_room else None
        table.add_column(justify="left" if is_text else "right", no_wrap=not is_text, overflow="fold", min_width=least)
    table.add_column(overflow="fold")
    table.add_row(*(Text(titles[i], "dim") for i in shown), Text("found", "dim"))
    for row, line in zip(rows, cells, strict=True):
        table.add_row(*(page.text(line[i], _style(row)) for i in shown), page.text(_found(row), _style(row)))
    return table


def _legend(rows: Sequence[CellRow], page: Page) -> Iterator[RenderableType]:
    """Yield what the short titles mean, as far as there is something under them."""
    said = ["coll. 1/3: 1 of 3 trained seeds collapsed"]
    if any(_found(row) for row in rows):
        said.append("found: the worst error, its seeds where it is not in all (1/3), its first step, and how many more (+2)")
    if not any(row.interval for row in rows):
        said.append("an interval of the mean takes three seeds")
    yield page.text("; ".join(said), "dim")


def _varies(name: str, result: SweepResult) -> bool:
    return len({row.factors.get(name, "") for row in result.rows}) > 1


def _cells(row: CellRow, names: Sequence[str], *, has_stack: bool) -> list[str]:
    stack = [stack_text(layers_of(row.factors))] if has_stack else []
    interval = "" if row.interval is None else "-".join(fixed(end, 2) for end in row.interval)
    std = fixed(row.std, 4) if math.isfinite(row.std) else ""
    collapsed = f"{len(row.collapsed)}/{len(row.seeds)}"
    return [*stack, *(row.factors.get(name, "") for name in names), fixed(row.mean, 4), std, interval, collapsed]


def _style(row: CellRow) -> str:
    """Return red for a cell that collapsed in at least half of its seeds, yellow for one with any error finding."""
    if 2 * len(row.collapsed) >= len(row.seeds) > 0:
        return "red"
    return "yellow" if any(finding.severity == "error" for finding in row.findings) else ""


def _found(row: CellRow) -> str:
    """Return the worst finding with its seeds, the step from which on it stands, and how many more there are."""
    errors = [finding for finding in row.findings if finding.severity == "error"]
    if not errors:
        return ""
    place = f" at {errors[0].site}" if errors[0].site else ""
    more = f" +{len(errors) - 1}" if len(errors) > 1 else ""
    seeds = "" if len(errors[0].seeds) == len(row.seeds) else f" {len(errors[0].seeds)}/{len(row.seeds)}"
    return f"{errors[0].rule}{place}{seeds}, step {number(errors[0].first_step)}{more}"
