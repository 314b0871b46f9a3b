"""What an analysis of variance rests on, and whether it holds here, in plain words."""

from __future__ import annotations

import numpy as np

from gradscope.observations import Observations

SKEWED = 1.0  # of the residuals: beyond it, nobody would call them normal
UNEQUAL = 3.0  # times the median standard deviation of a cell: rule of thumb for F tests on equal counts


def assumptions(seen: Observations, *, balanced: bool) -> list[str]:
    """Return one sentence for each assumption."""
    said = []
    if not balanced:
        said.append("the grid is not full, or cells differ in number of seeds: what factors explain alike counts for no one")
    if len(seen.values) == len(seen.layers):
        return [*said, "each cell has a single run: luck cannot be told from interactions, there is no omega squared"]
    said += [_normality(seen), _equal_spread(seen)]
    return [*said, "p values are by permutation within runs that agree in all else, and need neither"]


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
