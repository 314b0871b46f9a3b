"""HTML files of made reports and traces, for the tests of the pages: nothing is trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import made_sweeps
import numpy as np
import reports

import gradscope
from gradscope.renderers.html_report import html_of_run, html_of_sweep
from gradscope.report import Report
from gradscope.trace import Trace

STATIC = Path(gradscope.__file__).parent / "tensorboard_plugin" / "static"
ARMS = ("control", "batchnorm-last", "batchnorm-all", "reseed")
SEEDS = {"reseed": range(6, 11)}
WITHOUT_MAP = ("undecided", "watched_undecided", "sweep")


def traces() -> list[Trace]:
    """Five seeds of each arm, with a cell of each kind that is not finite in the control's first."""
    found = [reports.trace(arm, seed) for arm in ARMS for seed in SEEDS.get(arm, range(1, 6))]
    return [_odd(found[0]), *found[1:]]


def _odd(trace: Trace) -> Trace:
    statistics = {name: values.copy() for name, values in trace.site_statistics.items()}
    statistics["grad_rms"][1, :] = np.array([np.nan, np.inf, 0.0])
    gates = statistics["gate_transmission"]
    gates[-1, 2] = 0.0  # nothing gets past the last site at the last step
    return replace(trace, site_statistics=statistics)


def report(name: str) -> Report:
    return getattr(reports, name)()


def page(name: str) -> str:
    """The text of the file of a made report; of `sweep`, of a made sweep."""
    if name == "sweep":
        return html_of_sweep(made_sweeps.published())
    recorded: Any = {"watched": [reports.watched_trace()], "watched_healthy": [reports.watched_trace()]}
    return html_of_run(report(name), [] if name in WITHOUT_MAP else recorded.get(name, traces()))


def has_map(name: str) -> bool:
    return name not in WITHOUT_MAP
