"""The progress bar on stderr: where training is, how fast it goes, and how long it still takes."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console


class Advance(Protocol):
    """Tells the progress bar that `steps` more steps are done, how many more are planned, and what is going on."""

    def __call__(self, steps: int, text: str = "", more: int = 0) -> None:
        """Move on by `steps` of a total that grows by `more`; an empty text leaves the last one."""


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
        yield lambda steps, text="", more=0: None
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

        total = [total_steps]

        def advance(steps: int, text: str = "", more: int = 0) -> None:
            if more:
                total[0] += more
                progress.update(bar, total=total[0])
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


PLAIN_LINE_S = 60.0
"""How often a sweep says where it is, where there is no terminal: often enough for a log, seldom enough to be read."""


@contextmanager
def sweep_progress(
    networks: int, steps: int, done_networks: int = 0, done_steps: int = 0, *, enabled: bool = True
) -> Iterator[Callable[[int, int], None]]:
    """Show on stderr how far a sweep is while the block runs: a bar on a terminal, elsewhere a line a minute.

    What the block is given is told the steps (of single networks) and the networks that have come since it was last told.

    Args:
        networks: of the whole sweep.
        steps: of all of them together.
        done_networks: trained by an earlier call.
        done_steps: of those.
        enabled: False (quiet) prints nothing at all.

    >>> with sweep_progress(10, 1000, enabled=False) as told:
    ...     told(100, 1)
    """
    if not enabled or sys.stderr is None:
        yield lambda steps, networks: None
        return
    if not _redraws():
        yield _PlainLines(networks, steps, done_networks, done_steps)
        return
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:,.0f} steps/s" if task.speed else "")

    columns = (
        TextColumn("{task.fields[networks]}/{task.fields[of]} networks", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:.0f} %", markup=False),
        Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_stderr_console(), transient=True, speed_estimate_period=120) as progress:
        bar = progress.add_task("", total=steps, completed=done_steps, networks=done_networks, of=networks)
        trained = [done_networks]

        def told(steps: int, networks: int) -> None:
            trained[0] += networks
            if steps or networks:
                progress.update(bar, advance=steps, networks=trained[0])

        yield told


class _PlainLines:
    """Writes a line about a sweep every now and then, for logs."""

    def __init__(self, networks: int, steps: int, done_networks: int, done_steps: int) -> None:
        self._of, self._of_steps = networks, steps
        self._networks, self._steps, self._before = done_networks, done_steps, done_steps
        self._began = self._told_at = time.monotonic()

    def __call__(self, steps: int, networks: int) -> None:
        self._networks += networks
        self._steps += steps
        now = time.monotonic()
        if now - self._told_at < PLAIN_LINE_S:
            return
        self._told_at = now
        rate = (self._steps - self._before) / (now - self._began)
        left = f", {_duration((self._of_steps - self._steps) / rate)} left" if rate > 0 else ""
        print(f"gradscope: {self._networks} of {self._of} networks, {rate:,.0f} steps/s{left}", file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    """Return a duration in what it is best said in.

    >>> _duration(90.0), _duration(5400.0)
    ('2 min', '1 h 30 min')
    """
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _stderr_console() -> Console:
    from rich.console import Console

    return Console(file=sys.stderr, color_system=None if os.environ.get("NO_COLOR") else "auto")


def _redraws() -> bool:
    """Tell whether stderr is a terminal that can redraw a line."""
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")
