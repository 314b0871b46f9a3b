"""The command line in the tests: in this process, where that is enough, or as one of its own."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from gradscope.cli import main

MAIN = "from gradscope.cli import main; main()"
ROOT = Path(__file__).parents[1]
STRIPPED = ("NO_COLOR", "FORCE_COLOR", "PYTHONIOENCODING", "COLUMNS", "GRADSCOPE_DATA", "TTY_COMPATIBLE")


@dataclass
class Done:
    """How a call ended and what it said."""

    code: int
    out: str
    err: str


def call(*arguments: str | Path) -> Done:
    """Call the command in this process."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    code = 0
    with patch.object(sys, "argv", ["gradscope", *map(str, arguments)]), redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
    return Done(code, *(_text(stream) for stream in (out, err)))


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode()


def environment(**changes: str) -> Mapping[str, str]:
    """The environment of a fresh shell, with one thread, in which this tree's gradscope is found from every folder."""
    found = {name: value for name, value in os.environ.items() if name not in STRIPPED}
    return found | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TERM": "xterm-256color"} | changes


def command(*arguments: str | Path) -> list[str]:
    """The command line of a process."""
    return [sys.executable, "-W", "error", "-c", MAIN, *map(str, arguments)]


def process(*arguments: str | Path, cwd: Path | None = None, **changes: str) -> Done:
    """Run the command as a process of its own."""
    done = subprocess.run(
        command(*arguments), capture_output=True, check=False, cwd=cwd, env=environment(**changes), stdin=subprocess.DEVNULL
    )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


def on_a_terminal(
    arguments: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    """Run a process with all streams on a terminal; return its exit code and what the terminal got."""
    leader, follower = pty.openpty()
    child = subprocess.Popen(arguments, stdout=follower, stderr=follower, stdin=follower, cwd=cwd, env=env)
    os.close(follower)
    got = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:  # how Linux ends a terminal
            break
        if not part:
            break
        got += part
    os.close(leader)
    return child.wait(), got
