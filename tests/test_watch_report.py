"""The report of a watched loop: without recipe, fixes and test set, and of a run that was killed."""

from dataclasses import replace

import numpy as np
import pytest
from reports import WATCHED, watched_trace

from gradscope.errors import TraceError, WriteError
from gradscope.report import load_report, save_report
from gradscope.rules import DeadLayer, StuckAtChance
from gradscope.rules.examples import example
from gradscope.trace import Task
from gradscope.watch_report import (
    WatchedRun,
    build_watch_report,
    is_watched,
    load_watched_run,
    report_of_killed_watch,
    save_watched_run,
)

SHUT = ("closed_frac", "nonpositive_frac")


def test_a_whole_report():
    report = build_watch_report([watched_trace()], WATCHED)
    assert (report.recipe, report.verdict, report.interrupted) == ("ResidualNet", "healthy", False)
    assert (report.control, report.fixes, report.recommended, report.expectation.met) == (None, [], None, None)
    setting = report.setting
    assert (setting.steps, setting.planned_steps, setting.parameters, setting.device) == (4000, 0, 1_234_567, "cuda:0")
    assert (setting.data, setting.seeds, setting.test_samples, setting.interval_method) == ("", [], 0, "")
    assert setting.versions == {"torch": "2.14.1"}
    assert (report.timing.train_s, report.timing.recording_frac) == (61.2, 0.013)
    assert len(report.waterfalls) == 20
    assert report.hypotheses == []  # none of them has something to say of this network
    assert [item.code for item in report.undecided] == ["GS203", "GS204"]


def test_published_explanations_stand_where_they_have_something_to_say():
    def names(kinds, **changes):
        return [found.name for found in build_watch_report([example(kinds, **changes)], WATCHED).hypotheses]

    assert names(("shuts", "smooth"), output=False) == []
    assert names(("shuts", "shuts")) == ["closed last pre-activations"]
    assert names(("shuts", "saturates", "shuts"), records=3) == ["closed last pre-activations", "saturated sigmoids"]


def test_steps_are_those_of_the_optimizer_or_what_the_trace_knows():
    one = replace(watched_trace(loss=1.0), loss_steps=np.arange(20) * 7)
    assert build_watch_report([one], WatchedRun()).setting.steps == 19 * 7 + 1
    assert build_watch_report([watched_trace()], WatchedRun()).setting.steps == 20
    assert build_watch_report([watched_trace()], WatchedRun(steps=500)).setting.steps == 500
    assert build_watch_report([], WatchedRun(steps=5)).setting.steps == 5


@pytest.mark.parametrize("traces", [[], [watched_trace(records=0)], [watched_trace(())]], ids=["none", "no record", "no site"])
def test_nothing_recorded_is_undecided(traces):
    report = build_watch_report(traces, WATCHED, interrupted=True)
    assert (report.verdict, report.findings, report.coverage.sites_seen) == ("undecided", [], 0)
    assert report.interrupted
    assert report.coverage.notes


def test_the_rules_are_those_that_were_asked_for():
    dead = {(name, 2): 1.0 for name in SHUT}
    trace = watched_trace(site=dead | {("remaining", i): 0.0 for i in range(3)} | {("act_common_mode", 3): np.inf})
    assert [f.rule for f in build_watch_report([trace], WATCHED, rules=[DeadLayer]).findings] == ["dead-layer"]
    assert build_watch_report([trace], WATCHED, rules=[StuckAtChance]).verdict == "undecided"


def test_a_metric_that_the_loop_told_is_reported():
    told = replace(
        watched_trace(task=Task("f1")),
        evaluation_steps=np.array([5, 10]),
        evaluation_metric=np.array([0.5, 0.75], np.float32),
        evaluation_loss=np.array([1.0, 1.0], np.float32),
    )
    control = build_watch_report([told], WATCHED).control
    assert (control.metric, control.mean, control.values) == ("f1", 0.75, [0.75])
    assert np.isnan(control.chance)


def test_the_report_survives_its_file(tmp_path):
    report = build_watch_report([watched_trace()], WATCHED)
    save_report(report, tmp_path)
    assert load_report(tmp_path).to_json() == report.to_json()


def test_what_is_saved_is_read_back(tmp_path):
    folder = tmp_path / "new" / "log"
    for about in (WatchedRun(), WATCHED, WATCHED.model_copy(update={"steps": 5})):
        assert save_watched_run(about, folder) == folder / "watch.json"
        assert load_watched_run(folder) == about
    assert [path.name for path in folder.iterdir()] == ["watch.json"]


def test_a_newer_file_with_more_in_it_is_read(tmp_path):
    (tmp_path / "watch.json").write_text('{"model": "Net", "colour": "red"}')
    assert load_watched_run(tmp_path) == WatchedRun(model="Net")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "expected JSON"),
        (b"\xff\xfe", "expected JSON"),
        (b"[" * 100_000, "expected JSON"),
        (b"[]", "watch: Input should be"),
        (b"null", "watch: Input should be"),
        (b'{"steps": -1}', "steps: Input should be greater than or equal to 0"),
        (b'{"versions": [1]}', "versions: "),
        (b'{"train_s": "long"}', "train_s: "),
    ],
)
def test_a_damaged_file_is_one_line(content, text, tmp_path):
    (tmp_path / "watch.json").write_bytes(content)
    with pytest.raises(TraceError, match=text) as caught:
        load_watched_run(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "watch.json") in str(caught.value)


def test_a_missing_file_and_one_that_cannot_be_written_are_one_line(tmp_path):
    with pytest.raises(TraceError, match=r"watch\.json: cannot be read: No such file"):
        load_watched_run(tmp_path)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WriteError, match="cannot be written"):
        save_watched_run(WATCHED, tmp_path / "file")
    (tmp_path / "watch.json").mkdir()
    with pytest.raises(WriteError, match="cannot be written: Is a directory"):
        save_watched_run(WATCHED, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "watch.json"]


def test_a_killed_run_is_judged_by_what_was_flushed(tmp_path):
    save_watched_run(WATCHED, tmp_path)
    watched_trace(loss=1.0).save(tmp_path / "trace" / "run-0.npz")
    (tmp_path / "trace" / "run-0.npz.part").write_bytes(b"PK")
    report = report_of_killed_watch(tmp_path)
    assert (report.verdict, report.interrupted, report.recipe) == ("healthy", True, "ResidualNet")
    assert report.setting.device == "cuda:0"
    assert report.coverage.notes == []
    (tmp_path / "watch.json").write_text("{")
    lost = report_of_killed_watch(tmp_path)
    assert (lost.verdict, lost.recipe, lost.setting.steps) == ("healthy", "", 20)
    assert "watch.json is missing or damaged" in lost.coverage.notes[0]


def test_folders_of_watched_runs_are_told_from_others(tmp_path):
    (tmp_path / "trace").mkdir()
    (tmp_path / "trace" / "control-1.npz").touch()
    assert not is_watched(tmp_path)
    (tmp_path / "trace" / "run-0.npz").touch()
    assert is_watched(tmp_path)
    assert not is_watched(tmp_path / "none")
    save_watched_run(WATCHED, tmp_path / "started")
    assert is_watched(tmp_path / "started")
