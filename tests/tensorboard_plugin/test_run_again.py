"""A folder that is written anew while TensorBoard is open: it keeps what it has read, and the tab shows what is new."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import reports
from board import LOADERS, Board, board

from gradscope.renderers.tensorboard import TensorBoardLog
from gradscope.trace import Trace
from gradscope.watch_report import ARM, WatchedRun, clear_watched_run, save_watched_run

pytestmark = pytest.mark.filterwarnings("ignore")  # TensorBoard's own modules warn when they are imported
NAMES = ("1.relu", "2.relu", "3.relu")
LAST = 20  # the step that the second training has come to; the first one came to 50


def second() -> Trace:
    """The network with its sigmoid replaced, without a loss, and with no units recorded."""
    trace = reports.shortened(reports.trace(seed=1), 3, 0)
    sites = tuple(replace(site, name=name) for site, name in zip(trace.sites, NAMES, strict=True))
    site_statistics = {name: values + 100 for name, values in trace.site_statistics.items()}
    return replace(trace, sites=sites, site_statistics=site_statistics, unit_statistics={})


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`training`: the second one is on its way; `ended`: it has ended."""
    folder = tmp_path_factory.mktemp("logs")
    for name in ("training", "ended"):
        first = TensorBoardLog(folder / name)
        first.update([reports.trace(seed=1)])
        first.finish(reports.sick())
        again = TensorBoardLog(folder / name)
        again.update([second()])
        if name == "ended":
            again.finish(reports.healthy())
    return folder


@pytest.fixture(scope="module", params=LOADERS)
def tab(logs: Path, request: pytest.FixtureRequest) -> Iterator[Board]:
    with board(logs, request.param) as found:
        yield found


def test_an_old_verdict_is_none_of_the_new_training(tab: Board) -> None:
    runs = {entry["run"]: entry for entry in tab.json("runs")}
    assert (runs["training"]["verdict"], runs["training"]["last_step"]) == (None, LAST)
    told = tab.json("document", run="training")
    assert (told["verdict"], told["findings"], told["report"]) == (None, [], None)


def test_the_new_verdict_is_told_once_there_is_one(tab: Board) -> None:
    runs = {entry["run"]: entry for entry in tab.json("runs")}
    assert runs["ended"]["verdict"] == tab.json("document", run="ended")["verdict"] == "healthy"


def test_sites_and_steps_are_those_of_the_new_training(tab: Board) -> None:
    document = tab.json("document", run="training")
    assert [site["name"] for site in document["layouts"][0]["sites"]] == list(NAMES)
    assert [member["last_step"] for member in document["members"]] == [LAST]
    found = tab.arrays("matrix", member="training/control-1", statistic="act_rms")
    assert found["steps"].tolist() == [0, 10, LAST]
    assert np.array_equal(found["values"], second().site_statistics["act_rms"].T)


def test_losses_metrics_and_units_of_the_old_training_are_gone(tab: Board) -> None:
    found = tab.arrays("series", member="training/control-1")
    assert (len(found["loss"]), len(found["metric"])) == (0, 0)
    status, _ = tab.refused("units", member="training/control-1", site=0, statistic="closed_frac")
    assert status == 404


def test_a_folder_that_is_watched_again_is_read_on(tmp_path: Path) -> None:
    """TensorBoard's slower loader reads no further in a folder whose last file has gone: files are emptied instead."""
    folder = tmp_path / "tensorboard"
    first = TensorBoardLog(folder)
    first.update([replace(reports.trace(seed=0), arm=ARM)])
    first.finish(reports.watched())
    save_watched_run(WatchedRun(), tmp_path)
    with board(folder) as found:
        assert found.json("runs")[0]["verdict"] == "sick"
        clear_watched_run(tmp_path)
        TensorBoardLog(folder).update([replace(second(), arm=ARM, seed=0)])
        found.read_on()
        (entry,) = found.json("runs")
        assert (entry["verdict"], entry["last_step"]) == (None, LAST)
        told = found.arrays("matrix", member=f"{ARM}-0", statistic="act_rms")
        assert told["steps"].tolist() == [0, 10, LAST]
