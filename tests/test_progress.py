"""The progress bar: on a terminal, and nowhere else."""

from __future__ import annotations

import os
import sys

import pytest
from command_line import on_a_terminal

from gradscope import progress
from gradscope.progress import sweep_progress, training_progress

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


SWEEP = (
    "import time\nfrom gradscope.progress import sweep_progress\n"
    "with sweep_progress(20, 2000, 5, 500) as told:\n"
    "    for i in range(4):\n        told(300, 3); time.sleep(0.15)\n    told(300, 3); time.sleep(0.15)\n"
)


def test_a_sweep_on_a_terminal_shows_networks_rate_and_time_left() -> None:
    written = written_to_a_terminal(SWEEP, TERM="xterm", COLUMNS="120")
    assert b"20/20 networks" in written
    assert b"100 %" in written
    assert b"steps/s" in written
    assert b"0:00:00" in written


def test_a_sweep_without_a_terminal_writes_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with sweep_progress(20, 20_000, 5, 5_000) as told:
        for _ in range(5):
            now[0] += 25
            told(1_000, 1)
    assert capfd.readouterr().err == "gradscope: 8 of 20 networks, 40 steps/s, 5 min left\n"


def test_a_sweep_that_takes_steps_back_tells_no_nonsense(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A process that died takes its steps along."""
    monkeypatch.setattr(progress, "PLAIN_LINE_S", 0.0)
    with sweep_progress(20, 20_000) as told:
        told(1_000, 0)
        told(-1_000, 0)
    assert capfd.readouterr().err.splitlines()[1] == "gradscope: 0 of 20 networks, 0 steps/s"


def test_a_quiet_sweep_shows_nothing(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "PLAIN_LINE_S", 0.0)
    with sweep_progress(20, 2000, enabled=False) as told:
        told(300, 3)
    assert capfd.readouterr() == ("", "")
    assert written_to_a_terminal(SWEEP.replace("500)", "500, enabled=False)"), TERM="xterm") == b""
