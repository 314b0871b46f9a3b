"""From traces to the report: order, pairing, expectations, and runs that were killed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gradscope.diagnosis import diagnose
from gradscope.errors import CannotJudge, TraceError
from gradscope.recipe_file import dump_recipe, parse_recipe
from gradscope.report import Timing
from gradscope.report_builder import Circumstances, build_report, expectation, report_of_killed_run
from gradscope.rules.examples import example

TEXT = """
name: three
data: digits
stack: {hidden: [8, 4], activations: [relu, relu, relu]}
seeds: [5, 2, 9]
"""
SHUT = ("closed_frac", "nonpositive_frac")


def recipe(extra=""):
    return parse_recipe(TEXT + extra)


def trace(arm, seed, metric=0.9, dead=0):
    values = [1.0] * dead + [0.5] * (10 - dead)
    return replace(example(metric=metric, site={(name, 2): values for name in SHUT}), arm=arm, seed=seed)


def arms(*names, seeds=(5, 2, 9), **values):
    """Traces of whole arms; `name=metric` sets an arm's metric, a control below 0.5 has a collapsed output."""
    found = []
    for name in names:
        metric = values.get(name.replace("-", "_"), 0.9)
        used = (10, 11, 12) if name == "reseed" else seeds
        found += [trace(name, seed, metric + 0.001 * i, 6 if metric < 0.5 else 0) for i, seed in enumerate(used)]
    return found


EVERY = ("control", "batchnorm-last", "batchnorm-all", "reseed")


def test_a_whole_report():
    around = Circumstances(
        timing=Timing(train_s=1.5, recording_frac=0.02),
        costs={"batchnorm-last": 1.08},
        device="cpu",
        data="digits",
        parameters=77,
        versions={"torch": "2"},
    )
    report = build_report(recipe(), arms(*EVERY, control=0.2, reseed=0.2), around)
    assert (report.recipe, report.verdict, report.recommended, report.interrupted) == ("three", "sick", "batchnorm-last", False)
    assert report.control.values == pytest.approx([0.2, 0.201, 0.202])
    assert report.control.chance == pytest.approx(0.1)
    assert [(o.fix, o.verdict, o.cost) for o in report.fixes] == [
        ("batchnorm-last", "works", 1.08),
        ("batchnorm-all", "works", None),
        ("reseed", "no effect", None),
    ]
    assert all(o.summary for o in report.fixes)
    assert [(f.rule, f.site, f.seeds) for f in report.findings] == [("output-collapse", "3.shuts", [2, 5, 9])]
    assert report.timing.train_s == 1.5
    setting = report.setting
    assert (setting.data, setting.device, setting.parameters, setting.seeds) == ("digits", "cpu", 77, [5, 2, 9])
    assert (setting.steps, setting.planned_steps, setting.test_samples) == (20, 20, 360)
    assert "Learned-Miller" in setting.interval_method
    assert len(report.hypotheses) == 2
    assert len(report.waterfalls) == 20


def test_fixes_stand_in_the_recipe_s_order_however_the_traces_came():
    shuffled = arms("reseed", "batchnorm-last", "control", "batchnorm-all")
    report = build_report(recipe("fixes: [batchnorm-all, batchnorm-last]\n"), shuffled)
    assert [o.fix for o in report.fixes] == ["batchnorm-all", "batchnorm-last", "reseed"]


def test_without_a_control_nothing_can_be_judged():
    with pytest.raises(CannotJudge, match="nothing was recorded of the control"):
        build_report(recipe(), arms("batchnorm-last"))
    with pytest.raises(CannotJudge):
        build_report(recipe(), [])


def test_an_arm_that_was_not_reached_is_left_out():
    report = build_report(recipe(), arms("control", "batchnorm-last"))
    assert [o.fix for o in report.fixes] == ["batchnorm-last"]


@pytest.mark.parametrize("missing", [1, 2])
def test_an_arm_that_lacks_seeds_is_left_out(missing):
    """Of a run that was stopped between the seeds of a fix."""
    traces = arms("control", "batchnorm-last", "batchnorm-all", control=0.2)[:-missing]
    report = build_report(recipe(), traces, Circumstances(interrupted=True))
    assert [o.fix for o in report.fixes] == ["batchnorm-last"]
    assert len(report.control.values) == 3


def cut(one):
    """The same network with half of its training."""
    return replace(one, loss=one.loss[:10], evaluation_metric=one.evaluation_metric[:5] * 0.1)


