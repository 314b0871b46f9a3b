"""GS204 diverging-loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import final

import numpy as np
from numpy.typing import NDArray

from gradscope.rules.base import CannotTell, Case, Judgement, Observation, Rule
from gradscope.rules.examples import example, untested
from gradscope.rules.learning import has_learnt, start_loss, tested_at_start
from gradscope.rules.wording import short
from gradscope.trace import FloatArray, Trace

# Twice the loss of the untrained network, which for a cross-entropy is already that of guessing: whatever was learnt is gone
# and the network is surely wrong.
RISEN = 2.0
# The very first loss alone is that of one batch, which may lie far below its fellows.
RISEN_ONE = 10.0
WINDOW = 10  # losses: one or two bad batches are no divergence
NO_LOSS = "no loss was logged; scope.log(loss=loss) tells it"


@final
class DivergingLoss(Rule):
    """The training loss rises far above its start and stays there, or rises until it overflows.

    What it does:
        Compares the median of every ten losses in a row with the start. High is above twice the median of the first ten
        losses, or ten times the very first; and above twice the test loss before the first step, where it is known. It is an
        error if the last ten losses are high, or the last one before it became infinite or NaN; a warning if the loss came
        down again, or the test metric says that the network learns all the same.

    Why it is bad:
        The network is further from the data than before the first step, and weights that have grown so far seldom come back.

    When it is wrong:
        Losses whose start is near zero or whose scale changes by design: a weight that is warmed up, adversarial training,
        rewards. A loss that only stays where it was is no divergence.

    Fixes:
        A lower learning rate, gradient clipping, learning-rate warm-up, kaiming-normal initialisation, scaled inputs.

    Sources:
        LeCun et al. 1998, Efficient BackProp, section 4.7 (beyond twice the best learning rate it diverges); Goodfellow, Bengio
        and Courville 2016, Deep Learning, section 11.4.1.
    """

    slug, code, flow = "diverging-loss", "GS204", "network"
    steps_needed = 200  # steps that are too large show within the first; what comes later is found by `expect: healthy`

    def judge(self, trace: Trace) -> Judgement:
        """Judge the training loss of all steps."""
        if not len(trace.loss):
            return CannotTell(NO_LOSS, optional=len(trace.steps) > 0)
        limit = _limit(trace)
        if not np.isfinite(limit):
            return CannotTell("the first loss is zero or not finite, so there is none to rise from", optional=True)
        finite = np.isfinite(trace.loss)
        known = trace.loss if finite.all() else trace.loss[: int(np.argmin(finite))]
        above = known > limit
        overflows = len(known) < len(trace.loss) and bool(above[-1])
        starts = _windows_above(known, limit)
        if not len(starts) and not overflows:
            return []
        if not len(starts):  # it overflowed sooner than a window is long
            starts = np.array([len(above) - int(np.argmin(above[::-1]))])
        stays = overflows or bool(np.median(known[-WINDOW:]) > limit)
        return [self._rise(trace, known, int(trace.steps_of_loss[starts[0]]), overflows=overflows, stays=stays)]

    @staticmethod
    def _rise(trace: Trace, known: FloatArray, first: int, *, overflows: bool, stays: bool) -> Observation:
        highest, start = float(known.max()), start_loss(trace)
        end = "stays there" if stays else "comes down again"
        if overflows:
            end = f"is not finite from step {int(trace.steps_of_loss[len(known)])}"
        return Observation(
            site=None,
            first_step=first,
            severity="error" if stays and not has_learnt(trace) else "warning",
            evidence={"highest": short(highest), "start": short(start), "overflows": overflows},
            cause="each step makes the loss larger: steps too large, gradients that grow, or inputs of another scale",
            text=f"the loss rises from {start:.3g} to {highest:.3g}, high since step {first}, and {end}",
        )

    @classmethod
    def cases(cls) -> Sequence[Case]:
        """A loss that stands is none that rises, and one bad batch is no divergence."""
        rising = np.geomspace(2.0, 2e6, 40)
        spike = np.full(40, 2.0)
        spike[20:23] = 50.0
        hill = np.concatenate([np.full(5, 2.0), np.full(15, 50.0), np.full(20, 1.0)])
        overflow = np.concatenate([[2.0, 8.0, 1e6], np.full(37, np.nan)])
        negative = np.linspace(-1.0, -30.0, 40)

        def of(loss: FloatArray | float, metric: float = 0.1) -> Trace:
            return example(records=40, loss=loss, metric=metric)

        return [
            Case("rises and stays", lambda: of(rising), "error"),
            Case("rises and overflows", lambda: of(overflow), "error", None, 2),
            Case("rises at once, no test loss", lambda: untested(of(np.append([2.0], np.full(39, 30.0)))), "error", None, 1),
            Case("the first batch is an easy one", lambda: untested(of(np.append([0.5], np.full(39, 2.0)))), None),
            Case("rises, but the metric is good", lambda: of(rising, 0.9), "warning"),
            Case("a hill", lambda: of(hill), "warning", None, 5),
            Case("three bad batches", lambda: of(spike), None),
            Case("stands", lambda: of(2.3), None),
            Case("falls below zero", lambda: of(negative), None),
            Case("turns NaN without rising", lambda: of(np.where(np.arange(40) < 20, 1.0, np.nan)), None),
            Case("logged now and then", lambda: replace(of(hill), loss_steps=np.arange(0, 400, 10)), "warning", None, 50),
            Case("no loss logged", lambda: example(loss=None), "undecided"),
            Case("not one finite loss", lambda: of(np.nan), "undecided"),
        ]


def _limit(trace: Trace) -> float:
    """Return what the loss may rise to; NaN where no start is known.

    Test samples may be easier than training samples, so that the test loss alone is no start of the training loss.
    """
    early = trace.loss[:WINDOW]
    if not np.isfinite(trace.loss[0]):
        return float("nan")
    starts = (float(np.median(early[np.isfinite(early)])), RISEN), (float(trace.loss[0]), RISEN_ONE)
    limit = min((start + (times - 1) * abs(start) for start, times in starts if start), default=float("nan"))
    tested = tested_at_start(trace)
    return limit if tested is None else max(limit, tested + (RISEN - 1) * abs(tested))


def _windows_above(loss: FloatArray, limit: float) -> NDArray[np.integer]:
    """Return for each window whose median is above a limit the first loss in it that is, ascending."""
    if len(loss) < WINDOW:
        return np.empty(0, np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(loss, WINDOW)
    found = np.flatnonzero(np.median(windows, axis=1) > limit)
    return np.asarray(found + np.argmax(windows[found] > limit, axis=1))
