"""Analysis of variance over a nearly balanced grid: sums of squares of factors, of their interactions, of the seeds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gradscope.observations import FloatArray, IntArray

MOST_COLUMNS = 1500  # of the model with all pairs; beyond, the least squares take minutes
LEAST_FILLED = 0.5  # of the places of a grid with holes: so many hold a cell, or else
MOST_OF_CELLS = 0.5  # the rank of the model with all pairs is at most this share of the cells: near one it fits anything


@dataclass(frozen=True)
class VarianceShares:
    """Sums of squares and their degrees of freedom."""

    total: float
    factors: tuple[float, ...]
    """Type II: each given all the others."""
    freedoms: tuple[int, ...]
    interactions: float
    """Of all factors, of any number of them together."""
    pairs: float
    """Of two factors; NaN where pairs cannot be told from higher interactions."""
    higher: float
    seeds: float
    seeds_freedom: int

    def share(self, sum_of_squares: float) -> float:
        """Return eta squared: the sum of squares as a share of the total; NaN where nothing varies."""
        return sum_of_squares / self.total if self.total > 0 else float("nan")

    def omega_squared(self, factor: int) -> float:
        """Return omega squared (Hays 1963): the share without what luck alone explains; NaN without repeated cells."""
        if not self.seeds_freedom or self.total <= 0:
            return float("nan")
        error = self.seeds / self.seeds_freedom
        return (self.factors[factor] - self.freedoms[factor] * error) / (self.total + error)


def variance_shares(values: FloatArray, cells: IntArray, codes: IntArray) -> VarianceShares:
    """Return the analysis of variance of `values` with the seeds of a cell as replicates.

    On a full grid with equally many seeds in each cell the sums of squares are orthogonal and sum to the total. Else each
    factor is credited with what it explains beyond all others (type II), and what several explain alike with none. Pairs are
    not told from higher interactions where their model has too many columns, or in a sparse sample nearly as many as cells.

    Args:
        values: metric, [run].
        cells: which cell each run is of, [run].
        codes: level of each factor, [factor, run].
    """
    _, first, inverse, counts = np.unique(cells, return_index=True, return_inverse=True, return_counts=True)
    weights = counts.astype(np.float64)
    means = np.bincount(inverse, weights=values) / weights
    centred = means - np.average(means, weights=weights)
    of_cells = codes[:, first]
    parts = [_indicators([code]) for code in of_cells]
    between = float(weights @ centred**2)
    main, main_rank = _left(parts, centred, weights)
    without = [_left([*parts[:i], *parts[i + 1 :]], centred, weights) for i in range(len(parts))]
    pairs_left = _left_by_pairs(of_cells, parts, centred, weights, main)
    seeds = float(np.sum((values - means[inverse]) ** 2))
    return VarianceShares(
        total=between + seeds,
        factors=tuple(max(0.0, left - main) for left, _ in without),
        freedoms=tuple(main_rank - rank for _, rank in without),
        interactions=max(0.0, main),
        pairs=_at_least_0(main - pairs_left),
        higher=_at_least_0(pairs_left),
        seeds=seeds,
        seeds_freedom=len(values) - len(means),
    )


def _left_by_pairs(
    codes: IntArray, parts: Sequence[FloatArray], centred: FloatArray, weights: FloatArray, main: float
) -> float:
    """Return the sum of squares that main effects and pairs leave; NaN where their model fits anything."""
    if len(parts) <= 2:
        return 0.0 if len(parts) == 2 else main  # what main effects leave is the one pair's
    levels = [part.shape[1] for part in parts]
    if sum(i * j for i, j in itertools.combinations(levels, 2)) > MOST_COLUMNS:
        return math.nan
    products = [_indicators([one, other]) for one, other in itertools.combinations(codes, 2)]
    left, rank = _left([*parts, *products], centred, weights)
    is_filled = len(centred) >= LEAST_FILLED * math.prod(levels)
    return left if is_filled or rank <= MOST_OF_CELLS * len(centred) else math.nan


def _at_least_0(value: float) -> float:
    return value if math.isnan(value) else max(0.0, value)


def ranks(values: FloatArray) -> FloatArray:
    """Return the ranks from 1, equal values sharing their mean.

    >>> ranks(np.array([0.9, 0.1, 0.9, 0.5])).tolist()
    [3.5, 1.0, 3.5, 2.0]
    """
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse], dtype=np.float64)


def _indicators(codes: Sequence[IntArray]) -> FloatArray:
    """Return one column [cell] of 0 and 1 for each combination of levels that occurs."""
    _, inverse = np.unique(np.stack(codes), axis=1, return_inverse=True)
    flat = inverse.reshape(-1)  # numpy 2.0 gave it another axis
    return np.asarray(flat[:, None] == np.arange(flat.max() + 1), dtype=np.float64)


def _left(parts: Sequence[FloatArray], centred: FloatArray, weights: FloatArray) -> tuple[float, int]:
    """Return the sum of squares that the model of these columns leaves, and the model's rank."""
    root = np.sqrt(weights)
    design = np.concatenate([np.ones((len(centred), 1)), *parts], axis=1) * root[:, None]
    solution, _, rank, _ = np.linalg.lstsq(design, centred * root, rcond=None)
    return float(np.sum((centred * root - design @ solution) ** 2)), int(rank)