def test_an_arm_that_was_stopped_halfway_is_not_compared_with_a_control_that_was_not():
    control, fix = arms("control"), arms("batchnorm-last")
    for stopped in ([*fix[:2], cut(fix[2])], [cut(one) for one in fix]):
        assert build_report(recipe(), control + stopped, Circumstances(interrupted=True)).fixes == []
    both = build_report(recipe(), [cut(one) for one in control + fix], Circumstances(interrupted=True))
    assert [o.fix for o in both.fixes] == ["batchnorm-last"]  # those that trained in lock-step are


@pytest.mark.parametrize(
    ("expected", "traces", "met"),
    [
        ("", arms("control"), None),
        ("expect: healthy\n", arms("control"), True),
        ("expect: healthy\n", arms("control", control=0.2), False),
        ("expect: [output-collapse]\n", arms("control", control=0.2), True),
        ("expect: [output-collapse]\n", arms("control"), False),
        ("expect: [output-collapse, saturation]\n", arms("control", control=0.2), False),
        ("expect: healthy\n", [example(records=0)], None),
        ("expect: [dead-units]\n", [example(site={(n, 0): [1.0] * 2 + [0.5] * 8 for n in SHUT})], False),  # a note
        ("expect: healthy\n", [example(site={(n, 0): [1.0] * 2 + [0.5] * 8 for n in SHUT})], True),
        ("expect: healthy\n", [example(site={(n, 0): [1.0] * 5 + [0.5] * 5 for n in SHUT})], False),  # a warning
    ],
)
def test_expectations(expected, traces, met):
    assert expectation(recipe(expected), diagnose(traces)).met is met


def killed(folder: Path, traces, text=None) -> Path:
    (folder / "trace").mkdir(parents=True)
    (folder / "recipe.yaml").write_text(text or dump_recipe(recipe()))
    for one in traces:
        one.save(folder / "trace" / f"{one.arm}-{one.seed}.npz")
    return folder


def test_a_killed_run_is_judged_by_what_was_flushed(tmp_path):
    run = killed(tmp_path / "run", arms(*EVERY, control=0.2, reseed=0.2))
    report = report_of_killed_run(run)
    assert report.interrupted
    whole = build_report(recipe(), arms(*EVERY, control=0.2, reseed=0.2))
    assert report.verdict == "sick"
    assert report.control == whole.control  # seeds in the recipe's order, not the file names'
    assert report.fixes == whole.fixes
    assert report.recommended == "batchnorm-last"


def test_a_run_killed_while_it_wrote_its_first_traces(tmp_path):
    """Some files of the first flush are there, the others are not, and one is half written."""
    traces = arms(*EVERY, control=0.2, reseed=0.2)
    run = killed(tmp_path / "run", traces[:4])
    (run / "trace" / "batchnorm-last-9.npz.part").write_bytes(b"PK\x03\x04")
    report = report_of_killed_run(run)
    assert (len(report.control.values), report.fixes) == (3, [])


def test_a_killed_run_without_traces_or_recipe_is_one_line(tmp_path):
    with pytest.raises(TraceError, match="killed before its first flush"):
        report_of_killed_run(killed(tmp_path / "a", []))
    run = killed(tmp_path / "b", arms("control"))
    (run / "recipe.yaml").unlink()
    with pytest.raises(TraceError, match="expected the recipe of a run") as caught:
        report_of_killed_run(run)
    assert "\n" not in str(caught.value)
    (run / "recipe.yaml").write_text("a: 1\nb: 2\n")
    with pytest.raises(TraceError, match="expected the recipe of a run"):
        report_of_killed_run(run)


def test_a_killed_run_with_a_damaged_trace_says_which(tmp_path):
    run = killed(tmp_path / "run", arms("control"))
    path = run / "trace" / "control-2.npz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(TraceError, match=r"control-2\.npz"):
        report_of_killed_run(run)


def test_without_control_traces_a_killed_run_cannot_be_judged(tmp_path):
    with pytest.raises(CannotJudge):
        report_of_killed_run(killed(tmp_path / "run", arms("batchnorm-last")))


def test_traces_survive_the_way_through_their_files(tmp_path):
    one = trace("control", 5, 0.3, 6)
    run = killed(tmp_path / "run", [one])
    report = report_of_killed_run(run)
    assert report.control.values == pytest.approx([0.3])
    assert np.isfinite(report.control.mean)
