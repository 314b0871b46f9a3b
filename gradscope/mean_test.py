"""The exact permutation test of two groups' means: how rare a difference is where nothing tells the groups apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Values = Sequence[float] | NDArray[np.floating]

GRID = 1000  # metrics are told apart to a tenth of a point; what is nearer counts as equal, which makes no p value smaller
MOST_RUNS = 20  # of a fix: with more, a bound on the mean needs no such help, and the sums become many


def larger_mean_chance(controls: Values, fixes: Values) -> float:
    """Return the chance that the fix's runs have at least so large a mean where they are like the control's.

    Counted over all ways to choose as many of all runs, each as likely as any other if a fix changes nothing. For two-valued
    runs it is Fisher's exact test; where every run of one beats every run of the other, the smallest that there is.

    Args:
        controls: metric, [run].
        fixes: metric, [run].

    Returns:
        The one-sided p value; 1 for more runs than `MOST_RUNS`.

    Source: R. A. Fisher, The Design of Experiments, 1935; E. J. G. Pitman, Significance Tests Which May be Applied to Samples
    from any Populations, 1937.

    >>> round(larger_mean_chance([0.3] * 5, [0.9] * 5), 4), round(larger_mean_chance([0.3] * 9 + [0.9], [0.9] * 5), 4)
    (0.004, 0.002)
    >>> larger_mean_chance([0.3, 0.9], [0.3, 0.9])
    0.8333333333333334
    """
    chosen = len(fixes)
    if chosen > MOST_RUNS:
        return 1.0
    steps = np.rint(np.append(controls, fixes) * GRID).astype(np.int64)
    steps -= steps.min()
    steps //= max(1, int(np.gcd.reduce(steps)))
    largest = int(np.sort(steps)[-chosen:].sum())
    ways = np.zeros((chosen + 1, largest + 1))  # [runs chosen, their sum]
    ways[0, 0] = 1
    for step in steps:
        ways[1:, step:] += ways[:-1, : largest + 1 - step]
    return float(ways[chosen, int(steps[-chosen:].sum()) :].sum()) / math.comb(len(steps), chosen)


def different_means_chance(controls: Values, fixes: Values) -> float:
    """Return the two-sided p value of "the fix changes nothing at all": twice that of the side on which its mean lies.

    >>> round(different_means_chance([0.3] * 10, [0.9] * 5), 5), different_means_chance([0.3] * 5, [0.3] * 5)
    (0.00067, 1.0)
    """
    up = larger_mean_chance(controls, fixes)
    down = larger_mean_chance(np.negative(controls), np.negative(fixes))
    return min(1.0, 2 * min(up, down))
