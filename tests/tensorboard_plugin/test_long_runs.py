"""Long and resumed runs, as both of TensorBoard's loaders keep them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from board import LOADERS, Board, board

from gradscope.renderers.tensorboard import TensorBoardLog
from gradscope.renderers.tensorboard_file import EventFile
from gradscope.renderers.tensorboard_form import Author
from gradscope.renderers.tensorboard_tensors import Batch, Written, tensor_events
from gradscope.renderers.view_statistics import site_statistics
from gradscope.rules.examples import example
from gradscope.tensorboard_plugin.loader import SAMPLES
from gradscope.trace import Trace

pytestmark = pytest.mark.filterwarnings("ignore")  # TensorBoard's own modules warn when they are imported
STEPS = 100_000


def resumed(start: int, records: int, value: float) -> Trace:
    trace = example(("shuts", "shuts"), records=records, site={("act_rms", 0): value}, loss=None)
    return replace(trace, steps=trace.steps + start, loss=trace.loss[:0], evaluation_steps=trace.evaluation_steps + start)


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100,000 recorded steps, each an event; and a run that was resumed at step 15 from a checkpoint, after step 19."""
    folder = tmp_path_factory.mktemp("logs")
    trace = example(("shuts",), records=1)
    author, batch = Author("control", 1, "accuracy", 0), Batch(trace, 0, site_statistics(trace))
    ((_, first), *_), written = tensor_events(batch, author, Written())
    ((_, later), *_), _ = tensor_events(batch, author, written)
    EventFile(folder / "long" / "control-1").append((step, later if step else first) for step in range(STEPS))
    TensorBoardLog(folder / "resumed").update([resumed(0, 20, 1.0)])
    TensorBoardLog(folder / "resumed").update([resumed(15, 10, 2.0)])
    return folder


@pytest.fixture(scope="module", params=LOADERS)
def tab(logs: Path, request: pytest.FixtureRequest) -> Iterator[Board]:
    with board(logs, request.param) as found:
        yield found


def test_of_a_hundred_thousand_steps_two_thousand_are_kept_with_the_last(tab: Board) -> None:
    found = tab.arrays("matrix", member="long/control-1", statistic="act_rms", width=4000)
    assert found["records"] == len(found["steps"]) == SAMPLES
    assert found["steps"][-1] == STEPS - 1
    assert (np.diff(found["steps"]) > 0).all()
    assert np.isfinite(found["values"]).all()
    assert tab.arrays("matrix", member="long/control-1", statistic="act_rms", width=300)["values"].shape == (1, 300)


def test_of_steps_that_were_written_twice_the_later_counts(tab: Board) -> None:
    found = tab.arrays("matrix", member="resumed/control-1", statistic="act_rms")
    assert found["steps"].tolist() == list(range(25))
    assert found["values"][0].tolist() == [1.0] * 15 + [2.0] * 10
    assert tab.arrays("units", member="resumed/control-1", site=0, statistic="closed_frac")["steps"].tolist() == list(range(25))
