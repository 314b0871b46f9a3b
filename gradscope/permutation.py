"""Permutation tests of factors: no normal distribution is assumed, only that what a factor does not change is exchangeable."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from gradscope.observations import FloatArray, IntArray

PERMUTATIONS = 1999  # the smallest p value is then 0.0005, a hundredth for twenty factors after Holm's correction
LEAST_WAYS = 20
"""To label what is permuted: of fewer ways each has a p value above 0.05, whatever was measured."""


def factor_p_value(values: FloatArray, code: IntArray, strata: IntArray, permutations: int = PERMUTATIONS) -> float | None:
    """Return the p value of a factor: the share of permutations with at least as large a sum of squares between its levels.

    Values are permuted within strata only, runs that agree in every other factor and in the seed, so that the test is exact
    for "the factor changes nothing, by itself or together with others", whatever the others do.

    Args:
        values: metric, [run].
        code: the factor's level, [run].
        strata: runs of one number are exchanged with each other, [run].
        permutations: how many are drawn; always the same ones.

    Returns:
        The p value, or None where no stratum has two levels of the factor.
    """
    order = np.argsort(strata, kind="stable")
    _, group, sizes = np.unique(strata[order], return_inverse=True, return_counts=True)
    level, value = code[order], values[order]
    centred = value - (np.bincount(group, weights=value) / sizes)[group]
    counts = np.bincount(level)
    if not _any_stratum_has_two(group, level):
        return None
    found = _between(centred, level, counts)
    rng = np.random.default_rng(len(values))
    uniform = len(set(sizes.tolist())) == 1
    as_extreme = 0
    for _ in range(permutations):
        if uniform:
            drawn = rng.permuted(centred.reshape(len(sizes), -1), axis=1).reshape(-1)
        else:
            drawn = centred[np.argsort(group + rng.random(len(group)))]  # in each stratum's place, by a random key
        as_extreme += _between(drawn, level, counts) >= found * (1 - 1e-9)
    return (1 + as_extreme) / (1 + permutations)


def ways(labels: IntArray) -> int:
    """Return in how many ways as many things can be labelled, swaps of labels that as many have left out.

    >>> ways(np.array([0, 0, 1, 1])), ways(np.array([0, 1, 1, 1]))
    (3, 4)
    """
    counts = np.bincount(labels).tolist()
    found = math.factorial(len(labels)) // math.prod(map(math.factorial, counts))
    return found // math.prod(math.factorial(alike) for alike in Counter(counts).values())


def _between(centred: FloatArray, level: IntArray, counts: IntArray) -> float:
    sums = np.bincount(level, weights=centred, minlength=len(counts))
    return float(np.sum(sums**2 / np.maximum(counts, 1)))


def _any_stratum_has_two(group: IntArray, level: IntArray) -> bool:
    pairs = np.unique(np.stack([group, level]), axis=1)
    return bool(len(np.unique(pairs[0])) < pairs.shape[1])
