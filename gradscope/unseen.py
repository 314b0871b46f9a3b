"""What a few runs leave open: how many runs of a fix may fail that were not seen, and how many would undo its gain.

Five runs that all learn are what a fix shows in 59 % of trials that fails in one run of ten (0.9^5). So whether it is better
*on average* is not told by how far its runs are above the control's, but by which share of failures would undo that, beside
the share that the runs rule out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gradscope.interval import CONFIDENCE

AT_CHANCE = 0.0005  # a run has failed that is no more than this above chance: half of the last digit, 0.1 %, that is shown


def failures(values: Sequence[float], chance: float) -> int:
    """Return how many runs are no better than chance, or have no finite metric.

    >>> failures([0.9, 0.1, float("nan")], 0.1)
    2
    """
    return sum(not value > chance + AT_CHANCE for value in values)


def most_failures(failed: int, runs: int, confidence: float = CONFIDENCE) -> float:
    """Return the largest share of failing runs that is not ruled out: the upper end of Clopper and Pearson's interval.

    Args:
        failed: how many failed.
        runs: of so many.
        confidence: two-sided level.

    Source: C. J. Clopper and E. S. Pearson, The Use of Confidence or Fiducial Limits Illustrated in the Case of the Binomial,
    Biometrika 26, 1934.

    >>> round(most_failures(0, 5), 2), round(most_failures(1, 5), 2), most_failures(5, 5)
    (0.52, 0.72, 1.0)
    """
    if failed >= runs:
        return 1.0
    low, high = failed / runs, 1.0
    for _ in range(40):  # halved to below what a float shows
        share = (low + high) / 2
        as_few = sum(math.comb(runs, k) * share**k * (1 - share) ** (runs - k) for k in range(failed + 1))
        low, high = (share, high) if as_few > (1 - confidence) / 2 else (low, share)
    return high


def undone_by(controls: Sequence[float], fix: Sequence[float], chance: float) -> float | None:
    """Return the share of failing runs, at chance, with which a fix would be no better than the control.

    Args:
        controls: metric of all runs of the control, [run].
        fix: metric, [run]; those that failed do not count.
        chance: what a failed run scores.

    Returns:
        The share, or None where the runs of the fix that did not fail are no better than the control's mean.

    >>> round(undone_by([0.85] * 5, [0.91] * 5, 0.1), 2), undone_by([0.1] * 5, [0.9] * 5, 0.1), undone_by([0.9], [0.8], 0.1)
    (0.07, 1.0, None)
    """
    learnt = [value for value in fix if value > chance + AT_CHANCE]
    if not learnt or not len(controls) or float(np.mean(learnt)) <= float(np.mean(controls)):
        return None
    good = float(np.mean(learnt))
    return min(1.0, (good - float(np.mean(controls))) / (good - chance))
