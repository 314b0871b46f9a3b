"""At which steps to look: pure functions of the step, so that a resumed or repeated run looks at the same ones."""

from __future__ import annotations

from collections.abc import Callable

Schedule = Callable[[int], bool]

# Spacing between looks from each step on: dense while a collapse happens (within ten steps or so), then about every tenth
# of the way, at most a hundred steps apart.
SPACING = ((1000, 100), (500, 50), (200, 20), (100, 10), (50, 5), (20, 2), (0, 1))


def default(step: int) -> bool:
    """Tell whether to look at `step` (0-based): every step up to 20, then thinning out to every hundredth.

    >>> [step for step in range(60) if default(step)][18:]
    [18, 19, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 42, 44, 46, 48, 50, 55]
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
