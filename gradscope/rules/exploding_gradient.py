"""GS106 exploding-gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np

from gradscope.report import Severity
from gradscope.rules.base import CannotTell, Case, Judgement, Observation, Rule
from gradscope.rules.examples import example
from gradscope.rules.flow import remaining
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
        Multiplies the transmissions of gates and weights from the loss on (the gradient waterfall) and looks for sites at
        which a thousand times the gradient at the output arrives, in any record. It is an error if a step of the training
        was as large as the weights it changed, or the loss left the finite numbers, else a warning.

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

    def judge(self, trace: Trace) -> Judgement:
        """Judge every site by what has become of the gradient there."""
        grown = remaining(trace)
        if not np.isfinite(grown).any():
            return CannotTell("gate_transmission and weight_transmission were not recorded at any step with a gradient")
        return [
            self._growth(trace, i, grown[:, i])
            for i in range(len(trace.sites))
            if (grown[:, i][np.isfinite(grown[:, i])] > GROWN).any()
        ]

    @staticmethod
    def _growth(trace: Trace, i: int, grown: np.ndarray[tuple[int, ...], np.dtype[np.floating]]) -> Observation:
        finite = np.where(np.isfinite(grown), grown, -1.0)
        first = int(trace.steps[np.argmax(finite > GROWN)])
        updates = trace.parameter_statistics["update_to_weight"]
        largest = float(np.nanmax(updates)) if updates.size and not np.isnan(updates).all() else float("nan")
        broke = not np.isfinite(trace.loss).all()
        severity: Severity = "error" if largest > STEP or broke else "warning"
        weights = trace.site_statistics["weight_transmission"][np.argmax(finite), i:]
        steps = f"; a step was {largest:.2g} times as large as the weights it changed" if largest > STEP else ""
        return Observation(
            site=i,
            first_step=first,
            severity=severity,
            evidence={
                "times_output": short(float(finite.max())),
                "largest_update_to_weight": short(largest),
                "loss_finite": not broke,
            },
            cause=f"the weights on the way multiply the gradient by {float(np.nanmedian(weights)):.2g} a layer",
            text=f"{finite.max():.1e} times the gradient at the output arrives at {trace.sites[i].name}{steps}",
        )

    @classmethod
    def cases(cls) -> Sequence[Case]:
        """Growth with small steps is only a warning."""
        large = {("weight_transmission", i): 60.0 for i in range(3)}
        jump = {("update_to_weight", 0): 5.0}
        broken = np.where(np.arange(20) < 5, 1e4, np.nan)
        return [
            Case("grows, steps too large", lambda: example(site=large, parameter=jump), "error", 1, 0),
            Case("grows, loss overflows", lambda: example(site=large, loss=broken), "error", 1, 0),
            Case("grows, steps small", lambda: example(site=large), "warning", 1, 0),
            Case("ordinary", example, None),
            Case("nothing recorded", lambda: example(records=0), "undecided"),
        ]
