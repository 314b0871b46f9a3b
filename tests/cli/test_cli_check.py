"""`gradscope check`: exit codes, formats, baselines, bad inputs, processes that die, and the recipes of this repository."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from command_line import ROOT, call, command, environment, process
from small_trials import PUBLISHED, stack_text

LEARNS = stack_text("[relu, relu, tanh]", training="{lr: 0.1, epochs: 3}", seeds=3) + "expect: healthy\n"
SICK = PUBLISHED.replace("[output-collapse]", "healthy")
FORMATS = ("text", "json", "github", "junit", "sarif")
DIES = """
import os
from torch import nn
def build():
    os.kill(os.getpid(), 9)
    return nn.Linear(64, 10)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A repository with one recipe that learns, as the working directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("GRADSCOPE_DATA", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "a.yaml").write_text(LEARNS)
    return tmp_path


def check(*arguments):
    return call("check", "--jobs", "1", *arguments)


def test_this_repositorys_recipes_are_what_their_baselines_say():
    done = process("check", "recipes", "--allow-code", "--strict", cwd=ROOT)
    assert done.code == 0, done.out + done.err
    assert "8 recipes" in done.out
    assert "8 as expected" in done.out
    assert "gradscope: not checked: recipes/activations_on_digits.yaml and 10 more: grids of networks" in done.err


def test_this_repositorys_recipes_are_checked_fast_without_training(record_property):
    start = time.perf_counter()
    done = process("check", "recipes", "--allow-code", "--strict", "--fast", "--jobs", "1", "--format", "json", cwd=ROOT)
    record_property("seconds", round(time.perf_counter() - start, 2))  # told, not judged: a slow day is no defect
    assert done.code == 0, done.out + done.err
    results = json.loads(done.out)["results"]
    assert [result["steps"] for result in results] == [1] * 8


def test_a_failure_that_is_put_in_turns_it_red_and_taken_out_green_again(folder):
    file = folder / "recipes" / "a.yaml"
    assert check("recipes").code == 0
    file.write_text(SICK)
    red = check("recipes")
    assert red.code == 1
    assert "recipes/a.yaml:4:56: error: new finding GS103 output-collapse at 3.relu" in " ".join(red.out.split())
    assert red.err == ""
    file.write_text(LEARNS)
    assert check("recipes").code == 0


@pytest.mark.parametrize("form", FORMATS)
def test_each_format_says_where(form, folder):
    (folder / "recipes" / "b.yaml").write_text(SICK)
    done = check("recipes", "--format", form, "--fast")
    assert done.code == 1
    assert "GS108" in done.out
    assert "b.yaml" in done.out
    assert done.err == ""
    file = folder / "out" / f"result.{form}"
    file.parent.mkdir()
    kept = check("recipes", "--format", form, "--fast", "--out", file)
    assert kept.code == 1
    assert "GS108" in file.read_text()
    assert "NOT AS EXPECTED" in kept.out


def test_a_file_that_cannot_be_written_is_told_before_the_training(folder, monkeypatch):
    monkeypatch.setattr("gradscope.check_workers.check_all", None)
    done = check("recipes", "--out", folder / "nowhere" / "result.xml")
    assert (done.code, done.out) == (2, "")
    assert "result.xml: cannot be written: expected a folder that exists" in done.err


def test_github_is_chosen_under_its_actions_and_gets_a_summary(folder, monkeypatch):
    (folder / "recipes" / "b.yaml").write_text(SICK)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(folder / "summary.md"))
    (folder / "summary.md").write_text("before\n")
    done = check("recipes", "--fast")
    assert "::error file=recipes/b.yaml,line=4" in done.out
    assert "NOT AS EXPECTED  recipes/b.yaml" in done.out
    summary = (folder / "summary.md").read_text()
    assert summary.startswith("before\n")
    assert "| recipes/b.yaml |" in summary
    assert "::error" not in check("recipes", "--fast", "--format", "text").out


def test_baselines_are_written_and_their_absence_is_a_failure_under_strict(folder):
    missing = check("recipes", "--fast", "--strict")
    assert missing.code == 1
    assert "gradscope check recipes/a.yaml --update" in " ".join(missing.out.split())
    assert check("recipes/a.yaml", "--update").code == 0
    assert (folder / "recipes" / "baselines" / "a.json").is_file()
    for more in ((), ("--fast",), ("--seeds", "2")):
        assert check("recipes", "--strict", *more).code == 0
    changed = LEARNS.replace("tanh]", "relu]").replace("expect: healthy\n", "")
    (folder / "recipes" / "a.yaml").write_text(changed)
    done = check("recipes", "--fast")
    assert done.code == 1
    assert "`3.tanh` is gone: the baseline was made with another network" in done.out


