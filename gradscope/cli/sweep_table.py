"""A sweep's table on stdout: after the sweep, and again from its folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradscope.sweep_report import SweepResult


def table_of(result: SweepResult, form: str, folder: Path) -> Callable[[], str]:
    """Return what makes the text of a sweep's result, as `text` or as `json`; `folder` is where its files are."""
    if form == "json":
        return result.to_json
    from gradscope.renderers.console import stdout_console, trimmed
    from gradscope.renderers.sweep_console import print_sweep

    console = stdout_console()
    with console.capture() as captured:
        print_sweep(result, console=console, folder=folder)
    return lambda: trimmed(captured.get())
