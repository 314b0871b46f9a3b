"""Which numbers of a trace TensorBoard shows, and under which tag. numpy only."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from gradscope.trace import FloatArray, Trace

DENSE_STEPS = 100  # losses at the start that are all written: collapse happens there
MOST_SITES, MOST_PARAMETERS = 24, 60  # with charts of their own; more are unreadable there, and the Gradscope tab has them
MOST_LOSSES = 500  # points per run: more than a chart has columns to tell apart, and each is an event to write

WATCHED = "run"  # the arm of a loop of the user's own

Scalar = tuple[str, float]


def record_scalars(trace: Trace, first: int, by_site: Mapping[str, FloatArray]) -> Iterator[tuple[int, list[Scalar]]]:
    """Yield (step, scalars) for each record from number `first` on; values that are not finite are left out.

    `by_site` are the statistics of all sites at these records, as `site_statistics` returns them.
    """
    columns = [(tag, values.tolist()) for tag, values in _columns(trace, first, by_site)]
    for i, step in enumerate(trace.steps[first:].tolist()):
        yield step, [(tag, values[i]) for tag, values in columns if math.isfinite(values[i])]


def loss_scalars(trace: Trace, after: int) -> Iterator[tuple[int, list[Scalar]]]:
    """Yield (step, scalars) of the training loss of steps beyond `after`, all at the start and then every few steps."""
    planned = trace.task.planned_steps
    first = int(np.searchsorted(trace.steps_of_loss, after, side="right"))
    for step, loss in zip(trace.steps_of_loss[first:].tolist(), trace.loss[first:].tolist(), strict=True):
        if step % _stride(step, planned) == 0 and math.isfinite(loss):
            yield step, [("loss/train", loss)]


def _stride(step: int, planned: int) -> int:
    """Return every how many steps a loss is written; where no end is planned, ever fewer, as many again by twice the steps."""
    if step < DENSE_STEPS:
        return 1
    return math.ceil(planned / (MOST_LOSSES - DENSE_STEPS)) if planned else 2 ** int(math.log2(step / DENSE_STEPS))


def evaluation_scalars(trace: Trace, first: int) -> Iterator[tuple[int, list[Scalar]]]:
    """Yield (step, scalars) for each evaluation from number `first` on.

    On the test samples; of a loop of the user's own it is not known on which, so that a metric has the name that it was given.
    """
    metric = trace.task.metric
    own = f"metric/{metric}" if trace.arm == WATCHED else metric_tag(metric)
    tags = (own if metric else "metric/test", "loss/test")
    values = zip(trace.evaluation_metric[first:].tolist(), trace.evaluation_loss[first:].tolist(), strict=True)
    for step, pair in zip(trace.evaluation_steps[first:].tolist(), values, strict=True):
        yield step, [(tag, value) for tag, value in zip(tags, pair, strict=True) if math.isfinite(value)]


def metric_tag(metric: str) -> str:
    """Return the tag of the task's metric on the test samples."""
    return f"{metric}/test"


def share_at_input(trace: Trace, first: int = 0) -> FloatArray:
    """Return the share of the output's gradient norm that is left behind the first site's gate, [record].

    As measured at the first site that a gradient came to (those before it may be frozen). For older traces the product of all
    gates and of the weights between them (a weight that was not recorded counts as 1): 0 from the first gate or weight on that
    lets nothing through, and NaN where a gate is unknown and none is shut.
    """
    measured = trace.site_statistics.get("remaining")
    if measured is not None and trace.sites:
        left = measured[first:]
        first_seen = np.argmax(~np.isnan(left), axis=1)
        return np.asarray(left[np.arange(len(left)), first_seen])
    gates = trace.site_statistics.get("gate_transmission")
    if gates is None or not trace.sites:
        return np.full(len(trace.steps[first:]), np.nan)
    weights = trace.site_statistics.get("weight_transmission", np.ones_like(gates))
    passes = np.concatenate([gates[first:], np.where(np.isnan(weights), 1.0, weights)[first:]], axis=1, dtype=np.float64)
    return np.where((passes == 0).any(1), 0.0, passes.prod(1))


def _columns(trace: Trace, first: int, by_site: Mapping[str, FloatArray]) -> Iterator[tuple[str, FloatArray]]:
    """Yield (tag, values per record): the aggregates, then those by site and by parameter where they are few."""
    yield from _aggregates(trace, first, by_site)
    if len(trace.sites) <= MOST_SITES:
        for name, values in by_site.items():
            yield from ((f"site/{site.name}/{name}", values[:, i]) for i, site in enumerate(trace.sites))
    if len(trace.parameters) <= MOST_PARAMETERS:
        for name, values in trace.parameter_statistics.items():
            yield from ((f"parameter/{p}/{name}", values[first:, i]) for i, p in enumerate(trace.parameters))


def _aggregates(trace: Trace, first: int, by_site: Mapping[str, FloatArray]) -> Iterator[tuple[str, FloatArray]]:
    yield "gradient/share_at_input", share_at_input(trace, first)
    yield "gradient/at_output", trace.output_grad_norm[first:]
    for name, tag, ufunc in (
        ("gate_transmission", "gradient/smallest_gate", np.fmin),
        ("weight_transmission", "gradient/smallest_weight", np.fmin),
        ("dead_frac", "units/largest_dead_frac", np.fmax),
        ("saturated_frac", "units/largest_saturated_frac", np.fmax),
    ):
        if trace.sites and name in by_site:
            yield tag, _over(ufunc, by_site[name])
    updates = trace.parameter_statistics.get("update_to_weight")
    if updates is not None:
        yield "updates/smallest_to_weight", _over(np.fmin, updates[first:])
        yield "updates/largest_to_weight", _over(np.fmax, updates[first:])


def _over(ufunc: np.ufunc, values: FloatArray) -> FloatArray:
    """Return the smallest or largest over the last axis, NaN ignored where there is anything else."""
    return np.asarray(ufunc.reduce(values, axis=-1, initial=np.nan))
