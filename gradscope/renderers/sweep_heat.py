"""A sweep's heat map for a terminal: the means in per cent, one panel, where it is no larger than a screen."""

from __future__ import annotations

import math

from rich.table import Table
from rich.text import Text

from gradscope.renderers.console_page import Page
from gradscope.renderers.sweep_layout import HeatMap, heat_map
from gradscope.sweep_report import CellRow, SweepResult

MOST_ROWS = 32
LEAST_FILLED = 0.5  # share of the places that hold a cell: of a sample of a grid a list tells more


def heat_table(result: SweepResult, page: Page) -> tuple[str, Table] | None:
    """Return title and table of the heat map, or None where a list tells more or the page is too narrow."""
    found = heat_map(result)
    if not _fits(found, page):
        return None
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True, overflow="fold")
    for _ in found.columns:
        table.add_column(justify="right", no_wrap=True, overflow="fold")
    table.add_row("", *(page.text(name, "dim") for name in found.columns))
    cells = found.panels[0].cells
    for i, name in enumerate(found.rows):
        table.add_row(page.text(name), *(_mean(cells.get((i, j))) for j in range(len(found.columns))))
    return f"MEANS in per cent, {found.row_title} down, {found.column_title} across; * marks seeds that collapsed", table


def _fits(found: HeatMap, page: Page) -> bool:
    places = len(found.rows) * len(found.columns)
    width = max(map(len, found.rows)) + sum(1 + max(6, len(name)) for name in found.columns)
    if len(found.panels) != 1 or len(found.columns) < 2 or len(found.rows) < 2 or len(found.rows) > MOST_ROWS:
        return False
    return len(found.panels[0].cells) >= LEAST_FILLED * places and width <= page.width


def _mean(cell: CellRow | None) -> Text:
    """Return the mean, red where most seeds collapsed and yellow where some did; a star for those who see no colours."""
    if cell is None or not cell.seeds or not math.isfinite(cell.mean):
        return Text("-", "dim")
    style = "red" if 2 * len(cell.collapsed) >= len(cell.seeds) else "yellow"
    return Text(f"{100 * cell.mean:.1f}{'*' if cell.collapsed else ' '}", style if cell.collapsed else "")
