"""A table as CSV as it stands: header, numbered lines, numbers with the place where they are wrong."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gradscope.errors import TraceError

LARGEST_BYTES = 100_000_000


@dataclass(frozen=True)
class Sheet:
    """A CSV file: its header, and each line's number and fields, as many as the header has."""

    path: Path
    header: list[str]
    lines: list[tuple[int, list[str]]]

    def texts(self, name: str) -> list[str]:
        """Return the fields of a column, by its name."""
        column = self.header.index(name)
        return [fields[column].strip() for _, fields in self.lines]

    def number(self, line: int, fields: Sequence[str], column: int) -> float:
        """Return a field as a number, NaN where it is empty.

        Raises:
            TraceError: it is something else; the text names file, line and column.
        """
        text = fields[column].strip()
        try:
            return float(text) if text else math.nan
        except ValueError as error:
            where = f"{self.path}:{line}: {self.header[column]}"
            raise TraceError(f"{where}: expected a number, got '{text[:40]}'") from error


def read_sheet(path: Path) -> Sheet:
    """Read a CSV file; empty lines and those that begin with # are left out.

    Raises:
        TraceError: it cannot be read, is no text, or has lines of other lengths than its header.
    """
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise TraceError(f"{path}: expected a table of at most 100 MB, got {path.stat().st_size / 1e6:.0f} MB")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TraceError(f"{path}: expected a table as CSV in UTF-8, got other bytes at {error.start}") from error
    numbered = [(i, line) for i, line in enumerate(text.splitlines(), start=1) if line.strip() and not line.startswith("#")]
    try:
        lines = [(i, next(csv.reader([line]))) for i, line in numbered]
    except csv.Error as error:
        raise TraceError(f"{path}: expected a table as CSV: {error}") from error
    if len(lines) < 2:
        raise TraceError(f"{path}: expected a table as CSV, a header and rows below it, got {len(lines)} lines")
    header = [name.strip() for name in lines[0][1]]
    for line, fields in lines[1:]:
        if len(fields) != len(header):
            raise TraceError(f"{path}:{line}: expected {len(header)} fields as in the header, got {len(fields)}")
    return Sheet(path, header, lines[1:])
