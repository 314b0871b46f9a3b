"""The progress bar on stderr: where training is, how fast it goes, and how long it still takes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console


class Advance(Protocol):
    """Tells the progress bar that `steps` more steps are done, and what is going on."""

    def __call__(self, steps: int, text: str = "") -> None:
        """Move on by `steps`; an empty text leaves the last one."""


@contextmanager
def training_progress(total_steps: int, *, enabled: bool | None = None) -> Iterator[Advance]:
    """Show a progress bar on stderr while the block runs, and take it away again.

    Args:
        total_steps: steps of the whole training.
        enabled: False (quiet) prints nothing at all; None means: only where stderr is a terminal that can redraw a line.
            True asks for it as well, and is likewise ignored where there is no such terminal.

    >>> with training_progress(10) as advance:
    ...     advance(5, "control")
    """
    if enabled is False or not _redraws():
        yield lambda steps, text="": None
        return
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:.0f} steps/s" if task.speed else "")

    console = _stderr_console()
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} steps"),
        Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("training", total=total_steps)

        def advance(steps: int, text: str = "") -> None:
            if text:
                progress.update(bar, advance=steps, description=text)
            else:
                progress.update(bar, advance=steps)

        yield advance


@contextmanager
def recipes_progress(total: int, *, enabled: bool = True) -> Iterator[Callable[[str], None]]:
    """Show on stderr how many recipes are checked while the block runs, as `training_progress` does.

    >>> with recipes_progress(8) as checked:
    ...     checked("recipes/healthy.yaml")
    """
    if not enabled or not _redraws():
        yield lambda name: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = _stderr_console()
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} recipes"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("checking", total=total)
        yield lambda name: progress.update(bar, advance=1, description=f"checked {name}")


def _stderr_console() -> Console:
    from rich.console import Console

    return Console(file=sys.stderr, color_system=None if os.environ.get("NO_COLOR") else "auto")


def _redraws() -> bool:
    """Tell whether stderr is a terminal that can redraw a line."""
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")
