"""A run or a sweep as one HTML file: what the tab in TensorBoard shows, without a server."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from gradscope.renderers.html_data import run_payload
from gradscope.renderers.html_page import html_page
from gradscope.renderers.html_summary import html_summary
from gradscope.renderers.view_document import SCHEMA
from gradscope.renderers.view_report import described_report
from gradscope.renderers.view_sweep import sweep_document, sweep_entry
from gradscope.report import Report
from gradscope.sweep_report import CellRow, SweepResult
from gradscope.trace import Trace

FILE_NAME = "report.html"
TRACES = "trace"
SWEEP = "sweep"
MOST_ROWS = 400  # of the table for where scripts may not run


def html_of_run(report: Report, traces: Sequence[Trace]) -> str:
    """Return the page of a run; without traces it has the diagnosis, but no map."""
    payload = run_payload(described_report(report), report.recipe, traces)
    return html_page(f"{report.recipe}: {report.verdict}", report.gradscope, html_summary(report), payload)


def html_of_sweep(result: SweepResult) -> str:
    """Return the page of a sweep."""
    payload = {
        "schema": SCHEMA,
        "runs": [sweep_entry(result, SWEEP)],
        "documents": {SWEEP: sweep_document(result, SWEEP)},
        "arrays": {},
        "left_out": "",
    }
    return html_page(f"{result.recipe}: sweep", result.gradscope, _table(result), payload)


def traces_in(folder: Path) -> list[Trace]:
    """Return the traces of a run's folder.

    Raises:
        TraceError: one of them cannot be read.
    """
    return [Trace.load(path) for path in sorted((folder / TRACES).glob("*.npz"))]


def _table(result: SweepResult) -> str:
    """Return the cells as a table in HTML."""
    titles = [*result.factor_names, result.metric, "collapsed"]
    rows = [_row(row, result) for row in result.rows[:MOST_ROWS]]
    lines = ["<tr>" + "".join(f"<td>{escape(text)}</td>" for text in cells) + "</tr>" for cells in (titles, *rows)]
    more = len(result.rows) - MOST_ROWS
    rest = f"<p>{more} further cells are in results.json.</p>\n" if more > 0 else ""
    return f"<h1>{escape(result.recipe)}</h1>\n<table>\n" + "\n".join(lines) + f"\n</table>\n{rest}"


def _row(row: CellRow, result: SweepResult) -> list[str]:
    factors = [row.factors.get(name, "") for name in result.factor_names]
    return [*factors, f"{row.mean:.4f}" if row.seeds else "", f"{len(row.collapsed)}/{len(row.seeds)}"]
