"""Small traces for the cases of the rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from gradscope.rules.flow import MEASURED
from gradscope.trace import (
    NETWORK_STATISTICS,
    PARAMETER_STATISTICS,
    SITE_STATISTICS,
    UNIT_STATISTICS,
    FloatArray,
    Site,
    Task,
    Trace,
)

RECORDS = 20
SAMPLES = 32
UNITS = 10

# What an ordinary healthy layer shows.
ORDINARY: Mapping[str, float] = {
    "nonpositive_frac": 0.5,
    "saturated_frac": 0.1,
    "closed_frac": 0.5,
    "common_mode": 0.8,
    "act_rms": 0.7,
    "act_common_mode": 1.0,
    "gate_transmission": 0.7,
    "weight_transmission": 0.6,
    "grad_rms": 0.01,
    "grad_to_weight": 0.05,
    "update_to_weight": 0.001,
    "nonpositive_weight_frac": 0.5,
    "remaining": 0.3,
    "identical_frac": 0.0,
    "input_mean": 0.1,
    "input_std": 1.0,
}

Value = float | Sequence[float] | FloatArray


def example(
    kinds: Sequence[str] = ("shuts", "shuts", "shuts"),
    *,
    output: bool = True,
    records: int = RECORDS,
    first_step: int = 0,
    loss: Value | None = 1.0,
    metric: Value = 0.9,
    task: Task | None = None,
    site: Mapping[tuple[str, int], Value] | None = None,
    parameter: Mapping[tuple[str, int], Value] | None = None,
    network: Mapping[str, Value] | None = None,
) -> Trace:
    """Return an ordinary trace with some values changed.

    Args:
        kinds: per site, `shuts` (relu), `saturates` (sigmoid), `both` (relu6) or `smooth` (neither).
        output: whether the last site is the network's output.
        records: one per step, of 32 samples.
        first_step: step of the first record.
        loss: training loss, one value or one per step; None where nobody logged it.
        metric: test metric, one value or one per evaluation (after each tenth of the steps).
        task: what the network is asked to do.
        site: (statistic, site) -> a value, one per unit, or an array [record, unit]; site statistics one per record. A trace
            has measured values of `remaining` only where one is given.
        parameter: (statistic, parameter) -> a value or one per record.
        network: statistic -> a value or one per record.
    """
    sites = tuple(
        Site(
            f"{i}.{kind}",
            _mask(kind in ("shuts", "both")),
            _mask(kind in ("saturates", "both")),
            output and i == len(kinds),
            wants_gradient=True,
        )
        for i, kind in enumerate(kinds, start=1)
    )
    steps = np.arange(first_step, first_step + records)
    evaluations = np.linspace(0, first_step + records, 11).astype(np.int64)
    changed, changed_parameters = site or {}, parameter or {}
    measured = [name for name in SITE_STATISTICS if name != MEASURED]
    measured += [MEASURED] if any(name == MEASURED for name, _ in changed) else []
    return Trace(
        arm="control",
        seed=1,
        sites=sites,
        parameters=tuple(f"{i}.weight" for i in range(1, len(kinds) + 1)),
        steps=steps,
        samples=np.full(records, SAMPLES),
        unit_statistics={
            name: tuple(_filled((records, UNITS), changed.get((name, i), ORDINARY[name])) for i in range(len(kinds)))
            for name in UNIT_STATISTICS
        },
        site_statistics={name: _columns(name, records, len(kinds), changed) for name in measured},
        parameter_statistics={name: _columns(name, records, len(kinds), changed_parameters) for name in PARAMETER_STATISTICS},
        output_grad_norm=np.full(records, 0.1, np.float32),
        loss=np.empty(0, np.float32) if loss is None else _filled((first_step + records,), loss),
        evaluation_steps=evaluations,
        evaluation_metric=_filled((len(evaluations),), metric),
        evaluation_loss=np.full(len(evaluations), 1.0 if loss is None else np.ravel(loss)[0], np.float32),
        network_statistics={
            name: _filled((records,), (network or {}).get(name, ORDINARY[name])) for name in NETWORK_STATISTICS
        },
        task=task or Task("accuracy", 0.1, 360, 10, SAMPLES * 2, first_step + records),
    )


def _mask(value: bool) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return np.full(UNITS, value)


def _filled(shape: tuple[int, ...], value: Value) -> FloatArray:
    return np.broadcast_to(np.asarray(value, np.float32), shape).copy()


def _columns(name: str, records: int, places: int, changed: Mapping[tuple[str, int], Value]) -> FloatArray:
    columns = [_filled((records,), changed.get((name, i), ORDINARY[name])) for i in range(places)]
    return np.stack(columns, axis=1) if columns else np.empty((records, 0), np.float32)


def untested(trace: Trace) -> Trace:
    """Return a trace as of a loop that logs no metric."""
    nothing = np.empty(0, np.float32)
    steps = np.empty(0, np.int64)
    return replace(trace, evaluation_steps=steps, evaluation_metric=nothing, evaluation_loss=nothing)
