"""Numbers and reasons in words, shared by the rules' texts."""

from __future__ import annotations

import math

import numpy as np

from gradscope.rules.site_order import fed_by
from gradscope.rules.window import median_common_mode_at_start
from gradscope.trace import Trace

# Where a Gaussian pre-activation has 1 % of its samples on the other side of zero: Phi(-2.326) = 0.01, the same share that
# 300 samples can tell from none.
ONE_SIDED = 2.326


def short(value: float) -> float:
    """Round to three significant digits, as evidence is reported.

    >>> short(0.123456), short(1234.5)
    (0.123, 1230.0)
    """
    return float(f"{value:.3g}")


def percent(share: float) -> str:
    """Return a share as per cent.

    >>> percent(0.5), percent(0.004), percent(1e-9)
    ('50 %', '0.4 %', 'less than 0.0001 %')
    """
    if 0 < share < 1e-6:
        return "less than 0.0001 %"
    return f"{100 * share:.2g} %" if 0 < share < 0.0995 else f"{100 * share:.0f} %"


def other_side(common_mode: float) -> float:
    """Return the share of samples on the other side of zero, Phi(-common_mode), for a Gaussian pre-activation."""
    return 0.5 * math.erfc(common_mode / math.sqrt(2))


def times(common_mode: float) -> str:
    """Return how many times its spread a pre-activation's mean is."""
    return "without end" if math.isinf(common_mode) else f"{common_mode:.2g} times"


def why_shut(trace: Trace, site: int, first_step: int) -> str:
    """Return why units of a site are shut, from what was seen at the start and when they shut."""
    start = median_common_mode_at_start(trace, site)
    if start is not None and start >= ONE_SIDED:
        fed = fed_by_constant(trace, site)
        return (
            f"the pre-activations are nearly the same for every sample: at step 0 the mean of z is {times(start)} its spread "
            f"in the median unit{fed}. So each unit is shut, or open, for all samples at once; a shut one has no gradient to "
            "open again"
        )
    moved = trace.parameter_statistics["update_to_weight"]
    upto = moved[: max(1, int(np.searchsorted(trace.steps, first_step, side="right")))]
    largest = float(np.nanmax(upto)) if upto.size and np.isfinite(upto).any() else math.nan
    if first_step > 0 and largest > 0.1:
        return (
            f"the units were open at first and shut by step {first_step}, after updates of up to {percent(min(largest, 99.0))} "
            "of the weights' size: the steps are too large"
        )
    if first_step == 0:
        return "the units are shut since the initialisation: their biases or weights put z below zero for every sample"
    return f"the units were open at first and training shut them by step {first_step}"


def fed_by_constant(trace: Trace, site: int) -> str:
    """Return a clause on the layer before, where its output hardly varies from sample to sample."""
    before = fed_by(trace, site)
    if len(before) != 1:  # of a sum of several it cannot be told
        return ""
    alike = float(trace.site_statistics["act_common_mode"][0][before[0]])
    if not alike >= ONE_SIDED:
        return ""
    size = "constant" if math.isinf(alike) else f"{alike:.2g} times as large as what varies"
    return f", because the part of {trace.sites[before[0]].name}'s output that is the same for all samples is {size}"
