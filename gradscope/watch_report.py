"""The report of a network that was watched in the user's own loop: no recipe, no fixes, no test set. Needs no torch."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError

from gradscope import __version__
from gradscope.diagnosis import Diagnosis, diagnose
from gradscope.errors import TraceError, WriteError
from gradscope.report import FILE_NAME as REPORT
from gradscope.report import Control, Hypothesis, Number, Report, Setting, Timing
from gradscope.rules import RULES, Rule
from gradscope.rules.flow import steps_done
from gradscope.trace import Trace

FILE_NAME = "watch.json"
TRACES, ARM = "trace", "run"  # trace/run-0.npz
TENSORBOARD = "tensorboard"
_EVENTS = "events.out.tfevents.*"
_BEGIN = 128  # bytes of an event file, among which its first tag is
_OURS = (b"\x0a\x11gradscope/verdict", b"\x0a\x09diagnosis")  # with which the event file beside the runs' folders begins


class WatchedRun(BaseModel):
    """What is known of a watched training beside its trace; saved as watch.json."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="null")

    model: str = ""  # the network's class
    parameters: NonNegativeInt = 0
    device: str = ""
    versions: dict[str, str] = {}
    steps: NonNegativeInt = 0  # the optimizer's, recorded or not
    train_s: Number = 0.0
    recording_frac: Number = 0.0


def save_watched_run(about: WatchedRun, folder: Path) -> Path:
    """Write watch.json into `folder`, replacing an older one in one step.

    Raises:
        WriteError: the folder cannot be written; an older file is left as it was.
    """
    path = folder / FILE_NAME
    part = path.with_suffix(".json.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part.write_text(about.model_dump_json(indent=2) + "\n", encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise WriteError(f"{path}: cannot be written: {error.strerror}; free some space or choose another log_dir") from error
    return path


def load_watched_run(folder: Path) -> WatchedRun:
    """Read watch.json from `folder`.

    Raises:
        TraceError: there is none, or it is damaged.
    """
    path = folder / FILE_NAME
    try:
        return WatchedRun.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"])) or "watch"
        raise TraceError(f"{path}: {key}: {first['msg']}; the file is damaged or was edited") from error
    except (ValueError, RecursionError) as error:
        raise TraceError(f"{path}: expected JSON, got something else: {error}") from error


def is_watched(folder: Path) -> bool:
    """Tell whether a folder is that of a watched run, as far as its names tell."""
    return (folder / FILE_NAME).is_file() or any((folder / TRACES).glob(f"{ARM}-*.npz"))


def clear_watched_run(folder: Path) -> None:
    """Remove what an earlier watched run left in `folder`, which would pass for this one's; only files of gradscope's own.

    Of its event files empty ones stay until the next call.

    Raises:
        WriteError: a file cannot be removed.
    """
    if not folder.is_dir():
        return
    events: list[Path] = []
    if is_watched(folder):
        board = folder / TENSORBOARD
        events = [*board.glob(f"{ARM}-*/{_EVENTS}"), *filter(_is_of_diagnosis, board.glob(_EVENTS))]
    for path in [folder / REPORT, *(folder / TRACES).glob(f"{ARM}-*.npz"), *events]:
        try:
            if path in events and path.stat().st_size:
                os.truncate(path, 0)  # TensorBoard's slower loader reads no further in a folder whose last file has gone
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise WriteError(f"{path}: cannot be removed: {error.strerror}; choose another log_dir") from error


def _is_of_diagnosis(path: Path) -> bool:
    """Tell gradscope's event file, or what an earlier call left of it, from one that the user's own writer put beside it."""
    try:
        with path.open("rb") as stream:
            begin = stream.read(_BEGIN)
            return not begin or any(tag in begin for tag in _OURS)
    except OSError:
        return False


def build_watch_report(
    traces: Sequence[Trace], about: WatchedRun, *, rules: Sequence[type[Rule]] = RULES, interrupted: bool = False
) -> Report:
    """Return the report of a watched run.

    Args:
        traces: usually one; without any, or without a record in it, the verdict is undecided.
        about: what the traces do not hold.
        rules: by which they are judged.
        interrupted: the training did not come to its end.
    """
    diagnosis = diagnose(traces, rules)
    steps = max([about.steps, *map(steps_done, traces)])
    return Report(
        gradscope=__version__,
        recipe=about.model,
        verdict=diagnosis.verdict,
        control=_metric(traces),
        findings=diagnosis.findings,
        fixes=[],
        recommended=None,
        coverage=diagnosis.coverage,
        timing=Timing(train_s=about.train_s, recording_frac=about.recording_frac),
        undecided=diagnosis.undecided,
        hypotheses=_telling(diagnosis),
        waterfalls=diagnosis.waterfalls,
        setting=Setting(
            device=about.device,
            steps=steps,
            planned_steps=max((trace.task.planned_steps for trace in traces), default=0),
            parameters=about.parameters,
            versions=dict(about.versions),
        ),
        interrupted=interrupted,
    )


def report_of_killed_watch(folder: Path) -> Report:
    """Return what can be said of a watched run without a report: its traces up to the last flush are judged.

    What a missing or damaged watch.json should have said is left out.

    Raises:
        TraceError: a trace cannot be read.
    """
    traces = [Trace.load(path) for path in sorted((folder / TRACES).glob(f"{ARM}-*.npz"))]
    lost = []
    try:
        about = load_watched_run(folder)
    except TraceError:
        about = WatchedRun()
        lost = [f"{FILE_NAME} is missing or damaged: model, device and times are not known"]
    report = build_watch_report(traces, about, interrupted=True)
    notes = [*lost, *report.coverage.notes]
    return report.model_copy(update={"coverage": report.coverage.model_copy(update={"notes": notes})})


def _metric(traces: Sequence[Trace]) -> Control | None:
    """Return the last value of the metric that the loop told, None where it told none."""
    told = [trace for trace in traces if trace.task.metric and len(trace.evaluation_metric)]
    if not told:
        return None
    values = [float(trace.evaluation_metric[-1]) for trace in told]
    return Control(
        metric=told[0].task.metric, mean=sum(values) / len(values), std=0.0, values=values, chance=told[0].task.chance
    )


def _telling(diagnosis: Diagnosis) -> list[Hypothesis]:
    """Return the published explanations that have something to say of this network."""
    return [hypothesis for hypothesis in diagnosis.hypotheses if hypothesis.evidence or hypothesis.holds is not False]
