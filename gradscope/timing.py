"""The time that recording takes."""

from __future__ import annotations

import time


class Timed:
    """A context that adds its time to `total_s`; contexts within contexts count once."""

    def __init__(self) -> None:
        self.total_s = 0.0
        self._depth, self._start = 0, 0.0

    def __enter__(self) -> None:
        """Start the clock, if it does not run yet."""
        if not self._depth:
            self._start = time.perf_counter()
        self._depth += 1

    def __exit__(self, *error: object) -> None:
        """Stop it, if this is the outermost context."""
        self._depth -= 1
        if not self._depth:
            self.total_s += time.perf_counter() - self._start
