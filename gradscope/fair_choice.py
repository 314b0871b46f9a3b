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
from gradscope.student import group_interval

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
    return _over_splits(contests, _mean_stack)


def best(contests: Sequence[Contest]) -> Sides:
    """Compare the best stack of both sides, out of equally many."""
    return _over_splits(contests, _best_stack)


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


def best_of(promised: FloatArray, kept: FloatArray, count: int) -> FloatArray:
    """Return by seed the score to expect of the best of `count` stacks drawn at random, best by what they promised.

    The stack at place i of n (from 1) is the best of those drawn with probability C(n - i, count - 1) / C(n, count).

    Args:
        promised: by what the best is chosen, [stack].
        kept: what it then scores, [stack, seed].
        count: how many are drawn, at most the number of stacks.

    >>> best_of(np.array([0.5, 0.9, 0.7]), np.array([[0.1], [0.4], [0.7]]), 2).round(3).tolist()  # 2/3 and 1/3 of the draws
    [0.5]
    """
    stacks = len(promised)
    order = np.argsort(-promised, kind="stable")
    chances = [math.comb(stacks - place, count - 1) / math.comb(stacks, count) for place in range(1, stacks + 1)]
    return np.asarray(np.array(chances) @ kept[order])


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


def _mean_stack(contest: Contest, of_side: Sided, promised: FloatArray, kept: FloatArray) -> FloatArray:
    return np.asarray(kept[of_side].mean(axis=0))


def _best_stack(contest: Contest, of_side: Sided, promised: FloatArray, kept: FloatArray) -> FloatArray:
    return best_of(promised[of_side], kept[of_side], contest.equal_count)


def _over_splits(contests: Sequence[Contest], score: Callable[[Contest, Sided, FloatArray, FloatArray], FloatArray]) -> Sides:
    """Return the means over splits of scores, differences and interval ends.

    The mean of the ends covers at least as often as each interval does: the mean difference varies less than each.
    """
    firsts, seconds, ends = [], [], []
    for choosing in splits(contests[0].scores[0].shape[1]):
        sides = [(contest, *chosen_scores(contest.scores, choosing)) for contest in contests]
        first = np.array([score(contest, contest.first, promised, kept) for contest, promised, kept in sides])
        second = np.array([score(contest, ~contest.first, promised, kept) for contest, promised, kept in sides])
        firsts.append(float(first.mean()))
        seconds.append(float(second.mean()))
        ends.append(group_interval(second - first))
    known = [end for end in ends if end is not None]
    low, high = np.mean(known, axis=0).tolist() if known else (math.nan, math.nan)
    means = float(np.mean(firsts)), float(np.mean(seconds))
    return Sides(*means, means[1] - means[0], (low, high) if known else None)
