"""A sweep's means as Markdown tables, for pull requests and notebooks."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gradscope.renderers.markdown import plain
from gradscope.renderers.sweep_layout import HeatMap, Panel, heat_map
from gradscope.renderers.wording import counted
from gradscope.sweep_report import CellRow, SweepResult

MOST_ROWS = 100  # of a table; the rest is counted


def sweep_markdown(result: SweepResult) -> str:
    """Return a sweep's heat maps as Markdown."""
    return "\n\n".join(_blocks(result)) + "\n"


def _blocks(result: SweepResult) -> Iterator[str]:
    found = heat_map(result)
    collapsed = sum(len(row.collapsed) for row in result.rows)
    trained = sum(len(row.seeds) for row in result.rows)
    yield f"# {plain(result.recipe)}"
    unfinished = f"; {counted(result.unfinished, 'network')} not trained yet" if result.unfinished else ""
    yield f"{counted(len(result.rows), 'cell')}, {counted(trained, 'network')}, of which {collapsed} collapsed{unfinished}."
    across = f", {found.column_title} across" if found.column_title else ""
    what = f"Mean {result.metric} on the test samples in per cent"
    yield plain(f"{what}, {found.row_title} down{across}; * marks seeds that collapsed.")
    for panel in found.panels:
        if panel.title:
            yield f"## {plain(panel.title)}"
        yield _panel(panel, found)


def _panel(panel: Panel, found: HeatMap) -> str:
    columns = range(len(found.columns))
    rows = [
        [name, *(_mean(panel.cells.get((i, j))) for j in columns)]
        for i, name in enumerate(found.rows)
        if any((i, j) in panel.cells for j in columns)
    ]
    titles = [found.row_title, *found.columns]
    lines = [titles, ["---"] * len(titles), *rows[:MOST_ROWS]]
    text = "\n".join(f"| {' | '.join(map(_cell_text, line))} |" for line in lines)
    more = len(rows) - MOST_ROWS
    return f"{text}\n\n{counted(more, 'further row')} in results.csv." if more > 0 else text


def _cell_text(text: str) -> str:
    return text if text == "---" else plain(text)


def _mean(cell: CellRow | None) -> str:
    if cell is None or not cell.seeds or not math.isfinite(cell.mean):
        return ""
    return f"{100 * cell.mean:.1f}{'*' if cell.collapsed else ''}"
