"""Every route of the Gradscope tab, over real event files, with both of TensorBoard's loaders."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reports
from board import LOADERS, Board, board

from gradscope.renderers.tensorboard import TensorBoardLog
from gradscope.trace import Trace
from gradscope.waterfall import waterfalls

pytestmark = pytest.mark.filterwarnings("ignore")  # TensorBoard's own modules warn when they are imported
RUN = "sigmoid_relu/1/tensorboard"
CONTROL = f"{RUN}/control-1"


def sick_trace(arm: str = "control", seed: int = 1) -> Trace:
    trace = reports.trace(arm, seed)
    trace.site_statistics["grad_rms"][2, 0] = np.nan
    trace.site_statistics["grad_rms"][3, 1] = np.inf
    trace.unit_statistics["common_mode"][2][1, :] = np.inf
    return trace


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with its report, a watched loop without a site, and one that is still training."""
    folder = tmp_path_factory.mktemp("logs")
    log = TensorBoardLog(folder / RUN)
    log.update([sick_trace(arm, seed) for arm in ("batchnorm-last", "control") for seed in (1, 2)])
    log.finish(reports.sick())
    TensorBoardLog(folder / "live" / "tensorboard").update([reports.shortened(sick_trace(), 3, 20, 0)])
    return folder


@pytest.fixture(scope="module", params=LOADERS)
def tab(logs: Path, request: pytest.FixtureRequest) -> Iterator[Board]:
    with board(logs, request.param) as found:
        yield found


def test_runs_tell_verdicts_and_members(tab: Board) -> None:
    runs = {run["run"]: run for run in tab.json("runs")}
    assert set(runs) == {RUN, "live/tensorboard"}
    assert (runs[RUN]["title"], runs[RUN]["verdict"]) == ("sigmoid-relu", "sick")
    assert sorted(runs[RUN]["members"]) == [f"{RUN}/{arm}-{seed}" for arm in ("batchnorm-last", "control") for seed in (1, 2)]
    assert (runs["live/tensorboard"]["title"], runs["live/tensorboard"]["verdict"]) == ("live", None)
    assert runs["live/tensorboard"]["last_step"] == 20


def test_the_document_is_the_report_with_places(tab: Board) -> None:
    told = tab.json("document", run=RUN)
    report = reports.sick()
    assert told["report"]["findings"] == reports_json()["findings"]
    assert (told["verdict"], told["recommended"]) == ("sick", "batchnorm-last")
    assert [member["arm"] for member in told["members"]] == ["control", "control", "batchnorm-last", "batchnorm-last"]
    first = told["findings"][0]
    assert (first["rule"], first["role"]) == ("output-collapse", "origin")
    assert first["place"] == {"member": CONTROL, "layout": 0, "site": 2, "step": 0, "statistic": "dead_frac"}
    assert [site["name"] for site in told["layouts"][0]["sites"]] == list(reports.NAMES)
    assert told["fixes"][0]["pairs"][0] == {"seed": 1, "control": 0.1, "value": 0.98}
    assert [fix["effect"] for fix in told["fixes"]] == [fix.effect for fix in report.fixes]


def reports_json() -> Any:
    import json

    return json.loads(reports.sick().to_json())


def test_a_run_that_is_training_has_a_document_without_a_report(tab: Board) -> None:
    told = tab.json("document", run="live/tensorboard")
    assert (told["verdict"], told["report"], told["findings"]) == (None, None, [])
    assert told["members"][0]["last_step"] == 20
    assert tab.arrays("matrix", member="live/tensorboard/control-1", statistic="act_rms")["steps"].tolist() == [0, 10, 20]


def test_a_matrix_is_what_was_recorded_not_a_number_included(tab: Board) -> None:
    trace = sick_trace()
    found = tab.arrays("matrix", member=CONTROL, statistic="grad_rms")
    assert found["steps"].tolist() == trace.steps.tolist()
    assert np.array_equal(found["values"], trace.site_statistics["grad_rms"].T, equal_nan=True)
    assert np.isnan(found["values"][0, 2])
    assert np.isinf(found["values"][1, 3])


def test_a_matrix_is_cut_to_a_range_and_a_width(tab: Board) -> None:
    found = tab.arrays("matrix", member=CONTROL, statistic="act_rms", **{"from": 10, "to": 40})
    assert (found["steps"].tolist(), found["records"]) == ([10, 20, 30, 40], 4)
    found = tab.arrays("matrix", member=CONTROL, statistic="act_rms", width=3)
    assert (found["steps"].tolist(), found["records"], found["values"].shape) == ([0, 20, 50], 6, (3, 3))


def test_units_are_the_histories_of_one_site(tab: Board) -> None:
    trace = sick_trace()
    found = tab.arrays("units", member=CONTROL, site=2, statistic="closed_frac")
    assert np.allclose(found["values"], trace.unit_statistics["closed_frac"][2].T, atol=1e-3)
    assert (found["units"].tolist(), found["of"]) == (list(range(trace.sites[2].units)), trace.sites[2].units)
    assert np.isinf(tab.arrays("units", member=CONTROL, site=2, statistic="common_mode")["values"][:, 1]).all()


def test_the_waterfall_is_the_one_of_the_report(tab: Board) -> None:
    found = tab.arrays("waterfall", member=CONTROL)
    expected = waterfalls([sick_trace()])
    assert found["steps"].tolist() == [waterfall.step for waterfall in expected]
    assert [stage["name"] for stage in found["stages"]] == [stage.name for stage in expected[0].stages]
    for column, waterfall in enumerate(expected):
        passes = [np.nan if stage.transmission is None else stage.transmission for stage in waterfall.stages]
        assert np.allclose(found["transmission"][:, column], passes, rtol=1e-3, equal_nan=True)


