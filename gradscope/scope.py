"""`gradscope.watch`: a recorder around a model and a loop of the user's own."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Literal

import jaxtyping
import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from gradscope.diagnosis import diagnose
from gradscope.errors import FindingError, GradscopeWarning, WatchError, WriteError
from gradscope.late_look import Inputs, LateLook
from gradscope.logged import Series, as_number
from gradscope.member_traces import MemberName, Progress, build_traces
from gradscope.mixed_precision import loss_scale
from gradscope.network_parts import OptimizerWrapper, torch_optimizers
from gradscope.ranks import Ranks
from gradscope.recorder import Recorder
from gradscope.renderers.tensorboard import TensorBoardLog
from gradscope.report import Coverage, Finding, save_report
from gradscope.rules import Rule
from gradscope.schedule import Schedule
from gradscope.trace import Task, Trace
from gradscope.versions import versions
from gradscope.watch_arguments import OWN_SCHEDULE, check_arguments
from gradscope.watch_report import (
    ARM,
    TENSORBOARD,
    TRACES,
    WatchedRun,
    build_watch_report,
    clear_watched_run,
    save_watched_run,
)
from gradscope.watched_diagnosis import WatchedDiagnosis

MOST_IDLE = 1000  # steps that the schedule is asked for ahead
SEED = 0  # of a training of the user's own it is not known
OnFinding = Literal["warn", "raise", "ignore"] | Callable[[Finding], object]
OneOptimizer = torch.optim.Optimizer | OptimizerWrapper
_FOLDERS = (Path(__file__).parent, *(Path(str(module.__file__)).parent for module in (torch, jaxtyping)))
_NOT_THE_USERS = (*(f"{folder}{os.sep}" for folder in _FOLDERS), "<@beartype")  # files; the last two check types

# A flush copies, judges and writes: soon after the start, where networks collapse, then seldom, and the seldomer the longer
# it takes, so that it stays below half a hundredth of the time.
FIRST_FLUSHES = (10, 30, 100)  # steps
FLUSH_S, FLUSH_FRAC = 10.0, 0.005
"""Seconds between flushes, and the largest share of the time that they may take."""


def watch(
    model: nn.Module,
    optimizer: OneOptimizer | Sequence[OneOptimizer],
    log_dir: str | os.PathLike[str] | None = None,
    *,
    schedule: Schedule | None = None,
    every: int | None = None,
    sites: str | Sequence[str] = (),
    rules: Sequence[type[Rule]] | None = None,
    on_finding: OnFinding = "warn",
    names: Mapping[str, str] | None = None,
) -> Scope:
    """Watch a model while a loop of your own trains it.

    Changes no bit of the training and leaves nothing behind. Steps are counted by the optimizer's; with several optimizers a
    step ends when each has stepped, or one for the second time.

    Args:
        model: any module; data-parallel and compiling wrappers are looked through.
        optimizer: what trains it, one or several; wrappers with an `optimizer` of their own are looked through.
        log_dir: folder for the trace and TensorBoard, readable while the run goes on and after a kill; None writes nothing.
        schedule: at which steps to look, a function of the step from 0; default: densely at the start, then ever more seldom.
        every: look at every so many steps instead.
        sites: patterns of the sites to record, such as "encoder.*"; those that begin with "!" are left out.
        rules: what to judge by; default: all rules.
        on_finding: at an error finding "warn" once, "raise" a `FindingError`, "ignore" it, or call this with each new finding.
            They are looked for after steps 10, 30 and 100, then now and then, and at the end.
        names: names of your own for modules, by path.

    Returns:
        A scope, to be entered with `with`.

    Raises:
        WatchError: an argument that cannot be used, in one line.

    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> with watch(model, optimizer) as scope:
    ...     for _ in range(20):
    ...         loss = model(torch.randn(32, 4)).square().mean()
    ...         loss.backward()
    ...         optimizer.step()
    ...         optimizer.zero_grad()
    ...         scope.log(loss=loss)
    >>> scope.diagnosis.verdict
    'healthy'
    """
    chosen = check_arguments(
        model=model,
        log_dir=log_dir,
        schedule=schedule,
        every=every,
        sites=sites,
        rules=rules,
        on_finding=on_finding,
        names=names,
    )
    recorder = Recorder(model, torch_optimizers(optimizer), chosen.schedule, sites=chosen.patterns, names=names)
    folder = None if log_dir is None else Path(log_dir)
    return Scope(recorder, Ranks(model), chosen.schedule_name, folder, chosen.rules, on_finding)


class Scope:
    """A watched training: a context manager, or `start` and `close`. See `watch`."""

    def __init__(
        self,
        recorder: Recorder,
        ranks: Ranks,
        schedule: str,
        log_dir: Path | None,
        rules: tuple[type[Rule], ...],
        on_finding: OnFinding,
    ) -> None:
        self.step = 0
        self._given = log_dir
        self.log_dir = log_dir = log_dir if ranks.is_first else None  # the first process writes for all
        self._ranks = ranks
        self._recorder: Recorder | None = recorder
        self._schedule, self._rules, self._on_finding = schedule, rules, on_finding
        self._is_single = len(recorder.optimizers) == 1
        self._knows_ahead = schedule != OWN_SCHEDULE and self._is_single  # a user's function is asked in time
        self._series: dict[str, Series] = {}
        self._trace: Trace | None = None
        self._about = _about(recorder)
        self._handles: list[Any] = []  # of hooks on the optimizers, for good
        self._looking: list[Any] = []  # and for the step that is looked at
        self._idle = 0  # steps to come that are not looked at
        optimizers = recorder.optimizers
        is_alone = self._is_single and ranks.size == 1  # the ranks' records are of the same steps
        self._late = LateLook(recorder.network, optimizers[0], self._look_late) if is_alone else None
        self._stepped: set[int] = set()
        self._told: set[tuple[str, str | None]] = set()
        self._board = None if log_dir is None else TensorBoardLog(log_dir / TENSORBOARD)
        self._next_flush = FIRST_FLUSHES[0]  # in steps; afterwards time tells
        self._started = self._flushed_at = 0.0
        self._flush_s = 0.0
        self._interrupted = self._has_failed = False
        self._is_complete = False  # the trace has all there is

    def __enter__(self) -> Scope:
        """Start watching."""
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop watching; what was recorded is kept, whatever ended the block."""
        self._interrupted = kind is not None
        self.close()

    def start(self) -> Scope:
        """Start watching, if it has not been started.

        Raises:
            WatchError: it has ended.
            WriteError: `log_dir` cannot be written.
        """
        recorder = self._recorder
        if recorder is None:
            raise WatchError("start: expected a scope that is new, got one that has been closed; call gradscope.watch again")
        if self._handles:
            return self
        self._started = self._flushed_at = time.perf_counter()
        if self.log_dir is not None:
            clear_watched_run(self.log_dir)
            save_watched_run(self._about, self.log_dir)
        self._ranks.start()
        self._handles = [optimizer.register_step_post_hook(self._after_step) for optimizer in recorder.optimizers]
        recorder.__enter__()
        self._begin(recorder)
        return self

    def close(self) -> None:
        """Stop watching, take off every hook and write what is to be written.

        Raises:
            FindingError: an error finding that was not there before, where an exception was asked for and none is on its way.
        """
        recorder = self._recorder
        if recorder is None:
            return
        was_started = bool(self._handles)
        for handle in (*self._handles, *self._looking):
            handle.remove()
        if self._late is not None:
            self._late.stand_down()
        recorder.__exit__(None, None, None)
        try:
            if was_started:
                self._flush(recorder, is_last=True)
            else:
                self._trace = self._build(recorder)
        finally:
            self._recorder, self._late, self._handles, self._looking = None, None, [], []

    def log(self, **values: object) -> None:
        """Report the loss (`loss=...`) and metrics of the step just taken: numbers, or tensors of one, kept on their device.

        Raises:
            WatchError: a value that is not one number.
        """
        if self._recorder is None:
            return
        step = self.step - 1 if self.step else 0
        for name, value in values.items():
            number = as_number(name, value)
            series = self._series.get(name)
            if series is None:
                series = self._series[name] = Series()
            series.put(step, number)

    @property
    def trace(self) -> Trace:
        """What was recorded so far."""
        if self._recorder is not None and not self._is_complete:
            self._trace = self._build(self._recorder)
        assert self._trace is not None
        return self._trace

    @property
    def coverage(self) -> Coverage:
        """What was seen of the model, and what could not be seen."""
        return self.diagnosis.coverage

    @property
    def diagnosis(self) -> WatchedDiagnosis:
        """What the rules say of what was recorded so far."""
        report = build_watch_report([self.trace], self._about_now(), rules=self._rules, interrupted=self._interrupted)
        return WatchedDiagnosis(report, self.log_dir)

    def save(self, folder: str | Path | None = None) -> Path:
        """Write trace and report into `folder`, or `log_dir`, and return it.

        Of several processes that train one network only the first writes.

        Raises:
            WatchError: neither was given.
            WriteError: it cannot be written.
        """
        target = self._given if folder is None else Path(folder)
        if not self._ranks.is_first:
            return target or Path()
        if target is None:
            raise WatchError("save: expected a folder, since watch was given no log_dir")
        self.trace.save(target / TRACES / f"{ARM}-{SEED}.npz")
        diagnosis = self.diagnosis
        save_watched_run(self._about, target)
        save_report(diagnosis.report, target)
        return target

    # --- around the optimizer's steps ---

    def _before_step(self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
        recorder = self._recorder
        if recorder is None or not recorder.is_looking:
            return None
        scale = loss_scale()
        closure = args[1] if len(args) > 1 else kwargs.get("closure")  # the first one is the optimizer
        if not callable(closure):
            recorder.gradients_ready(optimizer, scale)
            return None
        taken = False

        def looked_at(*inputs: Any, **options: Any) -> Any:  # noqa: ANN401
            nonlocal taken
            result = closure(*inputs, **options)
            if not taken:  # what LBFGS evaluates after that lies at other weights
                taken = True
                recorder.gradients_ready(optimizer, scale)
            return result

        return ((args[0], looked_at, *args[2:]), kwargs) if len(args) > 1 else (args, kwargs | {"closure": looked_at})

    def _after_step(self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._idle:  # most steps: the less is done in them, the less of the training's data leaves the caches
            self._idle -= 1
            self.step += 1
            return
        recorder = self._recorder
        if recorder is None:
            return
        if self._is_single and not recorder.is_looking:
            self.step += 1
            if self.step >= self._next_flush:
                self._flush(recorder)
            self._begin(recorder)
            return
        again = id(optimizer) in self._stepped
        self._stepped.add(id(optimizer))
        is_last = again or len(self._stepped) == len(recorder.optimizers)
        was_looking = recorder.is_looking
        recorder.step_taken(optimizer, is_last=is_last)
        if not is_last:
            return
        self._stepped.clear()
        self.step += 1
        if was_looking:
            for handle in self._looking:
                handle.remove()
            self._looking = []
        if self.step >= self._next_flush or (was_looking and self._is_time()):
            self._flush(recorder)
        self._begin(recorder)

    def _look_late(self, inputs: Inputs) -> None:
        """Look at the step under way after all, since its gradient is not finite."""
        recorder = self._recorder
        if recorder is not None and recorder.look_late(self.step, *inputs):
            self._idle = 0
            recorder.gradients_ready(recorder.optimizers[0], loss_scale())

    def _begin(self, recorder: Recorder) -> None:
        is_looking = recorder.begin(self.step)
        if self._late is not None:
            if is_looking or not recorder.can_look_late:
                self._late.stand_down()
            else:
                self._late.stand_by()
        if is_looking:
            self._looking = [optimizer.register_step_pre_hook(self._before_step) for optimizer in recorder.optimizers]
        elif self._knows_ahead:
            most = min(MOST_IDLE, self._next_flush - self.step - 1)
            self._idle = next((n for n in range(most) if recorder.looks_at(self.step + n + 1)), most)

    def _is_time(self) -> bool:
        return time.perf_counter() - self._flushed_at > max(FLUSH_S, self._flush_s / FLUSH_FRAC)

    # --- copying, judging and writing ---

    def _flush(self, recorder: Recorder, *, is_last: bool = False) -> None:
        start = time.perf_counter()
        self._next_flush = next((step for step in FIRST_FLUSHES if step > self.step), sys.maxsize)
        with recorder.timed:
            recorder.records.flush()
            self._ranks.send(recorder.records, is_last=is_last)
            if not self._ranks.is_first and not is_last:  # it neither writes nor judges
                self._flushed_at, self._flush_s = time.perf_counter(), time.perf_counter() - start
                return
            trace = self._trace = self._build(recorder, is_last=is_last and not self._interrupted)
            self._is_complete = is_last
        try:
            self._write(trace, is_last=is_last)
        except WriteError as error:  # the training is worth more than its record: it goes on, and the next flush tries again
            if not self._has_failed:
                _warn(f"gradscope: {error}")
            self._has_failed = True
        self._flushed_at = time.perf_counter()
        self._flush_s = self._flushed_at - start
        # where an exception is on its way, as in `finally: scope.close()`, that one is the user's to see
        self._tell(trace, may_raise=not is_last or not (self._interrupted or sys.exc_info()[0]))

    def _write(self, trace: Trace, *, is_last: bool) -> None:
        if self.log_dir is None or self._board is None:
            return
        trace.save(self.log_dir / TRACES / f"{ARM}-{SEED}.npz")
        self._board.update([trace])
        save_watched_run(self._about_now(), self.log_dir)
        if is_last:
            self.save()
            self._board.finish(self.diagnosis.report)

    def _build(self, recorder: Recorder, *, is_last: bool = False) -> Trace:
        loss = self._series.get("loss", Series())
        losses = loss.values()
        progress = Progress(loss=losses[:, None])
        metric = next((name for name in self._series if name != "loss"), "")
        if metric:
            series = self._series[metric]
            values = series.values()
            progress.evaluation_steps = [step + 1 for step in series.steps]
            progress.evaluation_metric = list(values[:, None])
            progress.evaluation_loss = list(np.full_like(values, np.nan)[:, None])
        recorder.records.flush()
        records, notes = self._ranks.merged(recorder.records, is_last=is_last)
        name = [MemberName(ARM, SEED)]
        (trace,) = build_traces(recorder, name, progress, Task(metric), self._schedule, records)
        return replace(trace, loss_steps=np.array(loss.steps, np.int64), notes=(*trace.notes, *notes))

    def _about_now(self) -> WatchedRun:
        recorder = self._recorder
        if recorder is not None and self._started:
            seconds = max(time.perf_counter() - self._started, 1e-9)
            known = {
                "parameters": _count(recorder.network),
                "steps": self.step,
                "train_s": round(seconds, 3),
                "recording_frac": round(recorder.recording_s / seconds, 4),
            }
            self._about = self._about.model_copy(update=known)
        return self._about

    def _tell(self, trace: Trace, *, may_raise: bool) -> None:
        if self._on_finding == "ignore" or not self._ranks.is_first:
            return
        for finding in diagnose([trace], self._rules).findings:
            key = (finding.rule, finding.site)
            if key in self._told or (finding.severity != "error" and not callable(self._on_finding)):
                continue
            self._told.add(key)
            if callable(self._on_finding):
                self._on_finding(finding)
                continue
            text = f"{finding.code} {finding.rule} at {finding.site or 'the network'}: {finding.text}"
            if self._on_finding == "raise" and may_raise:
                raise FindingError(f"step {self.step}: {text}; `gradscope explain {finding.code}` tells more")
            if self._on_finding == "warn":
                self._on_finding = "ignore"
                _warn(f"gradscope: step {self.step}: {text}; scope.diagnosis tells more")
                return


def _about(recorder: Recorder) -> WatchedRun:
    network = recorder.network
    parameters = list(network.parameters())
    device: torch.device = parameters[0].device if parameters else torch.device("cpu")
    return WatchedRun(
        model=type(network).__name__,
        parameters=_count(network),
        device=str(device),
        versions=versions(),
    )


def _count(network: nn.Module) -> int:
    """Return how many parameters there are, without those that get their shape in the first pass."""
    return sum(parameter.numel() for parameter in network.parameters() if not is_lazy(parameter))


def _warn(text: str) -> None:
    """Warn of the line of the user's own that led here, through torch's optimizers and hooks."""
    frame: FrameType | None = sys._getframe(1)
    level = 2
    while frame is not None and frame.f_code.co_filename.startswith(_NOT_THE_USERS):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, GradscopeWarning, stacklevel=level)
