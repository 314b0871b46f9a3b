"""Two sides of unequal size, each with its own best learning rate and its own best stack, compared without favour.

Whatever was best among many has had luck as well, and the more there were, the more of it. So the choice is made with one half
of the seeds and scored with the other, and the larger side may choose among as many stacks only as the smaller one has.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradscope.observations import FloatArray
from gradscope.student import group_interval, t_quantile

MOST_SPLITS = 20  # of the seeds in halves; more of them change the third digit of an interval

Interval = tuple[float, float]
Sided = NDArray[np.bool_]
"""Which of the stacks are on a side, [stack]."""


@dataclass(frozen=True, eq=False)
class Contest:
    """The stacks of one setting: metric [stack][rate, seed], and which of them are on the first side, [stack]."""

    scores: tuple[FloatArray, ...]
    first: Sided

    @property
    def equal_count(self) -> int:
        """As many stacks as both sides have."""
        return min(int(self.first.sum()), int((~self.first).sum()))


@dataclass(frozen=True)
class Sides:
    """What both sides came to, and the second less the first with its 95 % interval; means over settings and splits."""

    first: float
    second: float
    difference: float
    interval: Interval | None


def typical(contests: Sequence[Contest]) -> Sides:
    """Compare the mean stack of both sides, each with the learning rate that suits it."""
    return _over_splits(contests, lambda promised, count: np.full(promised.shape, 1 / len(promised)))


def best(contests: Sequence[Contest]) -> Sides:
    """Compare the best stack of both sides, out of equally many."""
    return _over_splits(contests, chances_to_be_best)


def chosen_scores(scores: Sequence[FloatArray], choosing: Sequence[int]) -> tuple[FloatArray, FloatArray]:
    """Return for each stack what its best learning rate promised and what it kept.

    Args:
        scores: metric, [stack][rate, seed].
        choosing: the seeds by whose mean the learning rate is chosen; the others score it.

    Returns:
        (mean over the choosing seeds [stack], scores with the others [stack, seed]).

    >>> promised, kept = chosen_scores([np.array([[0.9, 0.9, 0.1], [0.2, 0.8, 0.8]])], [0, 1])
    >>> promised.tolist(), kept.tolist()
    ([0.9], [[0.1]])
    """
    others = [i for i in range(scores[0].shape[1]) if i not in choosing]
    means = [of_stack[:, list(choosing)].mean(axis=1) for of_stack in scores]
    kept = [of_stack[mean.argmax(), others] for of_stack, mean in zip(scores, means, strict=True)]
    return np.array([mean.max() for mean in means]), np.array(kept)


def chances_to_be_best(promised: FloatArray, count: int) -> FloatArray:
    """Return with which probability each stack is the best, by what it promised, of `count` stacks drawn at random.

    For the stack at place i of n (from 1) that is C(n - i, count - 1) / C(n, count).

    Args:
        promised: by what the best is chosen, [stack].
        count: how many are drawn, at most the number of stacks.

    >>> chances_to_be_best(np.array([0.5, 0.9, 0.7]), 2).round(2).tolist()
    [0.0, 0.67, 0.33]
    """
    stacks = len(promised)
    chances = [math.comb(stacks - place, count - 1) / math.comb(stacks, count) for place in range(1, stacks + 1)]
    found = np.empty(stacks)
    found[np.argsort(-promised, kind="stable")] = chances
    return found


def splits(seeds: int) -> list[tuple[int, ...]]:
    """Return the halves of the seeds that choose, all of them or many that are evenly apart.

    >>> splits(4), len(splits(20))
    ([(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)], 20)
    """
    count = math.comb(seeds, seeds // 2)
    if count > 10 * MOST_SPLITS:  # too many to go through all of them
        rng = np.random.default_rng(seeds)
        return [tuple(sorted(rng.permutation(seeds)[: seeds // 2].tolist())) for _ in range(MOST_SPLITS)]
    found = list(itertools.combinations(range(seeds), seeds // 2))
    stride = max(1.0, count / MOST_SPLITS)
    return [found[int(i * stride)] for i in range(min(count, MOST_SPLITS))]


def _over_splits(contests: Sequence[Contest], weigh: Callable[[FloatArray, int], FloatArray]) -> Sides:
    """Return the means over splits of scores, differences and interval ends.

    The mean of the ends covers at least as often as each interval does: the mean difference varies less than each.

    Args:
        contests: one for each setting.
        weigh: from what a side's stacks promised, and how many may be drawn, to the weight of each stack in its score.
    """
    scores, ends = [], []
    for choosing in splits(contests[0].scores[0].shape[1]):
        sides = [_weighed(contest, choosing, weigh) for contest in contests]
        scores.append(
            np.mean([(first @ kept.mean(axis=1), second @ kept.mean(axis=1)) for first, second, kept in sides], axis=0)
        )
        ends.append(_interval([(second - first, kept) for first, second, kept in sides]))
    first, second = np.mean(scores, axis=0).tolist()
    known = [end for end in ends if end is not None]
    low, high = np.mean(known, axis=0).tolist() if known else (math.nan, math.nan)
    return Sides(first, second, second - first, (low, high) if known else None)


def _weighed(
    contest: Contest, choosing: Sequence[int], weigh: Callable[[FloatArray, int], FloatArray]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the weights of all stacks in the first side's score and in the second's, and what they kept [stack, seed]."""
    promised, kept = chosen_scores(contest.scores, choosing)
    weights = np.zeros((2, len(promised)))
    for of_side, on_it in zip(weights, (contest.first, ~contest.first), strict=True):
        of_side[on_it] = weigh(promised[on_it], contest.equal_count)
    return weights[0], weights[1], kept


def _interval(contrasts: Sequence[tuple[FloatArray, FloatArray]]) -> Interval | None:
    """Return the 95 % interval of a difference between stacks, weights [stack] and scores [stack, seed] of each setting.

    It is the wider one of two. One rests on how the difference varies over seeds, which counts what all runs of a seed share.
    The other on how seeds of a stack vary, all stacks of the setting together: of a few runs none may have collapsed by luck,
    and the first alone would take their word for it.
    """
    differences = np.array([weights @ kept for weights, kept in contrasts])
    found = group_interval(differences)
    if found is None:
        return None
    repeats = differences.shape[1]
    pooled = [float(kept.var(axis=1, ddof=1).mean() * (weights @ weights)) / repeats for weights, kept in contrasts]
    freedom = sum(len(weights) for weights, _ in contrasts) * (repeats - 1)
    half = t_quantile(freedom) * math.sqrt(sum(pooled)) / len(contrasts)
    middle = float(differences.mean())
    return min(found[0], middle - half), max(found[1], middle + half)
