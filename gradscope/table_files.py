"""Where a table of runs is read from: a sweep's folder, one of its files, or a table that somebody published."""

from __future__ import annotations

from pathlib import Path

from gradscope.errors import TraceError
from gradscope.run_table import RunTable, of_result
from gradscope.run_table_csv import read_csv
from gradscope.sweep_report import FILE_NAME, load_result


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