def test_sweeps_in_a_folder_are_left_out_and_one_that_is_named_is_a_fault(folder):
    sweep = folder / "recipes" / "sweeps" / "s.yaml"
    sweep.parent.mkdir()
    sweep.write_text("data: digits\nstack: {hidden: [4], activations: [relu, none]}\ngrid: {lr: [0.1, 0.2]}\n")
    done = check("recipes", "recipes/**/*.yaml", "--fast")
    assert done.code == 0
    assert "1 as expected" in done.out
    assert done.err == "gradscope: not checked: recipes/sweeps/s.yaml: grids of networks, which `gradscope sweep` runs\n"
    fault = "recipes/sweeps/s.yaml:3:1: grid: expected a recipe of one network here, got a grid of them; run `gradscope sweep"
    for named in (("recipes/sweeps/s.yaml",), ("recipes", "recipes/sweeps/s.yaml")):
        done = check(*named, "--fast", "--format", "json")
        assert done.code == 2
        assert fault in done.err
        assert "not checked" not in done.err
    only = check("recipes/sweeps", "--fast")
    assert (only.code, only.out) == (2, "")
    assert (
        only.err == "recipes/sweeps: expected recipes of one network, got only such with a grid; `gradscope sweep` runs those\n"
    )


def test_paths_are_files_folders_and_patterns_each_recipe_once(folder):
    (folder / "recipes" / "b.yml").write_text(LEARNS)
    (folder / "recipes" / "notes.txt").write_text("no recipe")
    done = check("recipes/*.y*ml", "recipes", "recipes/a.yaml", folder / "recipes" / "b.yml", "--fast", "--format", "json")
    assert [result["recipe"] for result in json.loads(done.out)["results"]] == ["recipes/a.yaml", "recipes/b.yml"]


BAD = {
    "no path": ((), "Missing argument 'PATHS...'"),
    "an empty folder": (("empty",), "empty: expected a folder with recipes (*.yaml, *.yml), got none in it"),
    "a pattern that matches nothing": (("none/*.yaml",), "none/*.yaml: expected recipes (*.yaml, *.yml), got none that match"),
    "no file": (("none.yaml",), "none.yaml: expected a recipe file, got nothing of that name"),
    "no recipe": (("bad.yaml",), "bad.yaml:1:1: stack: expected a mapping with hidden and activations"),
    "a data folder that is absent": (("mnist.yaml", "--data-dir", "nowhere"), "mnist: not found, looked for"),
    "code without leave": (("code.yaml",), "code.yaml:2:8: 'dies:build' runs code of its own; read it, then add --allow-code"),
    "a device that is not there": (
        ("recipes", "--device", "cuda:99"),
        "--device: expected a device of this machine, got cuda:99",
    ),
    "no seeds": (("recipes", "--seeds", "0"), "--seeds: expected a count of seeds from 1 to 1000"),
    "no share": (("recipes", "--share", "0"), "0.0 is not in the range"),
    "fast and update": (("recipes", "--fast", "--update"), "--fast looks at step 0 only; leave --update out"),
    "fast and steps": (("recipes", "--fast", "--steps", "9"), "--fast looks at step 0 only; leave --steps out"),
    "unknown format": (("recipes", "--format", "xml"), "'xml' is not one of"),
    "a truncated baseline": (("broken", "--fast"), "broken/baselines/a.json: expected a baseline in JSON, got something else"),
    "a newer baseline": (("newer", "--fast"), "written with schema 2, this gradscope reads up to 1; update gradscope"),
    "a folder for a baseline": (("folder", "--fast"), "folder/baselines/a.json: cannot be read: Is a directory"),
}


@pytest.mark.parametrize(("arguments", "phrase"), BAD.values(), ids=BAD.keys())
def test_a_bad_input_is_one_line_and_exit_code_2(arguments, phrase, folder):
    for name in ("empty", "broken/baselines", "newer/baselines", "folder/baselines/a.json"):
        (folder / name).mkdir(parents=True)
    for name in ("broken", "newer", "folder"):
        (folder / name / "a.yaml").write_text(LEARNS)
    (folder / "broken/baselines/a.json").write_text('{"schema": 1, "end"')
    (folder / "newer/baselines/a.json").write_text('{"schema": 2, "findings": [], "end": {}}')
    (folder / "bad.yaml").write_text("data: digits\n")
    (folder / "mnist.yaml").write_text(LEARNS.replace("digits", "mnist"))
    (folder / "code.yaml").write_text("data: digits\nmodel: dies:build\n")
    done = check(*arguments)
    assert done.code == 2, done
    assert phrase in done.err
    assert done.err.count("\n") == 1, done.err
    assert done.out == ""


def test_out_that_cannot_be_written_is_one_line(folder):
    done = check("recipes", "--fast", "--out", "recipes/a.yaml/x.json", "--format", "json")
    assert done.code == 2
    assert "recipes/a.yaml/x.json: cannot be written" in done.err
    assert done.err.count("\n") == 1


def test_what_cannot_be_judged_is_3_and_the_worst_code_counts(folder):
    (folder / "recipes" / "b.yaml").write_text(stack_text("[none, none, none]") + "expect: healthy\n")
    alone = check("recipes/b.yaml", "--fast")
    assert alone.code == 3
    assert "recipes/b.yaml: could not judge: no non-linearity was seen" in alone.err
    assert check("recipes", "--fast").code == 3
    (folder / "recipes" / "c.yaml").write_text(SICK)
    assert check("recipes", "--fast").code == 1
    (folder / "recipes" / "d.yaml").write_text("data: digits\n")
    worst = check("recipes", "--fast")
    assert worst.code == 2
    assert [line.split("  ")[0] for line in worst.out.splitlines() if line and line[0].isupper()] == [
        "AS EXPECTED", "COULD NOT JUDGE", "NOT AS EXPECTED", "BAD RECIPE",
    ]  # fmt: skip


