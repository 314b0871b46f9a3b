"""The gradient waterfall: what each gate and each stretch of weights lets through, from the loss down to the input."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gradscope.report import Stage, Waterfall
from gradscope.rules.flow import MEASURED
from gradscope.trace import FloatArray, Trace

MOST_STEPS = 100  # of a long training, spread evenly over what was recorded; the trace has them all


@dataclass(frozen=True, eq=False)
class Flow:
    """What of a member the waterfall is made of; arrays are [record, site]."""

    sites: tuple[str, ...]  # names, in forward order
    ends_in_output: bool  # the last site's output is the network's
    gates: FloatArray
    weights: FloatArray
    measured: FloatArray | None  # what is left behind each site's gate; older traces do not have it

    @property
    def stages(self) -> tuple[tuple[str, bool, int], ...]:
        """Name, whether it is a stretch of weights, and the site whose gate it is or that it leads into; from the loss down."""
        return tuple(self._stages())

    def transmissions(self) -> FloatArray:
        """Return what each stage lets through, [record, stage] in float64."""
        columns = [(self.weights if is_weight else self.gates)[:, site] for _, is_weight, site in self.stages]
        return np.stack(columns, 1).astype(np.float64) if columns else np.empty((len(self.gates), 0))

    def remaining(self) -> FloatArray:
        """Return what is left behind each stage, [record, stage]: measured, else the product of the transmissions so far."""
        passes = self.transmissions()
        if self.measured is not None:
            return self._measured(passes, self.measured.astype(np.float64))
        with np.errstate(invalid="ignore", over="ignore"):
            product = np.cumprod(passes, axis=1)
        return np.where(np.cumsum(passes == 0, axis=1) > 0, 0.0, product)

    def _stages(self) -> Iterator[tuple[str, bool, int]]:
        for i in reversed(range(len(self.sites))):
            if i + 1 < len(self.sites):
                yield f"{self.sites[i]} -> {self.sites[i + 1]}", True, i
            elif not self.ends_in_output:
                yield f"{self.sites[i]} -> output", True, i
            yield self.sites[i], False, i

    def _measured(self, passes: FloatArray, left: FloatArray) -> FloatArray:
        """Return norm(Ga) and norm(Gz) over the norm at the output.

        Norm(Ga) is not in the trace: it is what is left behind the gate over what the gate lets through, and behind a gate that
        lets nothing through what is left at the site before (nearer to the loss) times the weights between.
        """
        found = np.empty_like(passes)
        after: FloatArray = np.ones(len(passes))
        with np.errstate(all="ignore"):
            for column, (_, is_weight, site) in enumerate(self.stages):
                behind = left[:, site]
                if is_weight:
                    gate = self.gates[:, site].astype(np.float64)
                    into = np.where(gate > 0, behind / gate, after * passes[:, column])
                    found[:, column] = np.where(np.isnan(into) & (behind == 0), behind, into)  # a ratio of zeros is NaN
                else:
                    found[:, column] = after = behind
        return found


def flow_of(trace: Trace) -> Flow:
    """Return what of a trace the waterfall is made of."""
    return Flow(
        sites=tuple(site.name for site in trace.sites),
        ends_in_output=bool(trace.sites) and trace.sites[-1].is_output,
        gates=trace.site_statistics["gate_transmission"],
        weights=trace.site_statistics["weight_transmission"],
        measured=trace.site_statistics.get(MEASURED),
    )


def waterfalls(traces: Sequence[Trace]) -> list[Waterfall]:
    """Return the waterfall of the steps that all traces recorded (at most `MOST_STEPS`), medians over the traces.

    Where each site feeds the next, the transmissions of one trace multiply exactly to its gradient norm at a site over that at
    the output; medians of several traces do so only roughly, so `remaining` is the median over the traces, not the product of
    medians. Where branches part, `remaining` is what was measured, and a gate that is shut in one of them takes nothing from
    the others. Of traces whose sites differ, as where a network builds itself anew for each seed, those count that are alike
    and most.
    """
    flows = [flow_of(trace) for trace in traces]
    by_sites = Counter(flow.stages for flow in flows)
    most = max(by_sites, key=lambda stages: by_sites[stages], default=())
    if not most:
        return []
    alike = [(trace, flow) for trace, flow in zip(traces, flows, strict=True) if flow.stages == most]
    steps = sorted(set.intersection(*(set(trace.steps.tolist()) for trace, _ in alike)))
    if len(steps) > MOST_STEPS:
        steps = [steps[i] for i in np.linspace(0, len(steps) - 1, MOST_STEPS).round().astype(int)]
    records = [np.searchsorted(trace.steps, steps) for trace, _ in alike]
    passes = np.stack([flow.transmissions()[rows] for (_, flow), rows in zip(alike, records, strict=True)])
    left = np.stack([flow.remaining()[rows] for (_, flow), rows in zip(alike, records, strict=True)])
    return [_at(step, most, passes[:, i], left[:, i]) for i, step in enumerate(steps)]


def _at(step: int, stages: Sequence[tuple[str, bool, int]], passes: FloatArray, left: FloatArray) -> Waterfall:
    return Waterfall(
        step=step,
        stages=[
            Stage(name=name, kind="weight" if is_weight else "gate", transmission=passed, remaining=remains)
            for (name, is_weight, _), passed, remains in zip(stages, _medians(passes), _medians(left), strict=True)
        ],
    )


def _medians(values: FloatArray) -> list[float | None]:
    """Return the median over the traces of what is finite, None where nothing is; `values` is [trace, stage]."""
    finite = np.where(np.isfinite(values), values, np.nan)
    known = np.asarray(~np.isnan(finite).all(axis=0))
    found: list[float | None] = [None] * len(known)
    for i, value in zip(np.flatnonzero(known).tolist(), np.nanmedian(finite[:, known], axis=0).tolist(), strict=True):
        found[i] = float(f"{value:.4g}")
    return found
