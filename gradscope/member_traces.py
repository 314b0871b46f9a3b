"""From a recorder's rows to one trace per member."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gradscope.recorder import Recorder
from gradscope.trace import UNIT_STATISTICS, Site, Task, Trace

Column = NDArray[np.float32]


@dataclass(frozen=True)
class MemberName:
    """Which arm and seed a member is."""

    arm: str
    seed: int


@dataclass
class Progress:
    """What the training loop knows beside the recorder; each array is [step or evaluation, member]."""

    loss: NDArray[np.float32]
    evaluation_steps: list[int] = field(default_factory=list)
    evaluation_metric: list[NDArray[np.float32]] = field(default_factory=list)
    evaluation_loss: list[NDArray[np.float32]] = field(default_factory=list)


def build_traces(
    recorder: Recorder, members: Sequence[MemberName], progress: Progress, task: Task, schedule: str
) -> list[Trace]:
    """Return a trace per member from all that was recorded so far; the recorder is flushed and goes on.

    Transmissions are ratios of the recorded gradient norms: 0 where none passes, NaN where none arrives.
    """
    recorder.records.flush()
    return [_member_trace(recorder, i, member, progress, task, schedule) for i, member in enumerate(members)]


def _member_trace(recorder: Recorder, i: int, member: MemberName, progress: Progress, task: Task, schedule: str) -> Trace:
    records = recorder.records
    keys = [key for key in recorder.shapes if not _row(recorder.host_shape(key).linear, i).all()]
    sites = tuple(_site(recorder, key, i) for key in keys)
    metric = [values[i] for values in progress.evaluation_metric]
    test_loss = [values[i] for values in progress.evaluation_loss]
    output = records.column(("", "output_grad_norm"))[:, i]
    names = [p.name for p in recorder.parameters if i in p.rows]
    return Trace(
        arm=member.arm,
        seed=member.seed,
        sites=sites,
        parameters=tuple(names),
        steps=np.array(records.steps, np.int64),
        samples=np.array(records.samples, np.int64),
        unit_statistics={
            name: tuple(records.column((key, name), site.units)[:, i] for key, site in zip(keys, sites, strict=True))
            for name in UNIT_STATISTICS
        },
        site_statistics=_site_statistics(recorder, keys, i, output),
        parameter_statistics=_parameter_statistics(recorder, names, i),
        output_grad_norm=output,
        loss=progress.loss[:, i],
        evaluation_steps=np.array(progress.evaluation_steps, np.int64),
        evaluation_metric=np.array(metric, np.float32),
        evaluation_loss=np.array(test_loss, np.float32),
        task=task,
        schedule=schedule,
        unseen=tuple(recorder.unseen),
        notes=tuple(recorder.notes),
    )


def _row(values: NDArray[np.bool_], member: int) -> NDArray[np.bool_]:
    return np.asarray(values[member if len(values) > 1 else 0])


def _site(recorder: Recorder, key: str, i: int) -> Site:
    shape, labels = recorder.host_shape(key), recorder.labels[key]
    _, number, call = key.partition("#")
    name = labels[i if len(labels) > 1 else 0] + number + call
    return Site(name, _row(shape.shuts, i), _row(shape.saturates, i), is_output=key == recorder.output_site)


def _site_statistics(recorder: Recorder, keys: list[str], i: int, output: Column) -> dict[str, Column]:
    def columns(statistic: str) -> Column:
        per_site = [recorder.records.column((key, statistic))[:, i] for key in keys]
        return np.stack(per_site, axis=1) if per_site else np.empty((len(output), 0), np.float32)

    into_gate, out_of_gate = columns("grad_norm_a"), columns("grad_norm_z")
    arrives = np.concatenate([out_of_gate[:, 1:], output[:, None]], axis=1)[:, : len(keys)]
    return {
        "act_rms": columns("act_rms"),
        "act_common_mode": columns("act_common_mode"),
        "gate_transmission": _ratio(out_of_gate, into_gate),
        "weight_transmission": _ratio(into_gate, arrives),
        "grad_rms": columns("grad_rms"),
    }


def _parameter_statistics(recorder: Recorder, names: list[str], i: int) -> dict[str, Column]:
    def columns(statistic: str) -> Column:
        per_parameter = [recorder.records.column((name, statistic))[:, i] for name in names]
        return np.stack(per_parameter, axis=1) if per_parameter else np.empty((len(recorder.records), 0), np.float32)

    weight = columns("weight_norm")
    counts = np.array([p.values[0].numel() for p in recorder.parameters if i in p.rows], np.int64)
    return {
        "grad_rms": columns("grad_norm") / _root(counts),
        "grad_to_weight": _ratio(columns("grad_norm"), weight),
        "update_to_weight": _ratio(columns("update_norm"), weight),
        "nonpositive_weight_frac": columns("nonpositive_weight_frac"),
    }


def _root(counts: NDArray[np.int64]) -> Column:
    return np.sqrt(np.maximum(counts, 1)).astype(np.float32)


def _ratio(part: Column, whole: Column) -> Column:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole > 0, part / whole, np.where(np.isfinite(whole) & (part > 0), np.inf, np.nan)).astype(np.float32)
