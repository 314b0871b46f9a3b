"""Event files, written and read back; a real TensorBoard over HTTP."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import reports
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gradscope.errors import WriteError
from gradscope.renderers.tensorboard import TensorBoardLog
from gradscope.renderers.tensorboard_file import EventFile, scalar_summary
from gradscope.renderers.tensorboard_scalars import loss_scalars, record_scalars, share_at_input
from gradscope.renderers.view_statistics import site_statistics
from gradscope.trace import Task, Trace

ARMS = ("control", "batchnorm-last", "batchnorm-all", "reseed")
ALL = {"scalars": 0, "tensors": 0}
OURS = {"gradscope/report", "gradscope/verdict"}


def read(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance=ALL).Reload()


def points(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in read(folder).Scalars(tag)]


def traces_of_all_arms(**changes: Any) -> list[Any]:
    return [reports.trace(arm, seed + (5 if arm == "reseed" else 0), **changes) for arm in ARMS for seed in range(1, 6)]


def test_scalars_come_back_with_their_steps_and_values(tmp_path: Path) -> None:
    trace = reports.trace()
    TensorBoardLog(tmp_path).update([trace])
    run = tmp_path / "control-1"
    tags = set(read(run).Tags()["scalars"])
    assert {"loss/train", "accuracy/test", "loss/test", "gradient/share_at_input", "gradient/smallest_gate"} <= tags
    assert {"site/3.relu/dead_frac", "site/2.sigmoid/act_rms", "parameter/0.weight/update_to_weight"} <= tags
    grad = points(run, "site/1.relu/grad_rms")
    assert [step for step, _ in grad] == trace.steps.tolist()
    assert np.allclose([value for _, value in grad], trace.site_statistics["grad_rms"][:, 0])
    assert [value for _, value in points(run, "site/3.relu/dead_frac")] == [0.0, 0.5, 0.5, 0.5, 0.5, 0.5]
    assert [step for step, _ in points(run, "loss/train")] == list(range(60))
    assert points(run, "accuracy/test") == [(50, 0.5)]


def test_growing_traces_are_written_once(tmp_path: Path) -> None:
    whole = reports.trace()
    log = TensorBoardLog(tmp_path)
    for records, losses, evaluations in ((0, 0, 0), (2, 15, 0), (2, 15, 0), (5, 50, 0), (6, 60, 1), (6, 60, 1)):
        log.update([reports.shortened(whole, records, losses, evaluations)])
    TensorBoardLog(tmp_path / "once").update([whole])
    grown, once = read(tmp_path / "control-1"), read(tmp_path / "once" / "control-1")
    assert grown.Tags()["scalars"]
    assert sorted(grown.Tags()["scalars"]) == sorted(once.Tags()["scalars"])
    for tag in once.Tags()["scalars"]:
        assert [(e.step, e.value) for e in grown.Scalars(tag)] == [(e.step, e.value) for e in once.Scalars(tag)]


def test_values_that_are_not_finite_are_left_out(tmp_path: Path) -> None:
    trace = reports.trace()
    trace.loss[3] = np.nan
    trace.site_statistics["grad_rms"][1, 0] = np.inf
    trace.unit_statistics["common_mode"][0][:] = np.nan
    TensorBoardLog(tmp_path).update([trace])
    run = tmp_path / "control-1"
    assert 3 not in [step for step, _ in points(run, "loss/train")]
    assert 10 not in [step for step, _ in points(run, "site/1.relu/grad_rms")]
    assert "site/1.relu/common_mode" not in read(run).Tags()["scalars"]


def test_statistics_are_computed_once_for_charts_and_tab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def counted(trace: Trace, first: int = 0) -> Any:
        asked.append(first)
        return site_statistics(trace, first)

    monkeypatch.setattr("gradscope.renderers.tensorboard.site_statistics", counted)
    monkeypatch.setattr("gradscope.renderers.view_statistics.site_statistics", counted)
    whole, log = reports.trace(), TensorBoardLog(tmp_path)
    log.update([reports.shortened(whole, 2, 20)])
    log.update([whole])
    assert asked == [0, 2]


def test_one_event_holds_all_scalars_of_a_step() -> None:
    trace = reports.trace()
    records = list(record_scalars(trace, 0, site_statistics(trace)))
    assert len(records) == 6
    assert all(len(scalars) > 30 for _, scalars in records)


def test_losses_are_dense_at_the_start_and_thin_later() -> None:
    long = replace(reports.trace(), loss=np.ones(100_000, dtype=np.float32), task=Task(planned_steps=100_000))
    steps = [step for step, _ in loss_scalars(long, -1)]
    assert steps[:100] == list(range(100))
    assert len(steps) <= 1000
    parts = [
        step
        for first in range(0, 100_000, 777)
        for step, _ in loss_scalars(replace(long, loss=long.loss[: first + 777]), first - 1)
    ]
    assert parts == steps


def test_losses_of_a_training_without_a_planned_end_thin_out() -> None:
    endless = replace(reports.trace(), loss=np.ones(1_000_000, dtype=np.float32), task=Task(""))
    steps = [step for step, _ in loss_scalars(endless, -1)]
    assert steps[:100] == list(range(100))
    assert len(steps) <= 1500
    assert steps[-1] > 990_000


def test_losses_stand_at_the_steps_for_which_they_were_logged(tmp_path: Path) -> None:
    trace = reports.trace()
    log = TensorBoardLog(tmp_path)
    log.update([replace(trace, loss=trace.loss[:2], loss_steps=np.array([5, 9]))])
    log.update([replace(trace, loss=trace.loss[:3], loss_steps=np.array([5, 9, 40]))])
    assert [step for step, _ in points(tmp_path / "control-1", "loss/train")] == [5, 9, 40]


def test_a_trace_that_lets_records_go_is_written_once(tmp_path: Path) -> None:
    """Of a long run every second record may be gone at the next call."""
    whole = reports.trace(records=12)
    log = TensorBoardLog(tmp_path)
    log.update([reports.shortened(whole, 8, 0)])
    log.update([thinned(whole)])
    log.update([thinned(whole)])
    assert [step for step, _ in points(tmp_path / "control-1", "gradient/at_output")] == [*range(0, 80, 10), 80, 100]


def thinned(whole: Trace) -> Trace:
    return replace(
        whole,
        steps=whole.steps[::2],
        samples=whole.samples[::2],
        unit_statistics={k: tuple(a[::2] for a in v) for k, v in whole.unit_statistics.items()},
        site_statistics={k: v[::2] for k, v in whole.site_statistics.items()},
        parameter_statistics={k: v[::2] for k, v in whole.parameter_statistics.items()},
        output_grad_norm=whole.output_grad_norm[::2],
        loss=whole.loss[:0],
    )


@pytest.mark.parametrize("name", ["watched", "watched_healthy", "watched_undecided"])
def test_a_watched_loop_without_loss_and_metric(name: str, tmp_path: Path) -> None:
    log = TensorBoardLog(tmp_path)
    log.update([reports.watched_trace()])
    log.update([reports.watched_trace()])
    log.finish(getattr(reports, name)())
    run, root = read(tmp_path / "run-0"), read(tmp_path)
    tags = run.Tags()["scalars"]
    assert "loss/train" not in tags
    assert not [tag for tag in tags if tag.startswith("/") or tag.endswith("/test")]
    assert "site/encoder.blocks.0.relu@model.py:131#2/remaining" in tags
    assert [step for step, _ in points(tmp_path / "run-0", "gradient/share_at_input")] == list(range(20))
    assert set(root.Tags()["tensors"]) == {"diagnosis", *OURS, "custom_scalars__config__"}  # no table of one run
    assert "_hparams_/session_start_info" not in run.summary_metadata


def test_share_at_input_is_the_product_and_zero_behind_a_shut_gate() -> None:
    trace = reports.trace(records=3)
    gates, weights = trace.site_statistics["gate_transmission"], trace.site_statistics["weight_transmission"]
    gates[:] = [[0.5, 0.5, 0.5], [np.nan, np.nan, 0.0], [np.nan, 0.5, 0.5]]
    weights[:, :2] = 0.1
    shares = share_at_input(trace)
    assert shares[0] == pytest.approx(0.125 * 0.01)
    assert shares[1] == 0.0
    assert np.isnan(shares[2])


def test_share_at_input_is_measured_at_the_first_site_that_a_gradient_came_to() -> None:
    trace = reports.trace(records=3)
    left = np.array([[0.2, 0.0, 0.5], [np.nan, 0.3, 0.5], [np.nan, np.nan, np.nan]], np.float32)
    measured = replace(trace, site_statistics=dict(trace.site_statistics) | {"remaining": left})
    assert share_at_input(measured) == pytest.approx([0.2, 0.3, np.nan], nan_ok=True)
    assert share_at_input(measured, 1) == pytest.approx([0.3, np.nan], nan_ok=True)


@pytest.mark.parametrize("missing", ["site_statistics", "unit_statistics", "parameter_statistics"])
def test_statistics_that_were_not_recorded_are_not_shown(missing: str, tmp_path: Path) -> None:
    TensorBoardLog(tmp_path).update([replace(reports.trace(), **{missing: {}})])
    assert "loss/train" in read(tmp_path / "control-1").Tags()["scalars"]


def test_finish_writes_text_hparams_and_layout(tmp_path: Path) -> None:
    log = TensorBoardLog(tmp_path)
    log.update(traces_of_all_arms())
    log.finish(reports.sick(), {"lr": 0.01, "optimizer": "sgd", "nesterov": False})
    log.close()
    root = read(tmp_path)
    text = root.Tensors("diagnosis")[0].tensor_proto
    assert not text.tensor_shape.dim
    assert text.string_val[0].decode().startswith("# SICK")
    assert set(root.Tags()["tensors"]) == {"diagnosis", *OURS, "_hparams_/experiment", "custom_scalars__config__"}
    run = read(tmp_path / "batchnorm-last-2")
    assert run.Scalars("result/effect")[0].value == pytest.approx(0.97 - 0.31)
    assert {"_hparams_/session_start_info", "_hparams_/session_end_info"} <= set(run.summary_metadata)


def test_effects_are_left_out_where_runs_and_values_do_not_fit(tmp_path: Path) -> None:
    log = TensorBoardLog(tmp_path)
    log.update([reports.trace("batchnorm-last", 1)])
    log.finish(reports.sick())
    assert "result/effect" not in read(tmp_path / "batchnorm-last-1").Tags()["scalars"]


@pytest.mark.parametrize("name", ["healthy", "undecided", "interrupted", "many_sites", "odd_names", "with_nan", "watched"])
def test_finish_takes_every_report(name: str, tmp_path: Path) -> None:
    log = TensorBoardLog(tmp_path)
    log.update([reports.trace(seed=seed) for seed in (1, 2)])
    log.finish(getattr(reports, name)())
    assert read(tmp_path).Tensors("diagnosis")


def test_a_full_disk_is_one_line_and_leaves_a_readable_file(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys, pathlib; sys.path.insert(0, sys.argv[2]); import reports\n"
        "from gradscope.errors import WriteError\n"
        "from gradscope.renderers.tensorboard import TensorBoardLog\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "log = TensorBoardLog(pathlib.Path(sys.argv[1])); whole = reports.trace()\n"
        "log.update([reports.shortened(whole, 2, 20)])\n"
        "size = next(pathlib.Path(sys.argv[1]).rglob('*tfevents*')).stat().st_size\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size + 500, resource.RLIM_INFINITY))\n"
        "try: log.update([whole]); print('no error')\n"
        "except WriteError as error: print(error)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "log.update([whole])\n"
    )
    tests = str(Path(reports.__file__).parent)
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path), tests], check=True, capture_output=True, text=True)
    assert "cannot be written: File too large" in done.stdout
    assert done.stdout.count("\n") == 1
    assert [step for step, _ in points(tmp_path / "control-1", "loss/train")] == list(range(60))


def test_a_folder_that_is_a_file_is_a_write_error(tmp_path: Path) -> None:
    (tmp_path / "control-1").write_text("")
    with pytest.raises(WriteError, match="cannot be written"):
        TensorBoardLog(tmp_path).update([reports.trace()])


def test_what_was_flushed_survives_a_kill(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys, pathlib; sys.path.insert(0, sys.argv[2]); import reports\n"
        "from gradscope.renderers.tensorboard import TensorBoardLog\n"
        "log = TensorBoardLog(pathlib.Path(sys.argv[1])); whole = reports.trace()\n"
        "log.update([reports.shortened(whole, 4, 40)])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    tests = str(Path(reports.__file__).parent)
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path), tests], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [step for step, _ in points(tmp_path / "control-1", "loss/train")] == list(range(40))
    assert [step for step, _ in points(tmp_path / "control-1", "gradient/at_output")] == [0, 10, 20, 30]


def test_no_file_stays_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    log = TensorBoardLog(tmp_path)
    log.update(traces_of_all_arms())
    assert len(os.listdir("/proc/self/fd")) == before


def test_files_are_named_in_the_order_in_which_they_are_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([7_000_000_005, 7_900_000_000, 8_000_000_001])
    monkeypatch.setattr("gradscope.renderers.tensorboard_file.time.time_ns", lambda: next(times))
    names = [EventFile(tmp_path).path.name for _ in range(3)]
    assert names == sorted(set(names))


def test_an_event_file_without_events_is_not_made(tmp_path: Path) -> None:
    EventFile(tmp_path / "run").append([])
    assert not (tmp_path / "run").exists()
    EventFile(tmp_path / "run").append([(7, scalar_summary([("a", 1.0)]))])
    assert points(tmp_path / "run", "a") == [(7, 1.0)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("run")
    log = TensorBoardLog(folder / "tensorboard")
    log.update(traces_of_all_arms())
    log.finish(reports.sick(), {"lr": 0.01, "optimizer": "sgd", "nesterov": False})
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder), "--port", str(port), "--host", "127.0.0.1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    url = f"http://127.0.0.1:{port}/data"
    try:
        deadline = time.monotonic() + 60
        while len(listed(url)) < len(ARMS) * 5 + 1:
            assert process.poll() is None, "TensorBoard ended"
            assert time.monotonic() < deadline, f"TensorBoard lists {listed(url)}"
            time.sleep(0.2)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def listed(url: str) -> list[str]:
    try:
        return list(get(f"{url}/runs"))
    except urllib.error.URLError:
        return []


def get(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"} if data else {})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())


def test_server_lists_scalars_of_every_arm_and_seed(server: str) -> None:
    tags = get(f"{server}/plugin/scalars/tags")
    assert len(tags) == len(ARMS) * 5
    assert {"loss/train", "accuracy/test", "gradient/share_at_input", "result/effect"} <= set(tags["tensorboard/control-1"])
    run = "tensorboard/reseed-8"
    series = get(f"{server}/plugin/scalars/scalars?run={run}&tag=gradient/smallest_gate")
    assert [point[1] for point in series] == [0, 10, 20, 30, 40, 50]


def test_server_shows_the_diagnosis(server: str) -> None:
    assert get(f"{server}/plugin/text/tags")["tensorboard"] == ["diagnosis"]
    text = get(f"{server}/plugin/text/text?run=tensorboard&tag=diagnosis")[0]["text"]
    assert "<h1>SICK: output-collapse at 3.relu" in text
    assert "<td>batchnorm-last</td>" in text
    assert text.count("<table>") == text.count("</table>") >= 4


def test_server_lists_hparams_with_metrics(server: str) -> None:
    experiment = get(f"{server}/plugin/hparams/experiment", {})
    assert {info["name"] for info in experiment["hparamInfos"]} == {"arm", "seed", "lr", "optimizer", "nesterov"}
    assert {info["name"]["tag"] for info in experiment["metricInfos"]} == {"accuracy/test", "result/effect"}
    sessions = {"colParams": [], "startIndex": 0, "sliceSize": 100, "allowedStatuses": ["STATUS_SUCCESS"]}
    groups = get(f"{server}/plugin/hparams/session_groups", sessions)["sessionGroups"]
    assert len(groups) == len(ARMS) * 5
    rows = {
        (g["hparams"]["arm"], g["hparams"]["seed"]): {m["name"]["tag"]: m["value"] for m in g["metricValues"]} for g in groups
    }
    assert rows["batchnorm-last", 1.0] == pytest.approx({"accuracy/test": 0.5, "result/effect": 0.88})
    assert {g["hparams"]["nesterov"] for g in groups} == {"no"}


def test_server_has_a_layout_of_charts(server: str) -> None:
    layout = get(f"{server}/plugin/custom_scalars/layout")
    charts = layout["category"][0]["chart"]
    assert 3 <= len(charts) <= 4
    shown = get(f"{server}/plugin/scalars/tags")["tensorboard/control-1"]
    for chart in charts:
        for tag in chart["multiline"]["tag"]:
            assert tag.strip("^$") in shown
            found = get(f"{server}/plugin/custom_scalars/scalars?run=tensorboard/control-1&tag={quote(tag)}")
            assert found["regex_valid"]
            assert found["tag_to_events"][tag.strip("^$")]
