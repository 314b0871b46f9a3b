"""What ends a sweep early: Ctrl-C, and the end of its time; while it is made ready as well as while it trains."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import click


class OutOfPatience(Exception):
    """A sweep is to end before anything is trained."""


class Limits:
    """The wish to stop, as `stop_on_interrupt` turns it into data, and the time that is left, from the making of this on."""

    def __init__(self, hours: float | None) -> None:
        self._end = None if hours is None else time.monotonic() + hours * 3600
        self.stop: Sequence[bool] = [False]

    @property
    def interrupted(self) -> bool:
        """Whether the user wants it to end."""
        return self.stop[0]

    def left_s(self) -> float | None:
        """Return the seconds that are left, below 0 where the time is over; None without a limit."""
        return None if self._end is None else self._end - time.monotonic()

    def look(self) -> None:
        """End what is going on, if it is time to.

        Raises:
            OutOfPatience: it is.
        """
        if self.interrupted or (self._end is not None and time.monotonic() >= self._end):
            raise OutOfPatience


def finite_hours(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """Return a number of hours that an end can be reckoned from.

    Raises:
        click.BadParameter: it is none.
    """
    if value is not None and not (math.isfinite(value) and value > 0):
        text = f"expected a finite number of hours above 0, got {value:g}; without --max-hours there is no limit"
        raise click.BadParameter(text, ctx, param)
    return value
