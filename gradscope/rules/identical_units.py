"""GS109 identical-units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import final

import numpy as np

from gradscope.report import Severity
from gradscope.rules.base import CannotTell, Case, Judgement, Observation, Rule
from gradscope.rules.examples import example
from gradscope.rules.learning import has_learnt
from gradscope.rules.site_order import fed_by
from gradscope.rules.window import too_short, window_start
from gradscope.rules.wording import short
from gradscope.trace import Trace

STATISTIC = "identical_frac"
# Shares of a layer's units, those of GS101: what a dead unit does not add, a copy does not add either.
WARNING_FRAC, ERROR_FRAC = 0.4, 0.8


@final
class IdenticalUnits(Rule):
    """Units of a layer compute the same, and go on doing so.

    What it does:
        Counts at each site the units whose z another unit has as well: equal, to a hundred-thousandth of its size, on the first
        sample, in the mean and in the spread, in every record of the last 300 samples or more. Units that differ by anything
        in their weights, or in the gradient that they receive, are told apart by that. Not judged where what comes in is the
        same for all samples: there it is the layer before that fails.

    Why it is bad:
        Units with equal weights in and out receive equal gradients, so they stay equal for ever: the layer is as narrow as the
        number of units that differ, one after an initialisation with zeros or a constant.

    When it is wrong:
        Units that were pruned to zero; copies that are meant to be. If the network learns all the same it is a warning.

    Fixes:
        kaiming-normal or xavier-normal initialisation of the weights; zeros are for biases only.

    Sources:
        Goodfellow, Bengio and Courville 2016, Deep Learning, section 8.4 (initial parameters must break symmetry).
    """

    slug, code, flow = "identical-units", "GS109", "forward"
    steps_needed = 200  # it is the initialisation that shows it; some steps later what was going to differ does

    def judge(self, trace: Trace) -> Judgement:
        """Judge each site with more than one unit."""
        if STATISTIC not in trace.site_statistics:
            return CannotTell(f"{STATISTIC} was not recorded by the gradscope that wrote this trace", optional=True)
        if reason := too_short(trace):
            return CannotTell(reason.replace("closed_frac", STATISTIC).replace("a unit dead", "units identical"))
        found = (self._site(trace, i) for i, site in enumerate(trace.sites) if site.units > 1)
        return [observation for observation in found if observation]

    @staticmethod
    def _site(trace: Trace, i: int) -> Observation | None:
        shares = trace.site_statistics[STATISTIC][:, i]
        passed = np.isfinite(shares)
        last = shares[window_start(trace) :]
        last = last[np.isfinite(last)]
        share = float(last.min()) if len(last) else 0.0
        if share < WARNING_FRAC or _is_fed_by_constant(trace, i):
            return None
        before = np.flatnonzero((shares < WARNING_FRAC) & passed)
        first = int(trace.steps[before[-1] + 1]) if len(before) else int(trace.steps[0])
        units, name = trace.sites[i].units, trace.sites[i].name
        severity: Severity = "error" if share >= ERROR_FRAC and not has_learnt(trace) else "warning"
        distinct = round(units - share * (units - 1))
        same = f"all {units} units of {name} compute the same"
        if distinct > 1:
            same = f"of {units} units of {name} only {distinct} compute something of their own"
        return Observation(
            site=i,
            first_step=first,
            severity=severity,
            evidence={"identical_frac": short(share), "distinct_units": distinct, "units": units},
            cause="they have equal weights since the initialisation (zeros, or one constant), and receive equal gradients"
            if first == 0
            else f"their weights became equal by step {first}",
            text=f"{same}, in every record of the last window",
        )

    @classmethod
    def cases(cls) -> Sequence[Case]:
        """Units that part after some steps, and a layer that is fed a constant, are none of this rule's."""
        parting = np.where(np.arange(20) < 3, 1.0, 0.0)
        constant = {("identical_frac", 1): 1.0, ("act_common_mode", 0): np.inf}
        old = replace(example(), site_statistics={k: v for k, v in example().site_statistics.items() if k != STATISTIC})
        return [
            Case("all units", lambda: example(site={(STATISTIC, 0): 1.0}, metric=0.2), "error", 0, 0),
            Case("all units of a network that learns", lambda: example(site={(STATISTIC, 0): 1.0}), "warning", 0, 0),
            Case("half of the units", lambda: example(site={(STATISTIC, 1): 0.5}, metric=0.2), "warning", 1, 0),
            Case("at the first steps only", lambda: example(site={(STATISTIC, 1): parting}, metric=0.2), None),
            Case("fed a constant", lambda: example(site=constant, metric=0.2), None),
            Case("two of ten", lambda: example(site={(STATISTIC, 1): 0.11}), None),
            Case("ordinary", example, None),
            Case("a trace of before it was recorded", lambda: old, "undecided"),
            Case("sixty-four samples", lambda: example(records=2), "undecided"),
        ]


def _is_fed_by_constant(trace: Trace, i: int) -> bool:
    """Tell whether all that is fed to a site by others is the same for every sample."""
    before = fed_by(trace, i)
    return bool(before) and bool(np.isinf(trace.site_statistics["act_common_mode"][window_start(trace) :, before]).all())
