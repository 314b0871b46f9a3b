"""A sweep for TensorBoard: one HParams session per cell, with its mean metric and the share of its seeds that collapsed."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from gradscope.renderers.tensorboard_file import EventFile, scalar_summary
from gradscope.renderers.tensorboard_panels import Hyperparameter, experiment_summary, session_summaries
from gradscope.renderers.tensorboard_scalars import metric_tag
from gradscope.sweep_report import CellRow, SweepResult

FOLDER = "tensorboard"
COLLAPSED = "result/collapsed_frac"
EVENT_FILES = "events.out.tfevents.*"


def write_sweep_run(result: SweepResult, folder: Path) -> None:
    """Write the table into `folder`, one sub-folder per cell, in place of what an earlier call wrote there.

    A session's hyperparameters are the cell's factors; cells that are not trained have none. `WriteError` where the folder
    cannot be written.
    """
    _remove(folder)
    metrics = {metric_tag(name): f"mean {name}" for name in result.metric.split(", ") if name}
    factors = _factors(result.rows)
    values = {name: [row[name] for row in factors if name in row] for name in result.factor_names}
    columns = experiment_summary(result.factor_names, metrics | {COLLAPSED: "collapsed"}, values)
    EventFile(folder).append([(0, columns)])
    width = len(str(len(result.rows) - 1))
    for i, row in enumerate(result.rows):
        if row.seeds:
            name = f"cell-{i:0{width}d}"
            summaries = [*session_summaries(name, factors[i]), scalar_summary(_scalars(row))]
            EventFile(folder / name).append((0, summary) for summary in summaries)


def _factors(rows: Sequence[CellRow]) -> list[dict[str, Hyperparameter]]:
    """Return the factors of each row, as a number where it is one in every row."""
    texts = {name for row in rows for name, value in row.factors.items() if not _is_number(value)}
    return [{name: value if name in texts else float(value) for name, value in row.factors.items()} for row in rows]


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _scalars(row: CellRow) -> Iterable[tuple[str, float]]:
    """Yield the cell's numbers."""
    yield metric_tag(row.metric), row.mean
    yield COLLAPSED, row.collapsed_frac


def _remove(folder: Path) -> None:
    """Remove what an earlier call wrote: TensorBoard would show both."""
    for file in [*folder.glob(EVENT_FILES), *folder.glob(f"cell-*/{EVENT_FILES}")]:
        with contextlib.suppress(OSError):
            file.unlink()
    for of_cell in folder.glob("cell-*"):  # of a larger grid; whatever else lies in one keeps it
        with contextlib.suppress(OSError):
            of_cell.rmdir()
