"""The gradient's way from the loss to the input: what is left of it at each site."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradscope.trace import Trace

FloatArray = NDArray[np.floating]

SHORTEST_STEPS = 1000


def remaining(trace: Trace) -> FloatArray:
    """Return norm(Gz at a site) / norm(G at the network's output), [record, site]: the product of the transmissions.

    0 from where on no gradient passes; NaN in records in which none set out, or something was not finite.
    """
    gates, weights = trace.site_statistics["gate_transmission"], trace.site_statistics["weight_transmission"]
    sets_out = trace.output_grad_norm > 0
    left = np.ones(len(trace.steps))
    ways = []
    for i in reversed(range(len(trace.sites))):
        with np.errstate(over="ignore", invalid="ignore"):
            step = weights[:, i].astype(np.float64) * gates[:, i].astype(np.float64)
            left = np.where(left == 0, 0.0, left * np.where((weights[:, i] == 0), 0.0, step))
        ways.append(left)
    if not ways:
        return np.empty((len(trace.steps), 0))
    return np.where(sets_out[:, None], np.stack(ways[::-1], axis=1), np.nan)


def movement(trace: Trace) -> float | None:
    """Return how far the slowest weight matrix would move over the whole training, in units of its own size.

    The median of update_to_weight over the later half of the steps, times the planned steps (at least a thousand: a few
    steps move no network far); None where no update was recorded.
    """
    if not len(trace.steps):
        return None
    updates = trace.parameter_statistics["update_to_weight"][2 * trace.steps >= trace.steps[-1]]
    columns = [i for i, name in enumerate(trace.parameters) if name.endswith("weight") and ".norm." not in name]
    medians = [float(np.nanmedian(updates[:, i])) for i in columns if np.isfinite(updates[:, i]).any()]
    return min(medians) * max(trace.task.planned_steps, len(trace.loss), SHORTEST_STEPS) if medians else None
