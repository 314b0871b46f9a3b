"""Processes of this machine: how many are worth their while, how they are started, how one has died."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

END_S = 2.0
"""How long a process is waited for that was asked to end."""


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def how_it_died(code: int | None) -> str:
    """Return what an exit code says of a process's end.

    >>> how_it_died(1), how_it_died(-11)
    ('with exit code 1', 'by SIGSEGV')
    """
    if code is None or code >= 0:
        return f"with exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
    return f"by {name}{', perhaps for want of memory: try --jobs 1' if name == 'SIGKILL' else ''}"


@contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """Start processes in the block that never hear Ctrl-C or SIGTERM, which are the parent's to handle; they can be killed.

    Blocked rather than ignored, since a process does not hear them either while it is not yet far enough to ignore them.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # else the first process's start does, which lets the signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
