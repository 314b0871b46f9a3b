"""Confidence intervals for a mean and for the effect of a fix, honest for runs that either collapse or do not.

The paired t interval fails there: when one run in ten differs, five seeds usually show five equal differences, and an
interval of width zero. A bound on the mean of a *bounded* variable keeps room for what was not seen, and the effect of a fix
is the difference of two such means. Nothing is assumed of the runs but the range of the metric: no method can know from five
runs that a sixth does not fail, so five good ones prove a fix only where failures in half of its runs could not undo the gain
(`gradscope/unseen.py`).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gradscope.mean_test import larger_mean_chance

Values = Sequence[float] | NDArray[np.floating]

METHOD = "difference of the bounds of Learned-Miller & Thomas (2019) on the means of fix and control"
MEAN_METHOD = "bounds of Learned-Miller & Thomas (2019) on the mean of the seeds, 2.5 % on each side"
CONFIDENCE = 0.95
DRAWS = 20_000  # so that 25 of them are beyond the end of an interval for six fixes and two looks
MINIMUM_SEEDS = 3  # with two runs the interval spans nearly the whole range


def bounded(values: Sequence[float], chance: float) -> list[float]:
    """Return a metric per seed as comparisons take it: in a bounded range, a run without a finite one as failed.

    Accuracies stand as they are. R2 has no lower end, so what is worse than the constant answer (0) counts as that.

    >>> bounded([0.9, float("nan"), -30.0], 0.0)
    [0.9, 0.0, 0.0]
    """
    return [max(value, 0.0) if np.isfinite(value) else chance for value in values]


def effect_interval(
    control: Values,
    fix: Values,
    *,
    floor: float,
    ceiling: float = 1.0,
    confidence: float = CONFIDENCE,
    others: Values = (),
) -> tuple[float, float] | None:
    """Return the interval for the mean of the fix less that of the control.

    That of `difference_interval` between the runs of the fix and all runs of the control, those from further seeds included;
    wider where the difference on the seeds that both have lies outside. Pairs play no other part: with few seeds, what was
    not seen is far more than what the seeds have in common, and arms that rise and fall together only make the interval too
    wide.

    Args:
        control: metric of the untouched arm, [seed].
        fix: metric of the arm with the fix, [seed], same seeds in the same order.
        floor: what a failed run scores (chance); a lower value seen in the data replaces it. A metric without a lower end,
            such as R2, has to be bounded before.
        ceiling: what a perfect run scores; a higher value seen in the data replaces it.
        confidence: two-sided level.
        others: metric of the untouched network from further seeds, [run].

    Returns:
        (lower, upper), or None with fewer than three seeds or a value that is not finite.

    Raises:
        ValueError: the arms have different lengths.

    >>> low, high = effect_interval([0.3, 0.3, 0.3, 0.3, 0.3], [0.9, 0.9, 0.9, 0.9, 0.9], floor=0.1)
    >>> round(low, 1), round(high, 1)
    (0.0, 0.7)
    """
    effect = _effect(control, fix)
    found = difference_interval(fix, _every(control, others), floor=floor, ceiling=ceiling, confidence=confidence)
    return None if found is None else (min(found[0], effect), max(found[1], effect))


def effect_p_value(control: Values, fix: Values, *, floor: float, ceiling: float = 1.0, others: Values = ()) -> float:
    """Return the two-sided p value of "on average the fix gains nothing", or loses nothing.

    The level at which the interval reaches zero, or, if that is less, the largest of three: that a fix which fails more often
    than its runs show is no better than the control's mean; that a control which succeeds more often than its runs show is no
    worse than the fix's mean; and the exact permutation test of the means (`larger_mean_chance`), which says what luck does
    where the fix changes nothing. The interval allows for the first two at once, which is more than any two rare events need:
    with five seeds it would leave a cure of 0.3 to 0.95 open among six fixes. `tests/test_interval.py` and
    `benchmarks/trial_errors.py` measure how often a fix without a gain, or that harms, is told from zero all the same.

    Where the seeds that both arms have point the other way than all runs together, nothing is told from zero.

    Args:
        control: see `effect_interval`, as all others.
        fix: likewise.
        floor: likewise.
        ceiling: likewise.
        others: likewise.

    Returns:
        The p value; 1 where there is no interval.

    Raises:
        ValueError: the arms have different lengths.

    >>> control, others = [0.3, 0.3, 0.3, 0.3, 0.3], [0.3, 0.3, 0.3, 0.3, 0.3]
    >>> effect_p_value(control, [0.9, 0.9, 0.9, 0.9, 0.9], floor=0.1, others=others) < 0.01
    True
    >>> effect_p_value(control, [0.36, 0.36, 0.36, 0.36, 0.36], floor=0.1, others=others) > 0.5
    True
    """
    effect, every, after = _effect(control, fix), _every(control, others), np.asarray(fix, dtype=np.float64)
    drawn = _drawn_differences(after, every, floor, ceiling)
    if drawn is None or effect == 0:
        return 1.0
    ends = _ends(np.append(after, every), floor, ceiling)
    if effect > 0:
        chances = _least_level(after, every, ends), larger_mean_chance(every, after)
        by_interval = float(np.mean(drawn[0] <= 0))
    else:
        chances = _least_level(-after, -every, (-ends[1], -ends[0])), larger_mean_chance(-every, -after)
        by_interval = float(np.mean(drawn[1] >= 0))
    return min(1.0, 2 * max(min(by_interval, max(chances)), 1 / DRAWS))


def mean_interval(
    values: Values, *, floor: float, ceiling: float = 1.0, confidence: float = CONFIDENCE
) -> tuple[float, float] | None:
    """Return the interval for the mean of a bounded metric, by the same bound as `effect_interval`.

    Student's interval has width zero where all seeds seen are equal; this one keeps room for a run that collapses and was not
    seen. With five seeds that is much: one run in two may be such a run. `tests/test_interval.py` measures the coverage.

    Args:
        values: metric, [seed].
        floor: what a failed run scores (chance); a lower value seen in the data replaces it.
        ceiling: what a perfect run scores; a higher value seen in the data replaces it.
        confidence: two-sided level.

    Returns:
        (lower, upper), or None with fewer than three seeds or a value that is not finite.

    >>> low, high = mean_interval([0.97, 0.98, 0.97, 0.98, 0.97], floor=0.1)
    >>> round(low, 2), round(high, 2)
    (0.52, 0.99)
    """
    seen = np.asarray(values, dtype=np.float64)
    if len(seen) < MINIMUM_SEEDS or not np.isfinite(seen).all():
        return None
    return _bounds(seen, min(floor, float(seen.min())), max(ceiling, float(seen.max())), confidence)


def difference_interval(
    first: Values, second: Values, *, floor: float, ceiling: float = 1.0, confidence: float = CONFIDENCE
) -> tuple[float, float] | None:
    """Return the interval for the difference of two means, first minus second, of runs that are not paired.

    Each end is a quantile of the difference of the means under uniform Dirichlet weights, independent for both, on the runs and
    one more that was not seen: at the end of the range that is worse for that end, as in the bound of `mean_interval`. For runs
    that either fail or succeed wholly, it excludes zero where Fisher's exact test does.

    Args:
        first: metric, [run].
        second: metric, [run]; of another length where there are other runs.
        floor: what a failed run scores (chance); a lower value seen in either replaces it.
        ceiling: what a perfect run scores; a higher value seen in either replaces it.
        confidence: two-sided level.

    Returns:
        (lower, upper), or None with fewer than three runs of either, or a value that is not finite.

    Source: E. Learned-Miller and P. S. Thomas, A New Confidence Interval for the Mean of a Bounded Random Variable, 2019,
    arXiv:1905.06208.

    >>> low, high = difference_interval([0.97, 0.98, 0.97, 0.98, 0.97], [0.3, 0.2, 0.3, 0.5, 0.4], floor=0.1)
    >>> round(low, 1), round(high, 1)
    (0.0, 0.8)
    """
    drawn = _drawn_differences(first, second, floor, ceiling)
    if drawn is None:
        return None
    tail = (1 - confidence) / 2
    return float(np.quantile(drawn[0], tail)), float(np.quantile(drawn[1], 1 - tail))


def _drawn_differences(
    first: Values, second: Values, floor: float, ceiling: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return draws [draw] of the least and the largest difference of the means that the runs leave possible."""
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    both = np.append(a, b)
    if min(len(a), len(b)) < MINIMUM_SEEDS or not np.isfinite(both).all():
        return None
    worst, best = _ends(both, floor, ceiling)
    of_a, of_b = _dirichlet(len(a) + 1), _dirichlet(len(b) + 1, stream=1)
    seen = of_a[:, :-1] @ a - of_b[:, :-1] @ b
    return seen + worst * of_a[:, -1] - best * of_b[:, -1], seen + best * of_a[:, -1] - worst * of_b[:, -1]


