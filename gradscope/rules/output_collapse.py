"""GS103 output-collapse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np

from gradscope.report import Severity
from gradscope.rules.base import CannotTell, Case, Judgement, Observation, Rule
from gradscope.rules.examples import UNITS, example
from gradscope.rules.window import shut_since, too_short
from gradscope.rules.wording import short, why_shut
from gradscope.trace import Trace

# Share of the output units. Each one that is shut is a class (or a number) that can no longer be predicted; below one in
# twenty the loss of accuracy is within what other causes do.
ERROR_FRAC = 0.05


@final
class OutputCollapse(Rule):
    """Units of the network's output are shut for every sample.

    What it does:
        Looks at a non-linearity that stands on the network's output and counts the units that are shut (slope 0, output 0)
        for every one of the last 300 samples or more. It tells a partial collapse (some units) from a total one (all).

    Why it is bad:
        A shut output unit says the same for every sample and gets no gradient: its class is lost for good. A partial
        collapse caps the accuracy while every gradient norm looks ordinary; in a total one every gradient is exactly 0.

    When it is wrong:
        Regression on targets of which some are always zero; then a shut unit is right.

    Fixes:
        No relu on the output at all; batchnorm-last; batchnorm-all.

    Sources:
        The (sigmoid, relu) experiments of Nikhil, Is ReLU After Sigmoid Bad?, 2018; Lu et al. 2019, Dying ReLU.
    """

    slug, code, flow = "output-collapse", "GS103", "forward"
    steps_needed = 200  # output units that collapse behind a layer of common mode are shut within ten steps or so

    def judge(self, trace: Trace) -> Judgement:
        """Judge the output site, where there is one whose units can shut."""
        outputs = [i for i, site in enumerate(trace.sites) if site.is_output and site.shuts.any()]
        if not outputs:
            return []
        if reason := too_short(trace):
            return CannotTell(reason)
        shut = {i: shut_since(trace, i) for i in outputs}  # several, where a network has several heads
        return [self._collapse(trace, i, since, int((since >= 0).sum())) for i, since in shut.items() if (since >= 0).any()]

    @staticmethod
    def _collapse(trace: Trace, i: int, since: np.ndarray[tuple[int, ...], np.dtype[np.int64]], dead: int) -> Observation:
        first, total = int(since[since >= 0].min()), dead == len(since)
        severity: Severity = "error" if dead >= ERROR_FRAC * len(since) else "warning"
        name = trace.sites[i].name
        text = f"{dead} of {len(since)} output units ({name}) are shut for every sample: a partial collapse, the others train"
        if total:
            text = f"all {len(since)} output units ({name}) are shut from step {int(since.max())}: every gradient is exactly 0"
        return Observation(
            site=i,
            first_step=first,
            severity=severity,
            evidence={
                "closed_frac": short(dead / len(since)),
                "dead_units": dead,
                "units": len(since),
                "total": total,
                "last_unit_shut_at_step": int(since.max()),
            },
            cause=why_shut(trace, i, first),
            text=text,
        )

    @classmethod
    def cases(cls) -> Sequence[Case]:
        """The same units are harmless in a tanh output, and one step of zeros is no collapse."""
        some = {(name, 2): [1.0] * 6 + [0.7] * (UNITS - 6) for name in ("closed_frac", "nonpositive_frac")}
        every = dict.fromkeys(some, 1.0)
        blink = np.full((20, 10), 0.9)
        blink[10:14] = 1.0
        below = {("nonpositive_frac", 2): 1.0, ("closed_frac", 2): 0.0}
        return [
            Case("six of ten", lambda: example(site=some), "error", 2, 0),
            Case("all", lambda: example(site=every), "error", 2, 0),
            Case("shut for four steps only", lambda: example(site=dict.fromkeys(some, blink)), None),
            Case("tanh below zero for every sample", lambda: example(("shuts", "shuts", "saturates"), site=below), None),
            Case("relu not on the output", lambda: example(site=every, output=False), None),
            Case("ninety per cent zeros", lambda: example(site=dict.fromkeys(some, 0.9)), None),
            Case("ninety-six samples", lambda: example(records=3, site=some), "undecided"),
        ]
