"""At which steps to look: pure functions of the step, so that a resumed or repeated run looks at the same ones."""

from __future__ import annotations

from collections.abc import Callable

Schedule = Callable[[int], bool]

# Spacing between looks from each step on: dense while a collapse happens (within ten steps or so), then every fifth to
# twentieth of the way, at most a hundred steps apart.
SPACING = ((200, 100), (60, 20), (30, 10), (10, 2), (0, 1))


def default(step: int) -> bool:
    """Tell whether to look at `step` (0-based): every step up to 10, then thinning out to every hundredth.

    >>> [step for step in range(90) if default(step)]
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 40, 50, 60, 80]
    """
    spacing = next(spacing for start, spacing in SPACING if step >= start)
    return step % spacing == 0


def every(interval: int) -> Schedule:
    """Return a schedule that looks at every `interval`-th step, step 0 included.

    Raises:
        ValueError: the interval is below 1.

    >>> [step for step in range(7) if every(3)(step)]
    [0, 3, 6]
    """
    if interval < 1:
        raise ValueError(f"expected an interval of at least 1 step, got {interval}")
    return lambda step: step % interval == 0
