"""Whether a network learns, as far as its trace tells: what makes a finding an error, or only something to know."""

from __future__ import annotations

import numpy as np

from gradscope.rules.flow import has_way_around
from gradscope.rules.window import shut_since
from gradscope.trace import Trace

# Half of the way from guessing to a perfect metric, or half of the loss gone: a network that has come so far learns.
HALF, TENTH = 0.5, 0.1
# Nine tenths of that way: whatever is wrong costs the network a tenth of what there is to learn, at most.
WELL = 0.9
ALL_THE_SAME = "; the network learns all the same"
START_LOSSES, FEWEST_LOSSES = 10, 20  # in fewer steps no network has had time to learn, and one loss may lie by chance


def has_learnt(trace: Trace) -> bool | None:
    """Tell whether the network demonstrably learns; None where neither a metric nor enough losses are known.

    The last test metric has come half of the way from chance to 1, or the loss has fallen by half, and the metric, if there is
    one, a tenth of the way at least: a loss that the first steps threw up also falls where nothing is learnt. A start that is
    itself thrown up is none to fall from: the first loss counts where it is lower than the first ten. Where a hidden layer is
    dead in the end, and nothing leads around it, the output is the same for every sample, whatever the loss has fallen from.
    """
    way, by_loss = metric_gain(trace), _by_loss(trace)
    if way is None:
        return by_loss
    return way >= HALF or (way >= TENTH and by_loss is True)


def learns_well(trace: Trace, since: int) -> bool:
    """Tell whether what was found from a step on does no harm that matters: the network has learnt all the same, and well.

    A test metric taken after that step has come nine tenths of the way from chance to 1. Where there is no metric, nine tenths
    of the loss are gone between the first and the last tenth of the training, and of the gradient at the output as much as that
    would be of a squared error: a third of it is left. A cross-entropy that large weights have thrown up falls far without
    anything being learnt; its gradient, which is what the output is wrong by, does not.
    """
    way = metric_gain(trace)
    if way is not None:
        return way >= WELL and bool(trace.evaluation_steps[-1] > since)
    tenth = len(trace.loss) // 10
    if len(trace.loss) < FEWEST_LOSSES or trace.steps_of_loss[-tenth] < since:
        return False
    is_gone = 0 < end_loss(trace) <= (1 - WELL) * float(np.median(trace.loss[:tenth]))
    return is_gone and _wrong_by(trace) <= (1 - WELL) ** 0.5


def metric_gain(trace: Trace) -> float | None:
    """Return which share of the way from guessing to a perfect score the last test metric is; None where it is not known."""
    chance = trace.task.chance
    measured = trace.evaluation_metric[trace.evaluation_steps > 0]
    if not len(measured) or not np.isfinite(chance) or chance >= 1:
        return None
    return float((measured[-1] - chance) / (1 - chance)) if np.isfinite(measured[-1]) else 0.0


def start_loss(trace: Trace) -> float:
    """Return the loss of the untrained network, NaN where it is not known.

    The test loss before the first step where there is one; else that of the first step, or the median of the first ten if that
    is lower.
    """
    if (tested := tested_at_start(trace)) is not None:
        return tested
    if not len(trace.loss) or not np.isfinite(trace.loss[0]):
        return float("nan")
    early = trace.loss[:START_LOSSES]
    return float(min(early[0], np.median(early[np.isfinite(early)])))


def tested_at_start(trace: Trace) -> float | None:
    """Return the test loss before the first step: no single batch, whose loss may lie anywhere."""
    tested = trace.evaluation_loss[trace.evaluation_steps == 0]
    return float(tested[0]) if len(tested) and np.isfinite(tested[0]) else None


def end_loss(trace: Trace) -> float:
    """Return the median of the last tenth of the losses, infinite where most of those are not finite."""
    last = trace.loss[-max(1, len(trace.loss) // 10) :]
    return float(np.median(np.where(np.isfinite(last), last, np.inf))) if len(last) else float("nan")


def _wrong_by(trace: Trace) -> float:
    """Return what is left of the gradient at the output, last tenth of the records over first; infinite if unknown."""
    seen = trace.output_grad_norm[np.isfinite(trace.output_grad_norm)]
    tenth = max(1, len(seen) // 10)
    early = float(np.median(seen[:tenth])) if len(seen) else 0.0
    return float(np.median(seen[-tenth:])) / early if early > 0 else float("inf")


def _by_loss(trace: Trace) -> bool | None:
    if len(trace.loss) < FEWEST_LOSSES:
        return None
    start = start_loss(trace)
    has_fallen = bool(end_loss(trace) <= start - HALF * abs(start)) if np.isfinite(start) else False
    return has_fallen and not _is_cut(trace)


def _is_cut(trace: Trace) -> bool:
    """Tell whether a hidden site lets nothing through in the last window of samples, and nothing leads around it."""
    hidden = [i for i, site in enumerate(trace.sites) if not site.is_output and site.units]
    return any(bool((shut_since(trace, i) >= 0).all()) and not has_way_around(trace, i) for i in hidden)
