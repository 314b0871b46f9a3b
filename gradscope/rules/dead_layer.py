"""GS102 dead-layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np

from gradscope.rules.base import CannotTell, Case, Judgement, Observation, Rule
from gradscope.rules.examples import example
from gradscope.rules.flow import has_way_around
from gradscope.rules.window import shut_since, too_short
from gradscope.rules.wording import why_shut
from gradscope.trace import Trace


@final
class DeadLayer(Rule):
    """A whole hidden layer is shut for every sample.

    What it does:
        Finds a hidden site all of whose units are shut (slope 0, output 0) for every one of the last 300 samples or more.
        It is a warning where a path leads around it, so that a gradient comes to earlier sites or the next site's output
        still differs from sample to sample.

    Why it is bad:
        The layer's output is zero whatever the input is, and no gradient passes it: nothing before it learns, and what comes
        after it sees a constant.

    When it is wrong:
        Branches that are meant to be off.

    Fixes:
        batchnorm-all, a lower learning rate, kaiming-normal initialisation, leaky_relu.

    Sources:
        Lu et al. 2019, Dying ReLU and Initialization.
    """

    slug, code, flow = "dead-layer", "GS102", "forward"
    steps_needed = 500  # relus that steps too large kill are dead within some dozen steps, the whole layer some dozen later

    def judge(self, trace: Trace) -> Judgement:
        """Judge each hidden site whose units can all shut."""
        if reason := too_short(trace):
            return CannotTell(reason)
        return [
            self._dead(trace, i, since)
            for i, site in enumerate(trace.sites)
            if not site.is_output and site.units and ((since := shut_since(trace, i)) >= 0).all()
        ]

    @staticmethod
    def _dead(trace: Trace, i: int, since: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Observation:
        first = int(since.max())
        name = trace.sites[i].name
        around = has_way_around(trace, i)
        passes = "no gradient passes, but what goes around it" if around else "no gradient passes"
        return Observation(
            site=i,
            first_step=first,
            severity="warning" if around else "error",
            evidence={"dead_frac": 1.0, "units": len(since), "gate_transmission": 0.0},
            cause=why_shut(trace, i, first),
            text=f"all {len(since)} units of {name} are shut for every sample from step {first}: {passes}",
        )

    @classmethod
    def cases(cls) -> Sequence[Case]:
        """One open unit makes the difference."""
        shut = {("closed_frac", 1): 1.0, ("nonpositive_frac", 1): 1.0}
        one_open = {key: [1.0] * 9 + [0.9] for key in shut}
        first = {(name, 0): 1.0 for name, _ in shut}
        chain = {("remaining", 0): 0.0, ("remaining", 1): 0.0, ("act_common_mode", 2): np.inf}
        late = np.ones((20, 10))
        late[:4] = 0.5
        return [
            Case("all shut", lambda: example(site=shut), "error", 1, 0),
            Case("shut from step 4", lambda: example(site=dict.fromkeys(shut, late)), "error", 1, 4),
            Case("shut in a residual branch", lambda: example(site=shut | {("remaining", 0): 0.3}), "warning", 1, 0),
            Case("shut in the first branch", lambda: example(site=first | {("remaining", 0): 0.0}), "warning", 0, 0),
            Case("shut in a chain", lambda: example(site=shut | chain), "error", 1, 0),
            Case("one unit open", lambda: example(site=one_open), None),
            Case("ordinary", example, None),
            Case("closed above zero, not below", lambda: example(site={("closed_frac", 1): 1.0}), None),
            Case("sixty-four samples", lambda: example(records=2), "undecided"),
        ]
