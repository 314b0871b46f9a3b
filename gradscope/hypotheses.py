"""The two published explanations of the (sigmoid, relu) failure, tested on the network at hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradscope.report import Hypothesis
from gradscope.rules.saturation import WARNING_FRAC, saturated_share
from gradscope.rules.window import shut_since, too_short, window_start
from gradscope.rules.wording import percent, short
from gradscope.trace import Trace

MOST_SITES, MOST_NAMED = 8, 3  # in numbers and in words: those with the largest shares


def published_hypotheses(traces: Sequence[Trace]) -> list[Hypothesis]:
    """Return both hypotheses of Nikhil, Is ReLU After Sigmoid Bad? (2018), with the numbers that decide them."""
    usable = [trace for trace in traces if trace.sites and len(trace.steps)]
    return [_closed_outputs(usable), _saturated(usable)] if usable else []


def _closed_outputs(traces: Sequence[Trace]) -> Hypothesis:
    name = "closed last pre-activations"
    output = [next((i for i, site in enumerate(trace.sites) if site.is_output and site.shuts.any()), None) for trace in traces]
    if None in output:
        text = "The network's output has no non-linearity that shuts at zero, so none of its units can be closed by one."
        return Hypothesis(name=name, holds=False, evidence={}, text=text)
    if reason := too_short(traces[0]):
        return Hypothesis(name=name, holds=None, evidence={}, text=f"It cannot be told: {reason}.")
    shut = [int((shut_since(trace, i) >= 0).sum()) for trace, i in zip(traces, output, strict=True) if i is not None]
    sites = [trace.sites[i] for trace, i in zip(traces, output, strict=True) if i is not None]
    holds = sum(count > 0 for count in shut) * 2 >= len(shut)
    average = f" ({np.mean(shut):.2g} on average over {len(shut)} seeds)" if len(shut) > 1 else ""
    text = (
        f"At {sites[0].name}, {_span(shut)} of {sites[0].units} output units{average} have z <= 0 for every sample of the "
        "last window."
    )
    return Hypothesis(name=name, holds=holds, evidence={"shut_units": shut, "units": sites[0].units}, text=text)


def _span(counts: Sequence[int]) -> str:
    return str(min(counts)) if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"


def _saturated(traces: Sequence[Trace]) -> Hypothesis:
    name = "saturated sigmoids"
    bounded = [i for i, site in enumerate(traces[0].sites) if site.saturates.any() and not site.is_output]
    if not bounded:
        text = "No hidden layer has a non-linearity that saturates on both sides."
        return Hypothesis(name=name, holds=False, evidence={}, text=text)
    shares: dict[str, float] = {}
    for i in bounded:
        per_trace = [saturated_share(trace, i)[window_start(trace) :] for trace in traces if i < len(trace.sites)]
        values = np.concatenate(per_trace)
        if np.isfinite(values).any():
            shares[traces[0].sites[i].name] = short(float(np.nanmean(values)))
    if not shares:
        return Hypothesis(name=name, holds=None, evidence={}, text="It cannot be told: no saturation was recorded.")
    worst = sorted(shares, key=lambda site: -shares[site])
    named = [site for site in shares if site in worst[:MOST_NAMED]]
    listed = ", ".join(f"{percent(shares[site])} of the values of {site}" for site in named)
    listed += f" (the most of {len(shares)} sites)" if len(shares) > MOST_NAMED else ""
    shares = {site: share for site, share in shares.items() if site in worst[:MOST_SITES]}
    text = f"In the last window {listed} are saturated (slope below 5 % of the largest); half would be a finding."
    return Hypothesis(name=name, holds=max(shares.values()) >= WARNING_FRAC, evidence=dict(shares), text=text)
