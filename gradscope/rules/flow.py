"""The gradient's way from the loss to the input: what is left of it at each site."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradscope.rules.site_order import fed_from, leads_to
from gradscope.rules.window import window_start
from gradscope.rules.wording import ONE_SIDED
from gradscope.trace import Trace

FloatArray = NDArray[np.floating]

DECAY = "decay_to_weight"  # what weight decay shrinks a weight by in a step, in units of its size
MEASURED = "remaining"  # the site statistic; older traces have none
SHORTEST_STEPS = 1000


def remaining(trace: Trace) -> FloatArray:
    """Return norm(Gz at a site) / norm(G at the network's output), [record, site].

    Measured at each site, so that branches count as they are; for older traces the product of the transmissions, which is the
    same where each site feeds the next. 0 where no gradient passes; NaN where none was seen, in records in which none set out,
    or where something was not finite.
    """
    measured = trace.site_statistics.get(MEASURED)
    sets_out = (np.isfinite(trace.output_grad_norm) & (trace.output_grad_norm > 0))[:, None]
    if measured is None:
        return np.where(sets_out, _product(trace), np.nan)
    return np.where(sets_out, measured, np.nan)


def _product(trace: Trace) -> FloatArray:
    gates, weights = trace.site_statistics["gate_transmission"], trace.site_statistics["weight_transmission"]
    left = np.ones(len(trace.steps))
    ways = []
    for i in reversed(range(len(trace.sites))):
        with np.errstate(over="ignore", invalid="ignore"):
            step = weights[:, i].astype(np.float64) * gates[:, i].astype(np.float64)
            left = np.where(left == 0, 0.0, left * np.where((weights[:, i] == 0), 0.0, step))
        ways.append(left)
    return np.stack(ways[::-1], axis=1) if ways else np.empty((len(trace.steps), 0))


def why_unknown(trace: Trace) -> str:
    """Return why `remaining` has no number at all."""
    if not len(trace.steps):
        return "gradients were not recorded at any step"
    if not (trace.output_grad_norm > 0).any():
        return "no gradient was seen at the network's output: it needs an output that the loss is computed from"
    return "no gradient was seen at any site"


def without_gradient(trace: Trace) -> NDArray[np.bool_]:
    """Return at which sites a gradient was never seen, in a trace that has them elsewhere: the frozen part, [site]."""
    seen = ~np.isnan(trace.site_statistics["grad_rms"]).all(axis=0)
    return np.asarray(~seen & seen.any())


def has_way_around(trace: Trace, i: int) -> bool:
    """Tell whether a path leads around a site that passes nothing: a residual branch, a second tower.

    Around it a gradient comes to the sites that lead to it, or the output of one that it feeds still differs from sample to
    sample. Not to be told (False) from traces without measured gradients.
    """
    measured = trace.site_statistics.get(MEASURED)
    if measured is None:
        return False
    last = slice(window_start(trace), None)
    if (measured[last][:, leads_to(trace)[:, i]] > 0).any():
        return True
    alike = trace.site_statistics["act_common_mode"][last][:, fed_from(trace, i)]
    return bool((alike < ONE_SIDED).any())


def steps_done(trace: Trace) -> int:
    """Return how many steps the training had, as far as the trace tells: a loop need not log its loss."""
    return max((int(steps[-1]) + 1 for steps in (trace.steps, trace.steps_of_loss) if len(steps)), default=0)


def weight_columns(trace: Trace) -> list[int]:
    """Return the positions of the weights among the parameters; where none is called so, of all that are no biases."""
    own = [(i, name.rpartition(".")[2]) for i, name in enumerate(trace.parameters) if ".norm." not in name]
    return [i for i, name in own if "weight" in name] or [i for i, name in own if "bias" not in name]


def movement(trace: Trace, *, reached: bool = False) -> float | None:
    """Return how far the slowest weight matrix would move over the whole training, in units of its own size.

    The median of update_to_weight over the later half of the steps, times the planned steps (at least a thousand: a few
    steps move no network far); None where no update was recorded. A weight that has no gradient (it is frozen) does not count,
    nor, with `reached`, one whose gradient is always exactly 0: it stands still whatever is left of the gradient elsewhere.
    What weight decay alone shrinks a weight by is no movement: nothing is learnt by it.
    """
    if not len(trace.steps):
        return None
    later = 2 * trace.steps >= trace.steps[-1]
    gradients = trace.parameter_statistics["grad_rms"]
    updates = np.where(np.isfinite(gradients), trace.parameter_statistics["update_to_weight"], np.nan)[later]
    decay = trace.parameter_statistics.get(DECAY)
    if decay is not None:
        updates = np.maximum(updates - decay[later], 0)
    columns = [i for i in weight_columns(trace) if not reached or (gradients[:, i] > 0).any()]
    medians = [float(np.nanmedian(updates[:, i])) for i in columns if np.isfinite(updates[:, i]).any()]
    return min(medians) * max(trace.task.planned_steps, steps_done(trace), SHORTEST_STEPS) if medians else None


def first_weight_share(trace: Trace) -> float | None:
    """Return the gradient of the first weight that has one over that of the last, each in units of the weight's size.

    In the order of registration, which is nearly always that of the layers; None where fewer than two have a gradient.
    """
    ratios = trace.parameter_statistics["grad_to_weight"][:, weight_columns(trace)]
    seen = [float(np.nanmedian(column)) for column in ratios.T if np.isfinite(column).any()]
    return seen[0] / seen[-1] if len(seen) > 1 and seen[-1] > 0 else None


def largest_step(trace: Trace) -> float:
    """Return the largest update_to_weight of any weight, NaN where none was recorded.

    Weights that start at zero are left out: their first step is infinitely larger than they are, and all is well.
    """
    largest = float("nan")
    for column in trace.parameter_statistics["update_to_weight"].T[weight_columns(trace)]:
        seen = column[~np.isnan(column)]
        if len(seen) and not np.isinf(seen[0]):
            largest = float(np.fmax(largest, seen.max()))
    return largest
