"""The progress bar: on a terminal, and nowhere else."""

from __future__ import annotations

import os
import sys

import pytest
from command_line import on_a_terminal

from gradscope.progress import training_progress

CODE = (
    "import time\nfrom gradscope.progress import training_progress\n"
    "with training_progress(40) as advance:\n"
    "    for i in range(4):\n        advance(10, '[bold]control[/bold]'); time.sleep(0.15)\n"
)


def written_to_a_terminal(code: str, **environment: str) -> bytes:
    ended, got = on_a_terminal([sys.executable, "-c", code], env=os.environ | environment)
    assert ended == 0
    return got


@pytest.mark.parametrize("enabled", [None, False, True])
def test_nothing_without_a_terminal(enabled: bool | None, capfd: pytest.CaptureFixture[str]) -> None:
    with training_progress(10, enabled=enabled) as advance:
        advance(5, "control")
        advance(5)
    assert capfd.readouterr() == ("", "")


def test_a_terminal_shows_text_rate_and_steps() -> None:
    written = written_to_a_terminal(CODE, TERM="xterm", COLUMNS="120")
    assert b"[bold]control[/bold]" in written
    assert b"40/40 steps" in written
    assert b"steps/s" in written


def test_a_dumb_terminal_shows_nothing() -> None:
    assert written_to_a_terminal(CODE, TERM="dumb") == b""


def test_quiet_shows_nothing_on_a_terminal() -> None:
    assert written_to_a_terminal(CODE.replace("(40)", "(40, enabled=False)"), TERM="xterm") == b""


def test_an_interrupt_passes_through() -> None:
    with pytest.raises(KeyboardInterrupt), training_progress(10):
        raise KeyboardInterrupt