def test_series_are_loss_and_metric(tab: Board) -> None:
    trace = sick_trace()
    found = tab.arrays("series", member=CONTROL)
    assert np.allclose(found["loss"], trace.loss)
    assert found["loss_steps"].tolist() == trace.steps_of_loss.tolist()
    assert found["metric_steps"].tolist() == trace.evaluation_steps.tolist()
    assert np.allclose(found["metric"], trace.evaluation_metric)
    assert found["metric_name"] == "accuracy"


def test_a_loss_that_is_not_finite_is_told_where_it_was_recorded(tmp_path: Path) -> None:
    """TensorBoard's own scalars leave it out: between the records nothing is known of it."""
    trace = sick_trace()
    trace.loss[25:] = np.nan
    trace.loss[50] = np.inf
    TensorBoardLog(tmp_path / "diverged").update([trace])
    with board(tmp_path) as found:
        series = found.arrays("series", member="diverged/control-1")
        losses = dict(zip(series["loss_steps"].tolist(), series["loss"].tolist(), strict=True))
        assert np.allclose([losses[step] for step in range(25)], trace.loss[:25])
        assert np.isnan([losses[step] for step in (30, 40)]).all()
        assert losses[50] == np.inf
        later = found.arrays("series", member="diverged/control-1", **{"from": 33, "to": 45})
        assert later["loss_steps"].tolist() == [30, 40]  # what was told last before the range too
        few = found.arrays("series", member="diverged/control-1", width=4)
        assert {0, 10, 20, 30, 40, 50} <= set(few["loss_steps"].tolist()) < set(series["loss_steps"].tolist())


@pytest.mark.parametrize(
    ("path", "arguments", "code", "text"),
    [
        ("document", {}, 400, "run="),
        ("document", {"run": "nowhere"}, 404, "nowhere"),
        ("matrix", {"statistic": "act_rms"}, 400, "member="),
        ("matrix", {"member": "nobody", "statistic": "act_rms"}, 404, "nobody"),
        ("matrix", {"member": CONTROL, "statistic": "luck"}, 404, "expected one of"),
        ("matrix", {"member": CONTROL, "statistic": "act_rms", "width": "wide"}, 400, "width"),
        ("matrix", {"member": CONTROL, "statistic": "act_rms", "width": 0}, 400, "at least 1"),
        ("matrix", {"member": CONTROL, "statistic": "act_rms", "from": "-1"}, 400, "from"),
        ("units", {"member": CONTROL, "site": 3, "statistic": "closed_frac"}, 404, "3 sites"),
        ("units", {"member": CONTROL, "site": "x", "statistic": "closed_frac"}, 400, "site"),
        ("units", {"member": CONTROL, "site": 0, "statistic": "act_rms"}, 404, "act_rms"),
        ("waterfall", {"member": RUN}, 404, RUN),
        ("series", {"member": "../../etc/passwd"}, 404, "passwd"),
    ],
)
def test_what_cannot_be_answered_is_told_in_one_line(
    tab: Board, path: str, arguments: dict[str, Any], code: int, text: str
) -> None:
    status, told = tab.refused(path, **arguments)
    assert status == code
    assert text in told
    assert "\n" not in told


@pytest.mark.parametrize(
    "path",
    ["static/plugin.py", "static/../plugin.py", "static/%2e%2e%2fplugin.py", "static/..%5cplugin.py", "static/", "static/.js"],
)
def test_only_the_pages_own_files_are_served(tab: Board, path: str) -> None:
    assert tab.get(path).status_code == 404


def test_the_pages_files_are_served_as_modules_and_never_from_a_cache(tab: Board) -> None:
    answer = tab.get("static/index.js")
    assert (answer.status_code, answer.mimetype) == (200, "text/javascript")
    assert b"export const { render }" in answer.data
    assert not re.search(rb"^import ", answer.data, re.M)  # nothing more to be asked for
    assert "no-cache" in answer.headers["Cache-Control"]
    assert tab.get("static/style.css").mimetype == "text/css"


def test_tensorboard_lists_the_tab_as_enabled(tab: Board) -> None:
    listed = tab.client.get("/data/plugins_listing").json["gradscope"]
    assert listed["enabled"]
    assert listed["tab_name"] == "Gradscope"
    assert listed["loading_mechanism"]["module_path"].endswith("/static/index.js")


def test_a_path_prefix_is_kept_to(logs: Path) -> None:
    with board(logs, "python", "--path_prefix=/tb") as found:
        assert found.prefix == "/tb"
        assert len(found.json("runs")) == 2


def test_a_training_that_comes_to_have_other_sites_is_one_history(tmp_path: Path) -> None:
    whole = sick_trace()
    early = replace(
        reports.shortened(whole, 3, 20, 0),
        sites=whole.sites[:2],
        unit_statistics={name: values[:2] for name, values in reports.shortened(whole, 3, 20, 0).unit_statistics.items()},
        site_statistics={name: values[:3, :2] for name, values in whole.site_statistics.items()},
    )
    log = TensorBoardLog(tmp_path / "tensorboard")
    log.update([early])
    log.update([whole])
    with board(tmp_path / "tensorboard") as found:
        (run,) = found.json("runs")
        assert (run["run"], run["members"]) == (".", ["control-1"])
        values = found.arrays("matrix", member="control-1", statistic="act_rms")
        assert values["steps"].tolist() == whole.steps.tolist()
        assert np.isnan(values["values"][2, :3]).all()
        assert np.array_equal(values["values"][2, 3:], whole.site_statistics["act_rms"][3:, 2])
        assert np.array_equal(values["values"][:2], whole.site_statistics["act_rms"].T[:2])
        assert found.arrays("units", member="control-1", site=2, statistic="closed_frac")["steps"].tolist() == [30, 40, 50]
