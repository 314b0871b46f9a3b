"""One TensorBoard event file, appended to in whole records."""

from __future__ import annotations

import io
import os
import socket
import time
from collections.abc import Iterable
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # type: ignore[import-untyped]
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]
from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]

from gradscope.errors import WriteError

FORMAT = "brain.Event:2"


class EventFile:
    """An event file in `folder`, made at the first `append`.

    It is open only while it is written: no handle is held between flushes (a sweep has thousands of runs), no thread runs, and
    what was appended is with the operating system when `append` returns, so that a killed process loses nothing of it.

    A file that `restarts` its folder stands in place of what was written there before, from its own first step on.
    """

    def __init__(self, folder: Path, *, restarts: bool = False) -> None:
        second, rest = divmod(time.time_ns(), 10**9)  # TensorBoard reads a folder's files in the order of their names
        name = f"events.out.tfevents.{second}.{socket.gethostname()}.{os.getpid()}.{rest:09}"
        self.path = folder / name
        self._length = 0
        self._restarts = restarts

    def append(self, summaries: Iterable[tuple[int, Summary]]) -> None:
        """Write (step, summary) pairs, one event each.

        Where that fails (`WriteError`: disk full, no permission) the file ends where it ended before.
        """
        buffer = io.BytesIO()
        writer = RecordWriter(buffer)
        now, first = time.time(), None
        for step, summary in summaries:
            writer.write(Event(wall_time=now, step=step, summary=summary).SerializeToString())
            first = step if first is None else min(first, step)
        if first is not None:
            self._write((b"" if self._length else self._header(now, first)) + buffer.getvalue())

    def _header(self, now: float, first: int) -> bytes:
        """Return the file's begin; TensorBoard drops what it has from the step of a second START on."""
        buffer = io.BytesIO()
        writer = RecordWriter(buffer)
        writer.write(Event(wall_time=now, file_version=FORMAT).SerializeToString())
        if self._restarts:
            start = SessionLog(status=SessionLog.START)
            writer.write(Event(wall_time=now, step=first, session_log=start).SerializeToString())
        return buffer.getvalue()

    def _write(self, data: bytes) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as stream:
                stream.write(data)
        except OSError as error:
            self._cut()
            raise WriteError(
                f"{self.path}: cannot be written: {error.strerror}; free some space or choose another folder"
            ) from error
        self._length += len(data)

    def _cut(self) -> None:
        """Remove a half-written record: a reader would stop there for good."""
        try:
            os.truncate(self.path, self._length)
        except OSError:
            return


def scalar_summary(scalars: Iterable[tuple[str, float]]) -> Summary:
    """Return one summary with all scalars of a step: a tenth of the cost of one event each."""
    return Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in scalars])
