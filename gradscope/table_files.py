"""Where a table of runs is read from: a sweep's folder, one of its files, or a table that somebody published."""

from __future__ import annotations

from pathlib import Path

from gradscope.errors import TraceError
from gradscope.run_table import RunTable, of_result
from gradscope.run_table_csv import read_csv
from gradscope.sweep_report import FILE_NAME, load_result
from gradscope.sweep_tables import EPOCHS_FILE
from gradscope.weight_tables import is_weight_table, read_weights


def read_tables(a: Path, b: Path) -> tuple[RunTable, RunTable]:
    """Read the two tables of a comparison, of what both have.

    That is the metric; but where one is a published table of the share of weights <= 0, the other's shares are read.

    Raises:
        TraceError: one of them is not there, damaged, or has nothing of the kind.
    """
    if not is_weight_table(a) and not is_weight_table(b):
        return read_table(a), read_table(b)
    first, second = (read_weights(path / EPOCHS_FILE if path.is_dir() else path) for path in (a, b))
    return first, second


def read_table(path: Path) -> RunTable:
    """Read the runs of a sweep's folder, of its results.json or results.csv, or of a published CSV.

    Raises:
        TraceError: there is nothing of the kind, or it is damaged.
    """
    if path.is_dir():
        if not (path / FILE_NAME).exists():
            raise TraceError(
                f"{path}: expected a sweep's folder with {FILE_NAME}, found none; `gradscope sweep RECIPE` makes one"
            )
        return of_result(load_result(path), str(path))
    if path.suffix == ".json":
        return of_result(load_result(path), str(path))
    if not path.exists():
        raise TraceError(f"{path}: expected a sweep's folder or a table as CSV, found nothing there")
    return read_csv(path)
