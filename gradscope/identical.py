"""Units of a layer that compute the same, from what is known of each unit's pre-activation. numpy only."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

# Of a unit's size: a hundred times what float32 rounds sums of some hundred products to, so that units with equal weights are
# told alike whatever order their sums are taken in. Of 4,000 units that differ a few in a hundred have a neighbour so near.
TOLERANCE = 1e-5
_MEAN, _DEVIATION, _NEGATIVE = math.sqrt(2), math.pi, math.e  # in no simple proportion: no two units are alike in the sum only


def identical_frac(first: Array, mean: Array, deviation: Array) -> NDArray[np.float32]:
    """Return the share of a layer's units that compute what another one does, [record]: 0 if all differ, 1 if all are alike.

    NaN where something is not finite, 0 for a single unit.

    Args:
        first: z of the first sample, [record, unit].
        mean: of z over samples.
        deviation: standard deviation of z over samples.

    >>> same = np.array([[1.0, 1.0, 2.0]])
    >>> identical_frac(same, same, same).tolist()
    [0.5]
    """
    units = first.shape[1]
    if units < 2:
        return np.where(np.isfinite(first).all(axis=1), 0, np.nan).astype(np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        told = np.sort(_signed(first) + _MEAN * _signed(mean) + _DEVIATION * deviation, axis=1)
        apart = (np.diff(told, axis=1) > TOLERANCE * told[:, 1:]).sum(axis=1)
    return np.where(np.isfinite(told).all(axis=1), 1 - apart / (units - 1), np.nan).astype(np.float32)


def _signed(values: Array) -> Array:
    """Return positive numbers that tell x from -x, so that sums of them do not cancel and are of the units' own size."""
    return np.where(values < 0, -_NEGATIVE * values, values)
