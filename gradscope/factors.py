"""Which factor explains how much of the metric's variance, and whether that is more than luck."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradscope.derived_factors import derived_factors, derived_p_value
from gradscope.factor_assumptions import assumptions
from gradscope.factor_report import FactorEffect, Factors, Level
from gradscope.holm import holm
from gradscope.observations import FloatArray, IntArray, Observations, observations, strata_of
from gradscope.permutation import PERMUTATIONS, factor_p_value
from gradscope.sweep_report import CellRow
from gradscope.variance_shares import VarianceShares, ranks, variance_shares

MOST_DRAWS = 20_000_000
"""Runs times permutations times factors: some seconds; a larger sweep is permuted less often."""
FEWEST_PERMUTATIONS = 199


def factors_of(rows: Sequence[CellRow]) -> Factors | None:
    """Return the analysis of variance of a sweep.

    Returns:
        The analysis, or None where fewer than two cells are trained, no factor varies, or the metrics are not one.
    """
    seen = observations(rows)
    if len(seen.layers) < 2 or not seen.names or len({row.metric for row in rows if row.seeds}) > 1:
        return None
    shares = variance_shares(seen.values, seen.cells, seen.codes)
    permutations = min(PERMUTATIONS, max(FEWEST_PERMUTATIONS, MOST_DRAWS // (len(seen.values) * len(seen.names))))
    balanced = _is_balanced(seen)
    effects = _corrected([*_own(seen, shares, permutations), *_derived(seen, permutations)])
    return Factors(
        cells=len(seen.layers),
        runs=len(seen.values),
        effects=effects,
        interactions=shares.share(shares.interactions),
        pairs=shares.share(shares.pairs),
        higher=shares.share(shares.higher),
        seeds=shares.share(shares.seeds) if shares.seeds_freedom else float("nan"),
        balanced=balanced,
        permutations=permutations,
        assumptions=assumptions(seen, effects, balanced=balanced),
    )


def _own(seen: Observations, shares: VarianceShares, permutations: int) -> list[FactorEffect]:
    """Return the effects of the grid's factors, the largest first."""
    of_ranks = variance_shares(ranks(seen.values), seen.cells, seen.codes)
    effects = [
        FactorEffect(
            name=name,
            derived=False,
            levels=_levels(seen.values, seen.codes[i], seen.labels[i]),
            eta_squared=shares.share(shares.factors[i]),
            omega_squared=shares.omega_squared(i),
            rank_eta_squared=of_ranks.share(of_ranks.factors[i]),
            p_value=_p_value(seen, i, permutations),
            p_holm=None,
        )
        for i, name in enumerate(seen.names)
    ]
    return sorted(effects, key=lambda effect: -effect.eta_squared)


def _derived(seen: Observations, permutations: int) -> list[FactorEffect]:
    """Return the effects of what follows from the activations, each by itself."""
    effects = []
    for factor in derived_factors(seen):
        shares = variance_shares(seen.values, seen.cells, factor.code[None])
        of_ranks = variance_shares(ranks(seen.values), seen.cells, factor.code[None])
        effects.append(
            FactorEffect(
                name=factor.name,
                derived=True,
                levels=_levels(seen.values, factor.code, factor.labels),
                eta_squared=shares.share(shares.factors[0]),
                omega_squared=shares.omega_squared(0),
                rank_eta_squared=of_ranks.share(of_ranks.factors[0]),
                p_value=derived_p_value(seen, factor, permutations),
                p_holm=None,
            )
        )
    return effects


def _corrected(effects: Sequence[FactorEffect]) -> list[FactorEffect]:
    """Return the effects with p values corrected for their number."""
    corrected = holm([effect.p_value for effect in effects])
    return [effect.model_copy(update={"p_holm": p}) for effect, p in zip(effects, corrected, strict=True)]


def _levels(values: FloatArray, code: IntArray, labels: Sequence[str]) -> list[Level]:
    levels = [
        Level(value=label, mean=float(values[code == i].mean()), runs=int((code == i).sum()))
        for i, label in enumerate(labels)
        if (code == i).any()
    ]
    return sorted(levels, key=lambda level: -level.mean)


def _p_value(seen: Observations, factor: int, permutations: int) -> float | None:
    others = np.delete(seen.codes, factor, axis=0)
    return factor_p_value(seen.values, seen.codes[factor], strata_of([*others, seen.seeds]), permutations)


def _is_balanced(seen: Observations) -> bool:
    """Tell whether the grid is full and all cells have equally many runs: then all shares add up to one."""
    counts = np.bincount(seen.cells)
    return len(set(counts.tolist())) == 1 and len(seen.layers) == int(np.prod([len(labels) for labels in seen.labels]))
