"""The run for TensorBoard: one sub-folder per arm and seed, written while training goes on. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from gradscope.renderers.markdown import MarkdownRenderer
from gradscope.renderers.tensorboard_curves import CurvesWritten, curve_events
from gradscope.renderers.tensorboard_file import EventFile, scalar_summary
from gradscope.renderers.tensorboard_form import Author, report_summary, verdict_summary
from gradscope.renderers.tensorboard_panels import (
    Hyperparameter,
    experiment_summary,
    layout_summary,
    session_summaries,
    text_summary,
)
from gradscope.renderers.tensorboard_scalars import Scalar, evaluation_scalars, loss_scalars, metric_tag, record_scalars
from gradscope.renderers.tensorboard_tensors import Batch, Written, tensor_events
from gradscope.renderers.view_report import described_report
from gradscope.renderers.view_statistics import site_statistics
from gradscope.renderers.wording import is_watched
from gradscope.report import Report
from gradscope.trace import IntArray, Trace

CONTROL = "control"
EFFECT = "result/effect"


@dataclass
class _Run:
    """One arm and seed: its file and up to which step of its trace it is written."""

    arm: str
    seed: int
    file: EventFile
    record: int = -1
    loss: int = -1
    evaluations: int = 0
    metric: str = field(default="accuracy")
    tensors: Written = field(default_factory=Written)
    curves: CurvesWritten = field(default_factory=CurvesWritten)
    author: Author | None = None  # to the Gradscope tab, from the first event on

    @property
    def name(self) -> str:
        return f"{self.arm}-{self.seed}"

    def append(self, trace: Trace) -> None:
        """Write what the trace holds beyond the last call."""
        first = int(np.searchsorted(trace.steps, self.record, side="right"))
        batch = Batch(trace, first, site_statistics(trace, first))
        scalars = _merged(
            [
                *loss_scalars(trace, self.loss),
                *record_scalars(trace, first, batch.by_site),
                *evaluation_scalars(trace, self.evaluations),
            ]
        )
        author = self.author or Author(trace.arm, trace.seed, trace.task.metric, _first_step(trace))
        tensors, written = tensor_events(batch, author, self.tensors)
        curves, drawn = curve_events(trace, author, self.curves)
        events = [*((step, scalar_summary(values)) for step, values in scalars), *tensors, *curves]
        self.file.append(events)
        self.author = author if events else None
        self.tensors, self.curves = written, drawn
        self.record, self.loss = _last(trace.steps, self.record), _last(trace.steps_of_loss, self.loss)
        self.evaluations = len(trace.evaluation_steps)
        self.metric = trace.task.metric

    def complete(self) -> None:
        """Write of the last record what was left out: the end is what is looked at."""
        self.file.append(self.tensors.last)
        self.tensors = replace(self.tensors, last=())


class TensorBoardLog:
    """Writes `folder`/<arm>-<seed>/ as the traces grow, and the diagnosis into `folder` itself at the end.

    Nothing is open between two calls: what `update` wrote can be read at once, and stays when the process is killed. What
    TensorBoard has read of an earlier training in the same folder it no longer shows once this one has begun.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._runs: dict[tuple[str, int], _Run] = {}
        self._root = EventFile(folder)  # where users may have events of their own: it does not restart
        self._has_begun = False

    def update(self, traces: Sequence[Trace]) -> None:
        """Write what the traces hold beyond the last call; a trace is known again by its arm and seed.

        Where a file cannot be written (`WriteError`), what is missing is tried again at the next call.
        """
        if not self._has_begun:
            self._begin()
        for trace in traces:
            key = (trace.arm, trace.seed)
            if key not in self._runs:
                file = EventFile(self.folder / f"{trace.arm}-{trace.seed}", restarts=True)
                self._runs[key] = _Run(trace.arm, trace.seed, file)
            self._runs[key].append(trace)

    def _begin(self) -> None:
        """Tell the Gradscope tab that what is in the folder has no verdict yet."""
        self._root.append([(0, verdict_summary(None, None))])
        self._has_begun = True

    def finish(self, report: Report, hparams: Mapping[str, Hyperparameter] | None = None) -> None:
        """Write the diagnosis, the HParams table and the layout of charts; `hparams` is what all runs share.

        For the Gradscope tab the report itself is written as well. A run's row has its arm and seed, its last metric on the
        test samples, and its effect: the difference to the control's run at the same place in the order of seeds. A watched
        loop has no other run to be compared with, and no table.
        `WriteError` where the folder cannot be written.
        """
        shared = dict(hparams or {})
        metric = report.control.metric if report.control else next((r.metric for r in self._runs.values()), "accuracy")
        for run in self._runs.values():
            run.complete()
        root = [text_summary("diagnosis", MarkdownRenderer().render(report)), layout_summary(metric)]
        root.append(report_summary(described_report(report)))
        if is_watched(report):
            self._root.append((0, summary) for summary in root)
            return
        root.append(experiment_summary(["arm", "seed", *shared], {metric_tag(metric): metric, EFFECT: "effect"}))
        self._root.append((0, summary) for summary in root)
        effects = self._effects(report)
        for run in self._runs.values():
            rows = session_summaries(run.name, {"arm": run.arm, "seed": run.seed, **shared})
            effect = effects.get(run.name)
            if effect is not None and math.isfinite(effect):
                rows.append(scalar_summary([(EFFECT, effect)]))
            run.file.append((run.loss + 1, row) for row in rows)

    def close(self) -> None:
        """Forget the runs; there is nothing open to close."""
        self._runs.clear()

    def _effects(self, report: Report) -> dict[str, float]:
        """Return by run the difference of its metric to the control's; arms whose values don't fit their runs are left out."""
        if report.control is None:
            return {}
        control = report.control.values
        values = {CONTROL: control} | {fix.fix: fix.values for fix in report.fixes}
        found: dict[str, float] = {}
        for arm, of_arm in values.items():
            names = [run.name for run in self._runs.values() if run.arm == arm]
            if len(names) == len(of_arm) == len(control):
                found |= {name: after - before for name, after, before in zip(names, of_arm, control, strict=True)}
        return found


def _last(steps: IntArray, before: int) -> int:
    return max(before, int(steps[-1])) if len(steps) else before


def _first_step(trace: Trace) -> int:
    """Return the first step that anything of the trace is written at."""
    return min((int(steps[0]) for steps in (trace.steps, trace.steps_of_loss, trace.evaluation_steps) if len(steps)), default=0)


def _merged(events: Sequence[tuple[int, list[Scalar]]]) -> list[tuple[int, list[Scalar]]]:
    """Return one entry per step, in order of steps."""
    by_step: dict[int, list[Scalar]] = {}
    for step, scalars in events:
        by_step.setdefault(step, []).extend(scalars)
    return sorted((step, scalars) for step, scalars in by_step.items() if scalars)