def _least_level(first: NDArray[np.float64], second: NDArray[np.float64], ends: tuple[float, float]) -> float:
    """Return the level at which the bound of either mean reaches the other mean as it was seen, whichever is larger."""
    of_a, of_b = _dirichlet(len(first) + 1), _dirichlet(len(second) + 1, stream=1)
    low, high = of_a @ np.append(first, ends[0]), of_b @ np.append(second, ends[1])
    return max(float(np.mean(low <= second.mean())), float(np.mean(high >= first.mean())))


def _ends(seen: NDArray[np.float64], floor: float, ceiling: float) -> tuple[float, float]:
    return min(floor, float(seen.min())), max(ceiling, float(seen.max()))


def _effect(control: Values, fix: Values) -> float:
    before, after = np.asarray(control, dtype=np.float64), np.asarray(fix, dtype=np.float64)
    if before.shape != after.shape or before.ndim != 1:
        raise ValueError(f"expected two lists of one length, got shapes {before.shape} and {after.shape}")
    return float(np.mean(after - before)) if len(before) else 0.0


def _every(control: Values, others: Values) -> NDArray[np.float64]:
    return np.append(np.asarray(control, dtype=np.float64), np.asarray(others, dtype=np.float64))


def _bounds(seen: NDArray[np.float64], worst: float, best: float, confidence: float) -> tuple[float, float]:
    weights = _dirichlet(len(seen) + 1)
    tail = (1 - confidence) / 2
    lower = np.quantile(weights @ np.append(seen, worst), tail)
    upper = np.quantile(weights @ np.append(seen, best), 1 - tail)
    return float(lower), float(upper)


@functools.lru_cache(maxsize=8)
def _dirichlet(points: int, stream: int = 0) -> NDArray[np.float64]:
    """Draw uniform Dirichlet weights [draw, point], the same ones every time; those of different streams are independent."""
    draws = np.random.default_rng(points if not stream else [points, stream]).exponential(size=(DRAWS, points))
    return np.asarray(draws / draws.sum(axis=1, keepdims=True))
