"""The losses and metrics for the Gradscope tab, as they are in event files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import reports
from event_files import tensors

from gradscope.renderers.tensorboard import TensorBoardLog
from gradscope.renderers.tensorboard_curves import CurvesWritten, curve_events
from gradscope.renderers.tensorboard_form import EVALUATIONS, LOSS, Author
from gradscope.renderers.tensorboard_tensors import ALL_SITES
from gradscope.tensorboard_plugin.loader import SAMPLES

AUTHOR = Author("control", 1, "accuracy", 0)


def test_losses_are_told_at_recorded_steps_finite_or_not(tmp_path: Path) -> None:
    whole = reports.trace()
    whole.loss[20], whole.loss[33], whole.loss[40] = np.nan, np.nan, np.inf
    log = TensorBoardLog(tmp_path)
    for records, losses in ((1, 0), (2, 15), (3, 15), (5, 50), (6, 60)):
        log.update([reports.shortened(whole, records, losses)])
    log.update([whole])
    steps, values = tensors(tmp_path / "control-1", LOSS)
    assert steps == whole.steps.tolist()
    assert np.array_equal(values, whole.loss[whole.steps], equal_nan=True)
    steps, values = tensors(tmp_path / "control-1", EVALUATIONS)
    assert (steps, values.tolist()) == ([50], [[0.5, 1.5]])


def test_losses_of_many_records_are_thinned() -> None:
    trace = replace(reports.trace(), steps=np.arange(20_000), loss=np.ones(20_000, np.float32))
    events, written = curve_events(trace, AUTHOR, CurvesWritten())
    assert ALL_SITES < len(events) < SAMPLES
    assert (written.losses, written.step) == (20_000, 19_999)
