"""What Ctrl-C and SIGTERM do to a command that trains."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import click


@contextmanager
def stop_on_interrupt() -> Iterator[list[bool]]:
    """Turn the first Ctrl-C (or SIGTERM) into a wish to stop after the current step; a second one stops at once."""
    stop = [False]

    def handle(number: int, frame: object) -> None:
        if stop[0]:
            raise KeyboardInterrupt
        stop[0] = True
        again = "press Ctrl-C again" if number == signal.SIGINT else "send SIGTERM again"
        click.echo(f"\ngradscope: stopping after this step; {again} to stop at once", err=True)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, old in before.items():
            signal.signal(number, old)
