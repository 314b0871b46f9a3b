"""What an analysis of variance rests on, and whether it holds here, in plain words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gradscope.factor_report import FactorEffect
from gradscope.observations import FloatArray, Observations
from gradscope.permutation import LEAST_WAYS

SKEWED = 1.0  # of the residuals: beyond it, nobody would call them normal
FLAT, PEAKED = 2.0, 6.0  # kurtosis likewise; two values alone have 1 to 2, a uniform distribution 1.8
STILL, MOST_STILL = 0.05, 0.05
"""Cells whose seeds spread by less than that share of what all do, and how many of them there may be: of normal residuals one
in 400 at three seeds; of networks that collapse or do not a third, whose skew and kurtosis may be those of normal ones."""
LEAST_SEEDS = 3
UNBALANCED = (
    "the grid is not full, or cells differ in number of seeds: where two factors change together, as where one learning rate "
    "was tried with one activation only, nobody can tell which of them it was, and neither has it in its share. A share of 0 "
    "beside levels that differ means that, and not that the factor does nothing"
)
UNEQUAL = 3.0  # times the median standard deviation of a cell: rule of thumb for F tests on equal counts


def assumptions(seen: Observations, effects: Sequence[FactorEffect], *, balanced: bool) -> list[str]:
    """Return one sentence for each assumption."""
    said = []
    if not balanced:
        said.append(UNBALANCED)
    if len(seen.values) == len(seen.layers):
        said.append("each cell has a single run: luck cannot be told from interactions, there is no omega squared")
    else:
        said += [*_normality(seen), _equal_spread(seen)]
    return [*said, *_permuted(effects)]


def _permuted(effects: Sequence[FactorEffect]) -> Iterator[str]:
    """Yield what the p values that there are rest on."""
    own, derived = (any(e.p_value is not None for e in effects if e.derived is which) for which in (False, True))
    if own:
        yield "p values are by permutation within runs that agree in all else, whatever the distribution"
    if derived:
        yield "those in brackets by permutation of whole stacks" if own else "p values are by permutation of whole stacks"
    lacking = [f"({effect.name})" for effect in effects if effect.derived and effect.p_value is None]
    if lacking:
        ways = f"fewer than {LEAST_WAYS} ways to label so few stacks, of which the one seen can never be rare"
        yield f"no p value for {' and '.join(lacking)}: there are {ways}"


def _normality(seen: Observations) -> Iterator[str]:
    """Yield what the residuals look like; of two seeds they are mirrored in each cell, and say nothing."""
    if int(np.bincount(seen.cells).max()) < LEAST_SEEDS:
        return
    residuals = seen.values - (np.bincount(seen.cells, weights=seen.values) / np.bincount(seen.cells))[seen.cells]
    spread = float(residuals.std())
    if spread == 0:
        yield "all seeds of a cell score the same: there are no residuals"
        return
    skew, kurtosis = (float(np.mean((residuals / spread) ** power)) for power in (3, 4))
    still = float(np.mean(_deviations(seen) < STILL * spread))
    looks_normal = abs(skew) <= SKEWED and FLAT <= kurtosis <= PEAKED and still <= MOST_STILL
    verdict = "they look normal" if looks_normal else "they are not normal"
    numbers = f"skew {skew:.1f} and kurtosis {kurtosis:.1f} (0 and 3 if normal)"
    numbers += f", and hardly vary in {100 * still:.0f} % of the cells" if still > MOST_STILL else ""
    yield f"residuals (a run less its cell's mean) have {numbers}: {verdict}"


def _equal_spread(seen: Observations) -> str:
    deviations = _deviations(seen)
    median, largest = float(np.median(deviations)), float(deviations.max())
    unequal = largest > UNEQUAL * median
    verdict = "unequal, so that omega squared is a rough figure and the ranks tell more" if unequal else "about equal"
    return f"seeds of a cell spread by {median:.2g} in the median cell and by {largest:.2g} in the widest one: {verdict}"


def _deviations(seen: Observations) -> FloatArray:
    """Return the standard deviation of the seeds of each cell that has more than one, [cell]."""
    counts = np.bincount(seen.cells)
    means = np.bincount(seen.cells, weights=seen.values) / counts
    squares = np.bincount(seen.cells, weights=(seen.values - means[seen.cells]) ** 2)
    return np.asarray(np.sqrt(squares[counts > 1] / (counts[counts > 1] - 1)))
