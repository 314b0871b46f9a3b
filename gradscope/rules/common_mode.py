"""GS108 common-mode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np

from gradscope.report import Severity
from gradscope.rules.base import CannotTell, Case, Judgement, Observation, Rule
from gradscope.rules.examples import example
from gradscope.rules.flow import without_gradient
from gradscope.rules.window import median_common_mode_at_start
from gradscope.rules.wording import ONE_SIDED, fed_by_constant, other_side, percent, short, times
from gradscope.trace import Trace


@final
class CommonMode(Rule):
    """Before the first step, the units of a shutting layer already say the same for every sample: predicted death.

    What it does:
        At step 0, at sites that can shut (relu and its kin), takes abs(mean z) / std z over samples for each unit. For a
        Gaussian z the share of samples on the other side of zero is Phi of minus that. The median unit is one-sided when the
        share is below 1 % (2.33 standard deviations): the same share that the dead-* rules can tell from none. The
        threshold follows from that share, not from tuning.

    Why it is bad:
        The sign of z is the same for all samples, so about half of the units are shut from the start and the others are
        linear. Gradient descent shuts more, and a shut unit has no gradient to open again. On the output that is the loss of
        classes.

    When it is wrong:
        Strongly skewed pre-activations: a mean of 2.33 spreads can leave more than 1 % on the other side.
        In hidden layers open units carry on, so it is a warning there. In a frozen part no gradient shuts any, so it is none.

    Fixes:
        batchnorm-last, batchnorm-all; no relu on the output; tanh instead of sigmoid before it (its mean is 0).

    Sources:
        LeCun et al. 1998, Efficient BackProp, section 4.3 (inputs of mean zero); measured on the (sigmoid, relu) networks of
        Nikhil 2018: 6 to 17 behind one sigmoid layer, about 1 behind a relu layer.
    """

    slug, code, flow = "common-mode", "GS108", "forward"
    steps_needed = 1  # only step 0 is looked at
    is_final = True

    def judge(self, trace: Trace) -> Judgement:
        """Judge each shutting site at step 0."""
        frozen = without_gradient(trace)
        shutting = [i for i, site in enumerate(trace.sites) if site.shuts.any() and not frozen[i]]
        if not shutting:
            return []
        if not len(trace.steps) or trace.steps[0] != 0:
            text = "common_mode was not recorded at step 0; let the schedule look at it"
            return CannotTell(text, optional=len(trace.steps) > 0)  # what it predicts the dead-* rules see come true
        if trace.samples[0] < 2:
            return CannotTell("common_mode needs at least two samples in the first batch, got one")
        found = (self._site(trace, i) for i in shutting)
        return [observation for observation in found if observation]

    @staticmethod
    def _site(trace: Trace, i: int) -> Observation | None:
        median = median_common_mode_at_start(trace, i)
        if median is None or median < ONE_SIDED:
            return None
        site = trace.sites[i]
        severity: Severity = "error" if site.is_output else "warning"
        units = trace.unit_statistics["common_mode"][i][0][site.shuts]
        fed = fed_by_constant(trace, i)
        shut = int((trace.unit_statistics["closed_frac"][i][0][site.shuts] == 1).sum())
        return Observation(
            site=i,
            first_step=0,
            severity=severity,
            evidence={
                "common_mode": short(median),
                "other_side_frac": short(max(other_side(median), 1e-9)),
                "one_sided_units": int((units >= ONE_SIDED).sum()),
                "shut_units": shut,
                "units": len(units),
            },
            cause=f"what {site.name} is fed hardly differs from sample to sample{fed}"
            if fed
            else "the part of z that is the same for every sample (the bias, the mean input) outweighs what varies",
            text=(
                f"before the first step the mean of {site.name}'s z is {times(median)} its spread (median unit), so "
                f"{percent(other_side(median))} of the samples lie on the other side of zero; {shut} of {len(units)} units "
                "are shut for the whole first batch"
            ),
        )

    @classmethod
    def cases(cls) -> Sequence[Case]:
        """Ordinary layers have a common mode of about 1; tanh has no shut side."""
        late = np.full((20, 10), 11.0)
        late[0] = 1.1
        return [
            Case("behind a sigmoid", lambda: example(site={("common_mode", 2): 11.0}), "error", 2, 0),
            Case("hidden layer", lambda: example(site={("common_mode", 1): 11.0}), "warning", 1, 0),
            Case("constant", lambda: example(site={("common_mode", 2): np.inf}), "error", 2, 0),
            Case("two of ten units", lambda: example(site={("common_mode", 2): [11.0, 11.0] + [1.0] * 8}), None),
            Case("only later", lambda: example(site={("common_mode", 2): late}), None),
            Case("tanh", lambda: example(("shuts", "shuts", "saturates"), site={("common_mode", 2): 11.0}), None),
            Case("in a frozen part", lambda: example(site={("common_mode", 1): 11.0, ("grad_rms", 1): np.nan}), None),
            Case("step 0 not seen", lambda: example(first_step=5), "undecided"),
        ]
