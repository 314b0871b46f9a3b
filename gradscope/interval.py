"""Confidence intervals for a mean and for the effect of a fix, honest for runs that either collapse or do not.

The plain paired t interval fails there: when one run in ten differs, five seeds usually show five equal differences, and an
interval of width zero. A bound on the mean of a *bounded* variable keeps room for what was not seen.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gradscope.mean_test import larger_mean_chance

Values = Sequence[float] | NDArray[np.floating]

METHOD = "bounds of Learned-Miller & Thomas (2019) on the mean of the paired differences"
MEAN_METHOD = "bounds of Learned-Miller & Thomas (2019) on the mean of the seeds, 2.5 % on each side"
CONFIDENCE = 0.95
DRAWS = 10_000  # the bound's quantile then has a standard error below 0.5 % of the support's width
MINIMUM_SEEDS = 3  # with two pairs the interval spans nearly the whole support


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
    """Return the interval for the mean of `fix - control` over paired seeds.

    Each end is the bound of Learned-Miller and Thomas: the quantile of the mean under uniform Dirichlet weights on the
    differences and one pseudo-difference at the end of the support. For two-valued outcomes it is Clopper and Pearson's.

    The support is what an unseen pair could be: in general one arm at `floor` and the other at `ceiling`. But where every run
    of the fix beats every run of the control, or loses to it, an unseen pair is taken to be at worst one in which the fix makes
    no difference. Where the control is at chance that leaves out two rare events at once; where it is well above it, a single
    one, too: a run of the fix that collapses and was not seen. It is done only where such an order is rarer by chance
    than the interval may fail on that side (`order_chance`: 0.004 for five seeds against five). `tests/test_interval.py`
    measures the coverage, those events included.

    Args:
        control: metric of the untouched arm, [seed].
        fix: metric of the arm with the fix, [seed], same seeds in the same order.
        floor: what a failed run scores (chance); a lower value seen in the data replaces it. A metric without a lower end,
            such as R2, has to be bounded before.
        ceiling: what a perfect run scores; a higher value seen in the data replaces it.
        confidence: two-sided level.
        others: metric of the untouched network from further seeds, [run]; the fix has to beat those, too.

    Returns:
        (lower, upper), or None with fewer than three seeds or a value that is not finite.

    Raises:
        ValueError: the arms have different lengths.

    Source: E. Learned-Miller and P. S. Thomas, A New Confidence Interval for the Mean of a Bounded Random Variable, 2019,
    arXiv:1905.06208.

    >>> low, high = effect_interval([0.3, 0.3, 0.3, 0.3, 0.3], [0.9, 0.9, 0.9, 0.9, 0.9], floor=0.1)
    >>> round(low, 2), round(high, 2)
    (0.29, 0.75)
    """
    pairs = _pairs(control, fix, others)
    if pairs is None:
        return None
    before, after, every = pairs
    tail = (1 - confidence) / 2
    reach = _reach(every, after, floor, ceiling)
    is_rare = order_chance(len(every), len(after)) <= tail
    worst = 0.0 if is_rare and after.min() > every.max() else -reach
    best = 0.0 if is_rare and after.max() < every.min() else reach
    return _bounds(after - before, worst, best, confidence)


def effect_p_value(control: Values, fix: Values, *, floor: float, ceiling: float = 1.0, others: Values = ()) -> float:
    """Return the two-sided p value of "the fix changes nothing".

    The level at which `effect_interval` reaches zero, or that of the exact permutation test of the means against all runs of
    the control (`larger_mean_chance`), if that is less: two groups of runs are told apart long before their pairs bound how
    much lies between them. That test's hypothesis is that a fix changes nothing at all. So that one which changes the spread
    alone does not pass for better on average, the bound has to lie above zero as well, where an unseen pair is the worst one
    seen or a run of the fix that fails beside an average control, whichever is worse: a fix that learns in four of five seeds
    and ruins the fifth proves nothing. (Of runs of the fix that all beat all of the control, it is one without a difference.)

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

    >>> control, others = [0.3, 0.3, 0.3, 0.3, 0.3], [0.3, 0.3, 0.3, 0.3, 0.9]
    >>> round(effect_p_value(control, [0.9, 0.9, 0.9, 0.9, 0.9], floor=0.1), 4)
    0.0079
    >>> round(effect_p_value(control, [0.9, 0.9, 0.9, 0.9, 0.3], floor=0.1, others=others), 4)
    0.034
    """
    pairs = _pairs(control, fix, others)
    if pairs is None:
        return 1.0
    before, after, every = pairs
    reach = _reach(every, after, floor, ceiling)
    gains = after - before
    worst = min(floor, float(every.min()), float(after.min()))
    fails = 0.0 if after.min() > every.max() else worst - float(every.mean())
    undone = 0.0 if after.max() < every.min() else worst - float(after.mean())  # mirrored: the control fails beside the fix
    better = _one_sided(gains, -reach, fails, larger_mean_chance(every, after))
    worse = _one_sided(-gains, -reach, undone, larger_mean_chance(-every, -after))
    return min(1.0, 2 * min(better, worse))


def order_chance(controls: int, fixes: int) -> float:
    """Return how likely all runs of the fix are to beat all of the control where nothing tells them apart.

    >>> round(order_chance(5, 5), 4), round(order_chance(10, 5), 5)
    (0.004, 0.00033)
    """
    return 1 / math.comb(controls + fixes, fixes)


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

    Each mean has the bound of `mean_interval`, with weights drawn independently; the ends are quantiles of their difference.
    As in `effect_interval`, where every run of one beats every run of the other, an unseen run of either is taken to be at
    worst like the mean of the other.

    Args:
        first: metric, [run].
        second: metric, [run]; of another length where there are other runs.
        floor: what a failed run scores (chance); a lower value seen in either replaces it.
        ceiling: what a perfect run scores; a higher value seen in either replaces it.
        confidence: two-sided level.

    Returns:
        (lower, upper), or None with fewer than three runs of either, or a value that is not finite.

    >>> low, high = difference_interval([0.97, 0.98, 0.97, 0.98, 0.97], [0.3, 0.2, 0.3, 0.5, 0.4], floor=0.1)
    >>> round(low, 1), round(high, 1)
    (0.1, 0.8)
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    both = np.append(a, b)
    if min(len(a), len(b)) < MINIMUM_SEEDS or not np.isfinite(both).all():
        return None
    worst, best = min(floor, float(both.min())), max(ceiling, float(both.max()))
    of_a, of_b = _dirichlet(len(a) + 1), _dirichlet(len(b) + 1, stream=1)
    tail = (1 - confidence) / 2
    others = float(b.mean()), float(a.mean())
    low_a, low_b = others if a.min() > b.max() else (worst, best)
    high_a, high_b = others if a.max() < b.min() else (best, worst)
    lower = np.quantile(of_a @ np.append(a, low_a) - of_b @ np.append(b, low_b), tail)
    upper = np.quantile(of_a @ np.append(a, high_a) - of_b @ np.append(b, high_b), 1 - tail)
    return float(lower), float(upper)


def _bounds(seen: NDArray[np.float64], worst: float, best: float, confidence: float) -> tuple[float, float]:
    weights = _dirichlet(len(seen) + 1)
    tail = (1 - confidence) / 2
    lower = np.quantile(weights @ np.append(seen, worst), tail)
    upper = np.quantile(weights @ np.append(seen, best), 1 - tail)
    return float(lower), float(upper)


def _one_sided(gains: NDArray[np.float64], worst: float, likely: float, exchanged: float) -> float:
    """Return the p value of "no gain": by the bound with the worst pair that can be, or by permutation with a likely one."""
    weights = _dirichlet(len(gains) + 1)
    far, near = (float(np.mean(weights @ np.append(gains, end) <= 0)) for end in (worst, min(likely, float(gains.min()), 0.0)))
    return max(min(far, max(near, exchanged)), 1 / DRAWS)


def _pairs(
    control: Values, fix: Values, others: Values
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]] | None:
    """Return control, fix, and all runs of the control, or None where they bear no interval."""
    before, after = np.asarray(control, dtype=np.float64), np.asarray(fix, dtype=np.float64)
    if before.shape != after.shape or before.ndim != 1:
        raise ValueError(f"expected two lists of one length, got shapes {before.shape} and {after.shape}")
    every = np.append(before, np.asarray(others, dtype=np.float64))
    if len(before) < MINIMUM_SEEDS or not (np.isfinite(every).all() and np.isfinite(after).all()):
        return None
    return before, after, every


def _reach(every: NDArray[np.float64], after: NDArray[np.float64], floor: float, ceiling: float) -> float:
    """Return the largest difference that a pair could show."""
    return max(ceiling, float(every.max()), float(after.max())) - min(floor, float(every.min()), float(after.min()))


@functools.lru_cache(maxsize=8)
def _dirichlet(points: int, stream: int = 0) -> NDArray[np.float64]:
    """Draw uniform Dirichlet weights [draw, point], the same ones every time; those of different streams are independent."""
    draws = np.random.default_rng(points if not stream else [points, stream]).exponential(size=(DRAWS, points))
    return np.asarray(draws / draws.sum(axis=1, keepdims=True))
