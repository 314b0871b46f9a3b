"""A TensorBoard with the Gradscope tab, in a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_S = 120  # on a machine that has much else to do
START = """
import sys
from tensorboard import default, program
from gradscope.tensorboard_plugin.loader import GradscopeLoader
board = program.TensorBoard(plugins=[*default.get_static_plugins(), GradscopeLoader()])
board.configure(["tensorboard", *sys.argv[1:]])
sys.exit(board.main())
"""
"""The tab's loader is given, not found by its entry point: the package need not be installed."""


@contextmanager
def tensorboard(folder: Path) -> Iterator[str]:
    """Start it on a folder, behind a path prefix; its address, once it has read a run."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--logdir", folder, "--port", port, "--host", "127.0.0.1", "--path_prefix", "/tb", "--reload_interval", 1]
    command = [sys.executable, "-c", START, *map(str, options)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    url = f"http://127.0.0.1:{port}/tb"
    try:
        deadline = time.monotonic() + START_S
        while not _answers(f"{url}/data/plugin/gradscope/runs"):
            assert process.poll() is None, "TensorBoard ended"
            assert time.monotonic() < deadline, "TensorBoard does not list the run"
            time.sleep(0.2)
        yield url
    finally:
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(url: str) -> bool:
    """Tell whether a run is listed."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.read().strip() not in {b"", b"[]"}
    except urllib.error.URLError:
        return False
