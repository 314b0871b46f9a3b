"""The gradient waterfall: what each gate and each stretch of weights lets through, from the loss down to the input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gradscope.report import Stage, Waterfall
from gradscope.trace import Trace


def waterfalls(traces: Sequence[Trace]) -> list[Waterfall]:
    """Return the waterfall of every step that all traces recorded, medians over the traces.

    The transmissions of one trace multiply exactly to its gradient norm at a site over that at the output; medians of several
    traces do so only roughly, so `remaining` is the median of the products, not the product of medians.
    """
    if not traces or not traces[0].sites:
        return []
    steps = sorted(set.intersection(*(set(trace.steps.tolist()) for trace in traces)))
    rows = [{int(step): i for i, step in enumerate(trace.steps)} for trace in traces]
    return [
        _at(step, [_ratios(trace, row[step]) for trace, row in zip(traces, rows, strict=True)], traces[0]) for step in steps
    ]


def _at(step: int, ratios: list[list[float]], like: Trace) -> Waterfall:
    through = np.array(ratios)  # [trace, stage]
    with np.errstate(invalid="ignore", over="ignore"):
        left = np.cumprod(through, axis=1)
    zero = np.cumsum(through == 0, axis=1) > 0
    left = np.where(zero, 0.0, left)
    return Waterfall(
        step=step,
        stages=[
            Stage(
                name=name,
                kind="weight" if is_weight else "gate",
                transmission=_median(through[:, i]),
                remaining=_median(left[:, i]),
            )
            for i, (name, is_weight) in enumerate(_names(like))
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
    weights = trace.site_statistics["weight_transmission"][record]
    gates = trace.site_statistics["gate_transmission"][record]
    found: list[float] = []
    for i in reversed(range(len(trace.sites))):
        if i + 1 < len(trace.sites) or not trace.sites[i].is_output:
            found.append(float(weights[i]))
        found.append(float(gates[i]))
    return found


def _median(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float | None:
    finite = values[np.isfinite(values)]
    return float(f"{np.median(finite):.4g}") if len(finite) else None
