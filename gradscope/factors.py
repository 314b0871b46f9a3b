"""Which factor explains how much of the metric's variance, and whether that is more than luck."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradscope.factor_report import FactorEffect, Factors, Level
from gradscope.observations import FloatArray, IntArray, Observations, families, is_pure, observations
from gradscope.permutation import PERMUTATIONS, factor_p_value, holm
from gradscope.sweep_report import CellRow
from gradscope.variance_shares import VarianceShares, ranks, variance_shares

SAME, FAMILIES = "same", "families"
"""Derived factors: whether all layers have one activation, and of which family or families the activations are."""
MOST_DRAWS = 20_000_000
"""Runs times permutations times factors: some seconds; a larger sweep is permuted less often."""
FEWEST_PERMUTATIONS = 199
SKEWED = 1.0  # of the residuals: beyond it, nobody would call them normal
UNEQUAL = 3.0  # times the median standard deviation of a cell: rule of thumb for F tests on equal counts


def factors_of(rows: Sequence[CellRow]) -> Factors | None:
    """Return the analysis of variance of a sweep.

    Returns:
        The analysis, or None where fewer than two cells are trained, no factor varies, or the metrics are not one.
    """
    seen = observations(rows)
    if len(seen.layers) < 2 or not seen.names or len({row.metric for row in rows if row.seeds}) > 1:
        return None
    shares = variance_shares(seen.values, seen.cells, seen.codes)
    of_ranks = variance_shares(ranks(seen.values), seen.cells, seen.codes)
    derived = _derived(seen)
    permutations = min(PERMUTATIONS, MOST_DRAWS // (len(seen.values) * len(seen.names)))
    permutations = max(FEWEST_PERMUTATIONS, permutations)
    p_values = [_p_value(seen, i, permutations) for i in range(len(seen.names))]
    p_values += [_p_value_of_stacks(seen, code, permutations) for _, code, _ in derived]
    corrected = holm(p_values)
    effects = [
        FactorEffect(
            name=name,
            derived=False,
            levels=_levels(seen.values, seen.codes[i], seen.labels[i]),
            eta_squared=shares.share(shares.factors[i]),
            omega_squared=shares.omega_squared(i),
            rank_eta_squared=of_ranks.share(of_ranks.factors[i]),
            p_value=p_values[i],
            p_holm=corrected[i],
        )
        for i, name in enumerate(seen.names)
    ]
    effects.sort(key=lambda effect: -effect.eta_squared)
    effects += [_derived_effect(seen, *one, p_values[i], corrected[i]) for i, one in enumerate(derived, start=len(seen.names))]
    balanced = _balanced(seen, shares)
    return Factors(
        cells=len(seen.layers),
        runs=len(seen.values),
        effects=effects,
        pairs=shares.share(shares.pairs),
        higher=shares.share(shares.higher),
        seeds=shares.share(shares.seeds),
        balanced=balanced,
        permutations=permutations,
        assumptions=_assumptions(seen, shares, balanced=balanced),
    )


def _levels(values: FloatArray, code: IntArray, labels: Sequence[str]) -> list[Level]:
    levels = [
        Level(value=label, mean=float(values[code == i].mean()), runs=int((code == i).sum()))
        for i, label in enumerate(labels)
        if (code == i).any()
    ]
    return sorted(levels, key=lambda level: -level.mean)


def _p_value(seen: Observations, factor: int, permutations: int) -> float | None:
    others = np.delete(seen.codes, factor, axis=0)
    return factor_p_value(seen.values, seen.codes[factor], _strata([*others, seen.seeds]), permutations)


def _strata(columns: Sequence[IntArray]) -> IntArray:
    """Return a number for each combination of what the columns say, [run]."""
    return np.asarray(np.unique(np.stack(columns), axis=1, return_inverse=True)[1].reshape(-1), dtype=np.int64)


def _derived(seen: Observations) -> list[tuple[str, IntArray, list[str]]]:
    """Return name, level [run] and labels of each derived factor that varies."""
    if not any(seen.layers):
        return []
    pure = ["one activation" if is_pure(layers) else "mixed" for layers in seen.layers]
    groups = [" and ".join(families(layers)) or "none" for layers in seen.layers]
    found = []
    for name, texts in ((SAME, pure), (FAMILIES, groups)):
        labels = list(dict.fromkeys(texts))
        if len(labels) > 1:
            found.append((name, np.array([labels.index(text) for text in texts])[seen.cells], labels))
    return found


def _derived_effect(
    seen: Observations, name: str, code: IntArray, labels: list[str], p_value: float | None, corrected: float | None
) -> FactorEffect:
    one = code[None, :]
    shares = variance_shares(seen.values, seen.cells, one)
    of_ranks = variance_shares(ranks(seen.values), seen.cells, one)
    return FactorEffect(
        name=name,
        derived=True,
        levels=_levels(seen.values, code, labels),
        eta_squared=shares.share(shares.factors[0]),
        omega_squared=shares.omega_squared(0),
        rank_eta_squared=of_ranks.share(of_ranks.factors[0]),
        p_value=p_value,
        p_holm=corrected,
    )


def _p_value_of_stacks(seen: Observations, code: IntArray, permutations: int) -> float | None:
    """Return the p value of what whole stacks have: it is permuted over stacks, whose runs stay together.

    What the other factors do is taken off before: each run's difference to the mean of its setting.
    """
    setting = _strata([*(seen.code(name) for name in seen.names if not name.startswith("act")), np.zeros_like(seen.cells)])
    centred = seen.values - (np.bincount(setting, weights=seen.values) / np.bincount(setting))[setting]
    names = list(dict.fromkeys(seen.layers))
    stack = np.array([names.index(layers) for layers in seen.layers])[seen.cells]
    means = np.bincount(stack, weights=centred) / np.bincount(stack)
    labels = np.zeros(len(names), dtype=np.int64)
    labels[stack] = code
    return factor_p_value(means, labels, np.zeros_like(labels), permutations)


def _balanced(seen: Observations, shares: VarianceShares) -> bool:
    """Tell whether the grid is full and all cells have equally many runs: then all shares add up to one."""
    counts = np.bincount(seen.cells)
    return len(set(counts.tolist())) == 1 and len(seen.layers) == int(np.prod([len(labels) for labels in seen.labels]))


def _assumptions(seen: Observations, shares: VarianceShares, *, balanced: bool) -> list[str]:
    said = []
    if not balanced:
        said.append(
            "the grid is not full, or cells have different numbers of seeds: what factors explain alike counts for none"
        )
    if not shares.seeds_freedom:
        return [*said, "each cell has a single run: luck cannot be told from interactions, there is no omega squared"]
    said.append(_normality(seen))
    said.append(_equal_spread(seen))
    said.append("p values are by permutation within runs that agree in all else, and need neither")
    return said


def _normality(seen: Observations) -> str:
    residuals = seen.values - (np.bincount(seen.cells, weights=seen.values) / np.bincount(seen.cells))[seen.cells]
    spread = float(residuals.std())
    if spread == 0:
        return "all seeds of a cell score the same: there are no residuals"
    skew, kurtosis = (float(np.mean((residuals / spread) ** power)) for power in (3, 4))
    verdict = "they are not normal" if abs(skew) > SKEWED or abs(kurtosis - 3) > 3 * SKEWED else "they look normal"
    numbers = f"skew {skew:.1f} and kurtosis {kurtosis:.1f} (0 and 3 if normal)"
    return f"residuals (a run less its cell's mean) have {numbers}: {verdict}"


def _equal_spread(seen: Observations) -> str:
    counts = np.bincount(seen.cells)
    means = np.bincount(seen.cells, weights=seen.values) / counts
    squares = np.bincount(seen.cells, weights=(seen.values - means[seen.cells]) ** 2)
    deviations = np.sqrt(squares[counts > 1] / (counts[counts > 1] - 1))
    median, largest = float(np.median(deviations)), float(deviations.max())
    unequal = largest > UNEQUAL * median
    verdict = "unequal, so that omega squared is a rough figure and the ranks tell more" if unequal else "about equal"
    return f"seeds of a cell spread by {median:.2g} in the median cell and by {largest:.2g} in the widest one: {verdict}"