def test_a_process_that_dies_takes_one_recipe_with_it(folder):
    (folder / "dies.py").write_text(DIES)
    (folder / "recipes" / "a_dies.yaml").write_text("data: digits\nmodel: dies:build\nexpect: healthy\n")
    for name in ("b", "c"):
        (folder / "recipes" / f"{name}.yaml").write_text(LEARNS)
    done = process("check", "recipes", "--fast", "--jobs", "2", "--allow-code", "--format", "json", cwd=folder)
    assert done.code == 3, done.err
    outcomes = {result["recipe"]: result["outcome"] for result in json.loads(done.out)["results"]}
    assert outcomes == {
        "recipes/a.yaml": "as expected", "recipes/a_dies.yaml": "could not judge", "recipes/b.yaml": "as expected",
        "recipes/c.yaml": "as expected",
    }  # fmt: skip
    assert "its process died by SIGKILL, perhaps for want of memory: try --jobs 1" in done.err


def test_side_by_side_says_what_one_after_another_says(folder):
    (folder / "recipes" / "b.yaml").write_text(SICK)
    results = []
    for jobs in ("1", "2"):
        done = process("check", "recipes", "--jobs", jobs, "--format", "json", cwd=folder)
        assert done.code == 1, done.err
        results.append([{k: v for k, v in result.items() if k != "seconds"} for result in json.loads(done.out)["results"]])
    assert results[0] == results[1]


@pytest.mark.parametrize(("number", "jobs"), [(signal.SIGINT, "2"), (signal.SIGTERM, "1")])
def test_an_interrupt_ends_it_with_130_and_leaves_no_process(number, jobs, folder):
    for name in ("b", "c"):
        (folder / "recipes" / f"{name}.yaml").write_text(LEARNS.replace("epochs: 3", "epochs: 100000"))
    running = subprocess.Popen(
        command("check", "recipes", "--update", "--jobs", jobs), cwd=folder, env=environment(), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        wait_for((folder / "recipes" / "baselines" / "a.json").exists)
        time.sleep(0.5)  # the parent hears of it
        if number == signal.SIGINT:
            os.killpg(running.pid, number)  # as a terminal sends it, to all
        else:
            running.send_signal(number)
        out, err = running.communicate(timeout=60)
        assert running.returncode == 130, err
        assert "gradscope: interrupted; 1 of 3 recipes were checked" in err
        assert "Traceback" not in err
        assert "AS EXPECTED      recipes/a.yaml" in out
        wait_for(lambda: not alive(running.pid))
    finally:
        if running.poll() is None or alive(running.pid):
            os.killpg(running.pid, signal.SIGKILL)
            running.communicate()


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def alive(group):
    """Tell whether a process group has a process that is no zombie (which waits for its parent only)."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, found, *_ = stat.read_text().rpartition(")")[2].split()
            if int(found) == group and state != "Z":
                return True
    return False


def test_help_names_the_exit_codes():
    done = call("check", "--help")
    assert done.code == 0
    assert "Exit code 0: as expected; 1: not;" in " ".join(done.out.split())


def test_fast_does_not_fail_for_what_goes_along_with_what_shows_only_in_training(folder):
    """Step 0 shows the common mode; the collapse that is expected, and that it is part of, comes later."""
    (folder / "recipes" / "a.yaml").write_text(PUBLISHED)
    done = check("recipes", "--fast", "--format", "json")
    (result,) = json.loads(done.out)["results"]
    assert (done.code, result["outcome"]) == (0, "as expected")
    (difference,) = result["differences"]
    assert difference["rule"] == "common-mode"
    assert "may go along with output-collapse" in difference["text"]


def test_a_baseline_that_was_left_behind_is_named(folder):
    assert check("recipes", "--update").code == 0
    assert "without a recipe" not in check("recipes").err
    (folder / "recipes" / "a.yaml").rename(folder / "recipes" / "b.yaml")
    done = check("recipes")
    assert done.code == 0
    assert done.err.count("a.json: a baseline without a recipe; rename it with its recipe, or delete it") == 1


def test_a_newer_baseline_is_not_overwritten(folder):
    kept = folder / "recipes" / "baselines" / "a.json"
    kept.parent.mkdir()
    newer = '{"schema": 99, "findings": [], "start": {}, "end": {}}'
    kept.write_text(newer)
    done = check("recipes", "--update")
    assert done.code == 2
    assert "written with schema 99" in done.err
    assert kept.read_text() == newer


def test_too_few_steps_name_the_whole_training_where_that_is_what_a_rule_needs(folder):
    done = check("recipes", "--steps", "20")
    assert done.code == 3
    assert re.search(r"needs the whole training, \d+ steps, this check has 20", done.err + done.out)
