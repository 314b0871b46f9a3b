"""Two sides of unequal size, each with its own best learning rate and its own best stack, compared without favour.

Whatever was best among many has had luck as well, and the more there were, the more of it. So each seed is scored by what the
other seeds chose, and the larger side may choose among as many stacks only as the smaller one has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradscope.observations import FloatArray
from gradscope.student import t_quantile

LEAST_SEEDS = 3  # with two, the interval is of no use

Interval = tuple[float, float]
Sided = NDArray[np.bool_]
"""Which of the stacks are on a side, [stack]."""
Weigh = Callable[[FloatArray, int], FloatArray]
"""From what a side's stacks promised, and how many may be drawn, to the weight of each stack in its score."""


@dataclass(frozen=True, eq=False)
class Contest:
    """The stacks of one setting: metric [stack, rate, seed], and which of them are on the first side, [stack].

    Contests that are taken together have the same seeds.
    """

    stacks: Sequence[Hashable]
    scores: FloatArray
    first: Sided

    @property
    def equal_count(self) -> int:
        """As many stacks as both sides have."""
        return min(int(self.first.sum()), int((~self.first).sum()))


@dataclass(frozen=True)
class Sides:
    """What both sides came to, and the second less the first with its 95 % interval; means over settings and seeds."""

    first: float
    second: float
    difference: float
    interval: Interval | None


@dataclass(frozen=True, eq=False)
class _Scored:
    """What the stacks of a setting scored with the chosen rates, and what each weighs in both sides' scores."""

    contest: Contest
    kept: FloatArray  # [stack, seed]
    weights: FloatArray  # [side, stack, seed]


def typical(contests: Sequence[Contest]) -> Sides:
    """Compare the mean stack of both sides, each with the learning rate that suits it."""
    has_rates = any(contest.scores.shape[1] > 1 for contest in contests)
    return _compared(contests, lambda promised, count: np.full(promised.shape, 1 / len(promised)), is_chosen=has_rates)


def best(contests: Sequence[Contest]) -> Sides:
    """Compare the best stack of both sides, out of equally many."""
    return _compared(contests, chances_to_be_best, is_chosen=True)


def chosen_scores(scores: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return for each stack and seed what the best learning rate of the other seeds promised, and what it kept.

    Args:
        scores: metric, [stack, rate, seed], of two seeds or more.

    Returns:
        (mean of the other seeds [stack, seed], score of the seed itself [stack, seed]).

    >>> promised, kept = chosen_scores(np.array([[[0.9, 0.9, 0.1], [0.3, 0.8, 0.8]]]))
    >>> promised.round(2).tolist(), kept.tolist()
    ([[0.8, 0.55, 0.9]], [[0.3, 0.8, 0.1]])
    """
    others = (scores.sum(axis=2, keepdims=True) - scores) / (scores.shape[2] - 1)
    choice = others.argmax(axis=1, keepdims=True)
    return others.max(axis=1), np.take_along_axis(scores, choice, axis=1)[:, 0]


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


def _compared(contests: Sequence[Contest], weigh: Weigh, *, is_chosen: bool) -> Sides:
    scored = [_scored(contest, weigh) for contest in contests]
    by_seed = np.mean([np.einsum("akr,kr->ar", one.weights, one.kept) for one in scored], axis=0)
    first, second = by_seed.mean(axis=1).tolist()
    return Sides(first, second, second - first, _interval(by_seed[1] - by_seed[0], scored, is_chosen=is_chosen))


def _scored(contest: Contest, weigh: Weigh) -> _Scored:
    promised, kept = chosen_scores(contest.scores)
    weights = np.zeros((2, *promised.shape))
    for of_side, on_it in zip(weights, (contest.first, ~contest.first), strict=True):
        of_side[on_it] = np.stack([weigh(of_seed, contest.equal_count) for of_seed in promised[on_it].T], axis=1)
    return _Scored(contest, kept, weights)


def _interval(differences: FloatArray, scored: Sequence[_Scored], *, is_chosen: bool) -> Interval | None:
    """Return the 95 % interval of a difference between the sides, [seed] as the mean over the settings.

    It is the wider one of two, both by Student's t. One rests on how the difference varies over seeds, which counts what all
    runs of a seed share, in whatever setting. The other on how seeds of a stack vary, all stacks together: of a few runs none
    may have collapsed by luck, and the first alone would take their word for it.
    """
    if len(differences) < LEAST_SEEDS:
        return None
    variance, freedom = _pooled(scored)
    widening = _widening(len(differences)) if is_chosen else 1.0
    of_seeds = t_quantile(len(differences) - 1) * float(differences.std(ddof=1)) / math.sqrt(len(differences))
    half = widening * max(of_seeds, t_quantile(freedom) * math.sqrt(variance))
    middle = float(differences.mean())
    return middle - half, middle + half


def _widening(seeds: int) -> float:
    """Return how much wider an interval is where each seed is scored by what the others chose.

    Any two seeds have chosen by mostly the same others, and their scores vary together. The variance is that of Nadeau and
    Bengio (Inference for the Generalization Error, 2003, equation 11), 1 / n + scoring / choosing instead of 1 / n.

    >>> round(_widening(4), 2)
    1.53
    """
    return math.sqrt(1 + seeds / (seeds - 1))


def _pooled(scored: Sequence[_Scored]) -> tuple[float, int]:
    """Return the difference's variance if all stacks of a setting vary alike, and its degrees of freedom.

    The settings are trained from the same seeds, so that a stack's scores in two of them vary together: by how much is pooled
    over the stacks that both have.
    """
    names = list(dict.fromkeys(name for one in scored for name in one.contest.stacks))
    seeds = scored[0].kept.shape[1]
    spread, weights = np.zeros((2, len(scored), len(names), seeds))
    has = np.zeros((len(scored), len(names)))
    for i, one in enumerate(scored):
        places = [names.index(name) for name in one.contest.stacks]
        spread[i, places] = one.kept - one.kept.mean(axis=1, keepdims=True)
        weights[i, places] = one.weights[1] - one.weights[0]
        has[i, places] = 1
    covariance = np.einsum("skr,tkr->st", spread, spread) / np.maximum(has @ has.T, 1) / (seeds - 1)
    overlap = np.einsum("skr,tkr->st", weights, weights)
    return max(0.0, float((covariance * overlap).sum())) / (seeds * len(scored)) ** 2, len(names) * (seeds - 1)
