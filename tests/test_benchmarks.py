"""The benchmark runs, leaves its file, and looks when it says it looks. No timing is tested: it would be noise."""

import json
import os
import subprocess
import sys

import pytest
from command_line import ROOT, environment

ARMS = ["bare", "bare-again", "watch", "watch-every", "item-hooks", "histograms"]


def run(*arguments, **changes):
    command = [sys.executable, "-m", "benchmarks.overhead", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment(**changes))


@pytest.fixture
def plan(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.plan import Plan

    return lambda start, steps=100: Plan(warmup=7, lead_in=3, steps=steps, start=start)


@pytest.fixture
def summary(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.summary import summary

    return summary


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    file = tmp_path_factory.mktemp("benchmark") / "new" / "overhead.json"
    ended = run("--only", "small", "--rounds", 2, "--steps", 100, "--threads", 1, "--out", file, OPENBLAS_NUM_THREADS="2")
    assert ended.returncode == 0, ended.stderr
    return ended.stdout, json.loads(file.read_text(encoding="utf-8"))


def test_every_arm_is_timed_and_kept(done):
    [result] = done[1]["results"]
    assert (result["network"], result["threads"], result["rounds"], result["steps"]) == ("small", 1, 2, 100)
    assert list(result["arms"]) == ARMS
    for arm in result["arms"].values():
        assert arm.keys() >= {"what", "total_ratio", "step_ms", "same_weights", "files_bytes"}
        assert arm["ratio"].keys() == arm["processor_ratio"].keys() == {"min", "q1", "median", "q3", "max"}
        assert len(arm["block_s"]) == len(arm["processor_s"]) == 2
        assert min(arm["block_s"]) > 0


def test_arms_train_alike_and_write_what_they_should(done):
    arms = done[1]["results"][0]["arms"]
    assert [name for name, arm in arms.items() if not arm["same_weights"]] == []
    assert [name for name, arm in arms.items() if arm["files_bytes"]] == ["watch", "watch-every", "histograms"]


def test_the_environment_is_kept_without_names_of_the_machine(done):
    kept = done[1]["environment"]
    assert kept.keys() >= {"gradscope", "commit", "python", "torch", "cpu", "cores", "load_average", "load_average_at_end"}
    assert str(ROOT) not in json.dumps(done[1])


def test_threads_are_calmed_where_the_caller_has_set_nothing(done):
    kept = done[1]["environment"]["thread_settings"]
    assert kept["GOMP_SPINCOUNT"] == os.environ.get("GOMP_SPINCOUNT", "1000")
    assert kept["OPENBLAS_NUM_THREADS"] == "2"


def test_the_table_has_a_row_for_each_arm_in_80_columns(done):
    lines = done[0].splitlines()
    assert [line.split()[0] for line in lines if line.strip().startswith(tuple(ARMS)) and ":" not in line] == ARMS
    assert all(len(line) <= 80 for line in lines if "written" not in line)
    assert "…" not in done[0]


@pytest.mark.parametrize(("start", "steps", "looks"), [(30, 100, 10), (200, 100, 1), (1000, 300, 3)])
def test_each_block_has_the_looks_of_whole_periods(plan, start, steps, looks):
    planned = plan(start, steps)
    for block in range(3):
        first = planned.warmup + block * (planned.lead_in + steps)
        timed = range(first + planned.lead_in, first + planned.lead_in + steps)
        assert sum(map(planned.default, timed)) == looks
        assert not planned.default(timed[0])
        assert not planned.default(timed[-1])
        assert all(map(planned.dense, timed))
        assert [planned.position(step) for step in timed] == list(range(steps))


def test_nothing_looks_after_a_block_or_after_the_warm_up(plan):
    planned = plan(200)
    assert all(map(planned.default, range(7)))
    for after in (7, 7 + 103, 7 + 206):
        for step in range(after, after + planned.lead_in):
            assert not planned.default(step)
            assert not planned.dense(step)


def test_a_slow_round_is_no_part_of_the_median_but_rare_work_is_part_of_the_total(summary):
    bare = [(1.0, 1.0), (4.0, 2.0), (1.0, 1.0)]
    found = summary([(1.1, 1.0), (4.8, 2.0), (2.1, 3.0)], bare, steps=10)
    assert found["ratio"] == {"min": 1.1, "q1": 1.15, "median": 1.2, "q3": 1.65, "max": 2.1}
    assert found["processor_ratio"]["median"] == 1
    assert found["total_ratio"] == pytest.approx(8 / 6, abs=1e-4)
    assert found["step_ms"] == 210


def test_one_round_is_enough(summary):
    assert set(summary([(1.5, 1.0)], [(1.0, 1.0)], steps=1)["ratio"].values()) == {1.5}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--steps", 150), "--steps: expected whole periods of the schedule, of 100 steps, got 150"),
        (("--threads", "two"), "expected counts such as 1,2, got 'two'"),
    ],
)
def test_wrong_options_are_named(arguments, said):
    ended = run(*arguments)
    assert ended.returncode == 2
    assert said in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.stderr


def test_a_profile_names_functions_and_writes_no_file(tmp_path):
    file = tmp_path / "a.json"
    ended = run("--only", "small", "--rounds", 1, "--steps", 100, "--threads", 1, "--profile", "watch-every", "--out", file)
    assert ended.returncode == 0, ended.stderr
    assert "arms.py" in ended.stdout
    assert "scope.py" in ended.stdout
    assert not file.exists()


def test_false_alarms_are_counted_and_kept(tmp_path):
    file = tmp_path / "alarms.json"
    command = [sys.executable, "-m", "benchmarks.false_alarms", "--checks", "2", "--only", "saturated", "--out", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment())
    assert done.returncode == 0, done.stderr
    assert "misses: 0 of 2 (at most 78 % with 95 % confidence)" in done.stderr
    [result] = json.loads(file.read_text(encoding="utf-8"))["results"]
    assert (result["name"], result["kind"], result["failed"], result["share_that_decides"]) == (
        "saturated_sigmoid",
        "sick",
        0,
        1,
    )
    assert result["rounding"]["moved"].keys() >= {"saturated_frac", "remaining"}
