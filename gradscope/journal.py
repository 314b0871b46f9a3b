"""The journal of a sweep: one line for each population that has finished, appended and never changed.

Before them stands a line that says under which conditions they were trained: gradscope's version, the device. Where a sweep
goes on under others, another such line stands between.

A line is written at once and forced to the disk before anything else happens, and carries a checksum. So whatever ends the
sweep, a kill or a full disk, costs at most the line that was being written; the same sweep started again reads what stands
there and trains the rest.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from pydantic import ValidationError

from gradscope.cell_run import CellRun
from gradscope.errors import TraceError, WriteError

try:
    import fcntl
except ImportError:  # Windows: there nothing keeps two sweeps from one folder
    fcntl = None  # type: ignore[assignment]

NAME, VERSION = "journal.jsonl", 1
START, MIDDLE, END = b'{"crc32":"', b'","entry":', b"}"
"""What stands around checksum and entry; the checksum is over the entry's bytes as they stand."""


@dataclass
class Found:
    """What stood in a journal."""

    heads: list[dict[str, Any]] = field(default_factory=list)
    """The conditions that its sweep was begun and gone on under, in order; see `Journal.begin`."""
    runs: dict[str, CellRun] = field(default_factory=dict)
    """By key; of networks that stand there twice, the first."""
    conditions: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """Those that each of the runs was trained under, by key."""
    seconds: dict[str, float] = field(default_factory=dict)
    """How long each of the runs took, by key: its part of its population's time."""
    damaged: tuple[int, ...] = ()
    """Numbers of the lines that cannot be read, from 1. Not among them: lines cut short, which is what a kill leaves."""


class Journal:
    """The open journal of a sweep's folder, locked against other sweeps until it is closed.

    Raises:
        TraceError: it is of a newer version, or no journal.
        WriteError: it cannot be written, or another sweep is writing it.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._file = _opened(self.path)
        try:
            self.found = read_journal(self.path)
            self._begins_line = not _is_cut(self._file)
        except BaseException:
            self.close()
            raise

    def begin(self, conditions: Mapping[str, Any]) -> None:
        """Say under which conditions all that is added from here on was trained, unless the last such line says the same.

        Raises:
            WriteError: the line could not be written whole.
        """
        if not self.found.heads or self.found.heads[-1] != conditions:
            self._append(json.dumps({"journal": VERSION, **conditions}))
            self.found.heads.append(dict(conditions))

    def add(self, population: int, runs: Sequence[CellRun], train_s: float) -> list[CellRun]:
        """Append the networks of a population and the seconds they took; return them as they will be read again.

        The two differ in numbers that JSON does not have: the infinities come back as NaN.

        Raises:
            WriteError: the line could not be written whole; it is as if it were not there, what stood before stays.
        """
        texts = [run.model_dump_json() for run in runs]
        self._append(f'{{"population":{population},"train_s":{train_s:.3f},"runs":[{",".join(texts)}]}}')
        return [CellRun.model_validate_json(text) for text in texts]

    def close(self) -> None:
        """Close the file, which unlocks it."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _append(self, entry: str) -> None:
        line = line_of(entry) if self._begins_line else b"\n" + line_of(entry)
        self._begins_line = False
        try:
            written = os.write(self._file, line)
            os.fsync(self._file)
        except OSError as error:
            raise WriteError(_unwritten(self.path, error.strerror)) from error
        if written < len(line):
            raise WriteError(_unwritten(self.path, f"the disk took {written} of {len(line)} bytes"))
        self._begins_line = True


def line_of(entry: str) -> bytes:
    """Return an entry, written as JSON, as its line, checksum included."""
    text = entry.encode()
    return START + b"%08x" % zlib.crc32(text) + MIDDLE + text + END + b"\n"


def read_journal(path: Path) -> Found:
    """Return what stands in a journal; an absent or empty file holds nothing.

    Raises:
        TraceError: it cannot be read, is of a newer version, or no journal.
    """
    found, damaged = Found(), []
    try:
        lines = path.read_bytes().split(b"\n") if path.exists() else []
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {error.strerror}") from error
    for number, line in enumerate(lines, 1):
        entry = _entry(line)
        if entry is not None and "journal" in entry:
            _check_version(path, entry)
            found.heads.append({name: value for name, value in entry.items() if name != "journal"})
        elif entry is not None and (runs := _runs(entry)) is not None:
            _keep(found, runs, float(entry.get("train_s", 0.0)))
        elif line.strip() and not _is_torn(line):
            damaged.append(number)
    if damaged and not found.heads and not found.runs:
        raise TraceError(f"{path}: expected the journal of a sweep, got something else; name another folder with --out")
    found.damaged = tuple(damaged)
    return found


def _entry(line: bytes) -> dict[str, Any] | None:
    """Return what a line holds; None where its checksum does not fit or it is no such line."""
    start = len(START) + 8
    if not (line.startswith(START) and line[start:].startswith(MIDDLE) and line.endswith(END)):
        return None
    text = line[start + len(MIDDLE) : -len(END)]
    if b"%08x" % zlib.crc32(text) != line[len(START) : start]:
        return None
    entry = json.loads(text)
    return entry if isinstance(entry, dict) else None


def _runs(entry: Mapping[str, Any]) -> list[CellRun] | None:
    try:
        return [CellRun.model_validate(run) for run in entry["runs"]]
    except (KeyError, TypeError, ValidationError):
        return None


def _keep(found: Found, runs: Sequence[CellRun], train_s: float) -> None:
    for run in runs:
        if run.key not in found.runs:
            found.runs[run.key] = run
            found.conditions[run.key] = found.heads[-1] if found.heads else {}
            found.seconds[run.key] = train_s / len(runs)


def _is_torn(line: bytes) -> bool:
    """Tell whether a line is the beginning of one, whose writing was cut short."""
    return START.startswith(line[: len(START)]) and line.count(b"}") < line.count(b"{")


def _check_version(path: Path, entry: Mapping[str, Any]) -> None:
    if entry["journal"] != VERSION:
        text = f"expected a journal of version {VERSION}, got {entry['journal']}"
        raise TraceError(f"{path}: {text}; use the gradscope that wrote it, or name another folder with --out")


def _opened(path: Path) -> int:
    """Return the descriptor of a journal, opened for appending and locked.

    Raises:
        WriteError: it cannot be opened, or another process holds it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
    except OSError as error:
        raise WriteError(f"{path}: cannot be written: {error.strerror}; name another folder with --out") from error
    try:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(file)
        text = "another sweep is writing it; wait for its end, or name another folder with --out"
        raise WriteError(f"{path}: {text}") from error
    except OSError:  # a file system without locks
        pass
    return file


def _is_cut(file: int) -> bool:
    """Tell whether a file ends within a line."""
    size = os.fstat(file).st_size
    if not size:
        return False
    os.lseek(file, size - 1, os.SEEK_SET)
    return os.read(file, 1) != b"\n"


def _unwritten(path: Path, why: str | None) -> str:
    return f"{path}: cannot be written: {why}; what stands there is kept: make room, and the same command goes on"
