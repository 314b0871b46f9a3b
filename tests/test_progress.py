"""The progress bar: on a terminal, and nowhere else."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from gradscope.progress import training_progress

CODE = (
    "import time\nfrom gradscope.progress import training_progress\n"
    "with training_progress(40) as advance:\n"
    "    for i in range(4):\n        advance(10, '[bold]control[/bold]'); time.sleep(0.15)\n"
)


def on_a_terminal(code: str, **environment: str) -> bytes:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", code], stderr=follower, stdout=subprocess.DEVNULL, env=os.environ | environment
    )
    os.close(follower)
    written = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:  # how Linux ends a terminal
            break
        if not part:
            break
        written += part
    os.close(leader)
    assert process.wait() == 0
    return written


@pytest.mark.parametrize("enabled", [None, False, True])
def test_nothing_without_a_terminal(enabled: bool | None, capfd: pytest.CaptureFixture[str]) -> None:
    with training_progress(10, enabled=enabled) as advance:
        advance(5, "control")
        advance(5)
    assert capfd.readouterr() == ("", "")


def test_a_terminal_shows_text_rate_and_steps() -> None:
    written = on_a_terminal(CODE, TERM="xterm", COLUMNS="120")
    assert b"[bold]control[/bold]" in written
    assert b"40/40 steps" in written
    assert b"steps/s" in written


def test_a_dumb_terminal_shows_nothing() -> None:
    assert on_a_terminal(CODE, TERM="dumb") == b""


def test_quiet_shows_nothing_on_a_terminal() -> None:
    assert on_a_terminal(CODE.replace("(40)", "(40, enabled=False)"), TERM="xterm") == b""


def test_an_interrupt_passes_through() -> None:
    with pytest.raises(KeyboardInterrupt), training_progress(10):
        raise KeyboardInterrupt
