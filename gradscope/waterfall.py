"""The gradient waterfall: what each gate and each stretch of weights lets through, from the loss down to the input."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from gradscope.report import Stage, Waterfall
from gradscope.rules.flow import MEASURED
from gradscope.trace import Trace

MOST_STEPS = 100  # of a long training, spread evenly over what was recorded; the trace has them all


def waterfalls(traces: Sequence[Trace]) -> list[Waterfall]:
    """Return the waterfall of the steps that all traces recorded (at most `MOST_STEPS`), medians over the traces.

    Where each site feeds the next, the transmissions of one trace multiply exactly to its gradient norm at a site over that at
    the output; medians of several traces do so only roughly, so `remaining` is the median over the traces, not the product of
    medians. Where branches part, `remaining` is what was measured, and a gate that is shut in one of them takes nothing from
    the others. Of traces whose sites differ, as where a network builds itself anew for each seed, those count that are alike
    and most.
    """
    by_sites = Counter(tuple(_names(trace)) for trace in traces)
    most = max(by_sites, key=lambda names: by_sites[names], default=())
    if not most:
        return []
    traces = [trace for trace in traces if tuple(_names(trace)) == most]
    steps = sorted(set.intersection(*(set(trace.steps.tolist()) for trace in traces)))
    if len(steps) > MOST_STEPS:
        steps = [steps[i] for i in np.linspace(0, len(steps) - 1, MOST_STEPS).round().astype(int)]
    rows = [{int(step): i for i, step in enumerate(trace.steps)} for trace in traces]
    return [_at(step, [(trace, row[step]) for trace, row in zip(traces, rows, strict=True)], most) for step in steps]


def _at(step: int, records: list[tuple[Trace, int]], names: Sequence[tuple[str, bool]]) -> Waterfall:
    ratios = [_ratios(trace, record) for trace, record in records]
    left = [_left(trace, record, found) for (trace, record), found in zip(records, ratios, strict=True)]
    medians = zip(names, _medians(ratios), _medians(left), strict=True)
    return Waterfall(
        step=step,
        stages=[
            Stage(name=name, kind="weight" if is_weight else "gate", transmission=passes, remaining=remains)
            for (name, is_weight), passes, remains in medians
        ],
    )


def _names(trace: Trace) -> Iterator[tuple[str, bool]]:
    sites = trace.sites
    for i in reversed(range(len(sites))):
        if i + 1 < len(sites):
            yield f"{sites[i].name} -> {sites[i + 1].name}", True
        elif not sites[i].is_output:
            yield f"{sites[i].name} -> output", True
        yield sites[i].name, False


def _ratios(trace: Trace, record: int) -> list[float]:
    weights = trace.site_statistics["weight_transmission"][record].tolist()
    gates = trace.site_statistics["gate_transmission"][record].tolist()
    found: list[float] = []
    for i in reversed(range(len(trace.sites))):
        if i + 1 < len(trace.sites) or not trace.sites[i].is_output:
            found.append(weights[i])
        found.append(gates[i])
    return found


def _left(trace: Trace, record: int, ratios: list[float]) -> list[float]:
    """Return what is left behind each stage: measured, else the product of the transmissions so far."""
    measured = trace.site_statistics.get(MEASURED)
    if measured is not None:
        return list(_measured(trace, measured[record].tolist(), ratios))
    with np.errstate(invalid="ignore", over="ignore"):
        product = np.cumprod(ratios)
    zero = np.cumsum(np.equal(ratios, 0)) > 0
    return [float(value) for value in np.where(zero, 0.0, product)]


def _measured(trace: Trace, left: list[float], ratios: list[float]) -> Iterator[float]:
    """Yield norm(Ga) and norm(Gz) over the norm at the output, from the last site to the first.

    Norm(Ga) is not in the trace: it is what is left behind the gate over what the gate lets through, and behind a gate that
    lets nothing through what is left at the site before (nearer to the loss) times the weights between.
    """
    stages = iter(ratios)
    after = 1.0
    for i in reversed(range(len(trace.sites))):
        behind = left[i]
        if i + 1 < len(trace.sites) or not trace.sites[i].is_output:
            weight, gate = next(stages), next(stages)
            into = behind / gate if gate > 0 else after * weight
            yield behind if math.isnan(into) and behind == 0 else into  # a ratio of zeros is NaN
        else:
            next(stages)
        yield behind
        after = behind


def _medians(values: Sequence[Sequence[float]]) -> list[float | None]:
    """Return the median over the traces of what is finite, None where nothing is; `values` is [trace, stage]."""
    finite = np.array(values)
    finite[~np.isfinite(finite)] = np.nan
    known = ~np.isnan(finite).all(axis=0)
    found: list[float | None] = [None] * len(known)
    for i, value in zip(np.flatnonzero(known).tolist(), np.nanmedian(finite[:, known], axis=0).tolist(), strict=True):
        found[i] = float(f"{value:.4g}")
    return found
