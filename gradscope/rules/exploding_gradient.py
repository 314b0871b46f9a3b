"""GS106 exploding-gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np

from gradscope.report import Severity
from gradscope.rules.base import CannotTell, Case, Judgement, Observation, Rule
from gradscope.rules.examples import example
from gradscope.rules.flow import largest_step, remaining, why_unknown
from gradscope.rules.learning import ALL_THE_SAME, learns_well
from gradscope.rules.wording import short
from gradscope.trace import Trace

# The mirror image of the vanishing gradient: three orders of magnitude more than at the output.
GROWN = 1e3
# A step as large as the weights themselves replaces them.
STEP = 1.0


@final
class ExplodingGradient(Rule):
    """The gradient grows on its way from the loss, or a step is as large as the weights it changes.

    What it does:
        Measures at each site how much of the gradient at the network's output arrives (the gradient waterfall) and looks for
        those with a thousand times as much, in any record. It is an error if a step of the training was as large as the
        weights it changed (biases, and weights that start at zero, apart), or the loss left the finite numbers, else a warning.
        Also a warning where the network learns all the same: nine tenths of the way from guessing to a perfect test metric or,
        without one, nine tenths of the loss gone.

    Why it is bad:
        Steps that replace the weights undo what was learnt; soon losses overflow, or every relu is shut.

    When it is wrong:
        Optimizers that rescale each step, and clipping, keep the steps small: then it is a warning. A norm layer right before
        the output divides by a small spread and can show a large ratio at the last layers only.

    Fixes:
        A lower learning rate, kaiming-normal or xavier-normal initialisation, batchnorm-all, gradient clipping.

    Sources:
        Pascanu, Mikolov and Bengio 2013, On the Difficulty of Training Recurrent Neural Networks.
    """

    slug, code, flow = "exploding-gradient", "GS106", "backward"
    steps_needed = 200  # the first steps throw the weights away; a ratio above the limit in any record stays one
    is_final = True

    def judge(self, trace: Trace) -> Judgement:
        """Judge every site by what has become of the gradient there."""
        grown = remaining(trace)
        if not np.isfinite(grown).any():
            return CannotTell(why_unknown(trace))
        return [
            self._growth(trace, i, grown[:, i])
            for i in range(len(trace.sites))
            if (grown[:, i][np.isfinite(grown[:, i])] > GROWN).any()
        ]

    @staticmethod
    def _growth(trace: Trace, i: int, grown: np.ndarray[tuple[int, ...], np.dtype[np.floating]]) -> Observation:
        finite = np.where(np.isfinite(grown), grown, -1.0)
        first = int(trace.steps[np.argmax(finite > GROWN)])
        largest = largest_step(trace)
        broke = not np.isfinite(trace.loss).all()  # of a loss that nobody logged there is nothing, not a NaN
        harmless = learns_well(trace, first)
        severity: Severity = "error" if (largest > STEP or broke) and not harmless else "warning"
        weights = trace.site_statistics["weight_transmission"][np.argmax(finite), i:]
        weights = weights[np.isfinite(weights)]
        each = f" by {float(np.median(weights)):.2g} a layer" if len(weights) else ""
        steps = f"; a step was {largest:.2g} times as large as the weights it changed" if largest > STEP else ""
        steps += ALL_THE_SAME * harmless
        return Observation(
            site=i,
            first_step=first,
            severity=severity,
            evidence={
                "times_output": short(float(finite.max())),
                "largest_update_to_weight": short(largest),
                "loss_finite": not broke if len(trace.loss) else None,
            },
            cause=f"the weights on the way multiply the gradient{each}",
            text=f"{finite.max():.1e} times the gradient at the output arrives at {trace.sites[i].name}{steps}",
        )

    @classmethod
    def cases(cls) -> Sequence[Case]:
        """Growth with small steps is only a warning."""
        large = {("weight_transmission", i): 60.0 for i in range(3)}
        jump = {("update_to_weight", 0): 5.0}
        from_zero = {("update_to_weight", 0): [np.inf, 1.9, *[0.1] * 18]}
        broken = np.where(np.arange(20) < 5, 1e4, np.nan)
        return [
            Case("grows, steps too large", lambda: example(site=large, parameter=jump), "error", 1, 0),
            Case("grows, learns well", lambda: example(site=large, metric=0.97, parameter=jump), "warning", 1, 0),
            Case("grows, loss overflows", lambda: example(site=large, loss=broken), "error", 1, 0),
            Case("grows, steps small", lambda: example(site=large), "warning", 1, 0),
            Case("grows, no loss logged", lambda: example(site=large, loss=None), "warning", 1, 0),
            Case("grows, a bias starts at zero", lambda: example(site=large, parameter=from_zero), "warning", 1, 0),
            Case("grows around the gates", lambda: example(site={("remaining", 0): 2e3}), "warning", 0, 0),
            Case("ordinary", example, None),
            Case("nothing recorded", lambda: example(records=0), "undecided"),
        ]
