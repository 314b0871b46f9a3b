"""What can be wrong with what `gradscope check` is given: one line, the right exit code, no traceback."""

# ruff: noqa: E501  a fault and its message stand on one line

from __future__ import annotations

import json
import re
import sys

import pytest
from command_line import call

GOOD = """\
data: digits
stack: {hidden: [16], activations: [tanh, none]}
training: {lr: 0.1, epochs: 1}
seeds: 1
"""
CODE = "data: digits\nmodel: own_checked:build\nseeds: 1\ntraining: {epochs: 1}\n"
MODULE = "from torch import nn\ndef build():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
NEVER_MADE = '{"schema": 99, "findings": [], "start": {}, "end": {}}'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("GRADSCOPE_DATA", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "own_checked", raising=False)
    (tmp_path / "own_checked.py").write_text(MODULE)
    yield tmp_path
    sys.modules.pop("own_checked", None)


def recipe(text=GOOD, baseline=None):
    def make(folder):
        (folder / "net.yaml").write_text(text)
        if baseline is not None:
            (folder / "baselines").mkdir()
            (folder / "baselines" / "net.json").write_text(baseline)

    return make


def nothing(folder):
    (folder / "empty").mkdir()


TABLE = {
    "a baseline of a newer version": (recipe(baseline=NEVER_MADE), ["net.yaml"], 2, "written with schema 99, this gradscope reads"),
    "a truncated baseline": (recipe(baseline='{"schema": 1, "find'), ["net.yaml"], 2, "expected a baseline in JSON, got something"),
    "another JSON file": (recipe(baseline="[1, 2]"), ["net.yaml"], 2, "expected a gradscope baseline, got another JSON file"),
    "an empty baseline": (recipe(baseline=""), ["net.yaml"], 2, "expected a baseline in JSON, got something else"),
    "an empty folder": (nothing, ["empty"], 2, "empty: expected a folder with recipes (*.yaml, *.yml), got none in it"),
    "a folder that is not there": (nothing, ["none"], 2, "none: expected a recipe"),
    "a pattern that fits nothing": (nothing, ["none/*.yaml"], 2, "none/*.yaml"),
    "code without leave": (recipe(CODE), ["net.yaml"], 2, "net.yaml:2:8: 'own_checked:build' runs code of its own; read it, then add --allow-code"),
    "data that are not there": (recipe(GOOD.replace("digits", "mnist")), ["net.yaml", "--data-dir", "nowhere"], 2, "mnist: not found, looked for"),
    "a bad recipe": (recipe(GOOD.replace("tanh", "tnah")), ["net.yaml"], 2, "net.yaml:2:37: stack.activations[0]: expected"),
    "a device that is not there": (recipe(), ["net.yaml", "--device", "cuda:99"], 2, "--device: expected a device of this machine"),
    "nothing to look at": (recipe(CODE), ["net.yaml", "--allow-code"], 3, "no non-linearity was seen"),
    "an unknown format": (recipe(), ["net.yaml", "--format", "xml"], 2, "'xml' is not one of"),
    "no paths": (nothing, [], 2, "Missing argument 'PATHS...'"),
    "fast and update": (recipe(), ["net.yaml", "--fast", "--update"], 2, "--fast"),
    "no seeds": (recipe(), ["net.yaml", "--seeds", "0"], 2, "--seeds: expected a count of seeds from 1 to 1000"),
    "a share above one": (recipe(), ["net.yaml", "--share", "1.5"], 2, "1.5 is not in the range"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "arguments", "code", "phrase"), TABLE.values(), ids=TABLE.keys())
def test_one_line_and_the_right_code(make, arguments, code, phrase, folder):
    make(folder)
    done = call("check", "--jobs", "1", *arguments)
    assert done.code == code, done
    assert phrase in done.err
    assert done.err.count("\n") == 1, done.err
    assert done.out == ""
    assert "Traceback" not in done.err


@pytest.mark.parametrize("form", ["json", "github", "junit", "sarif"])
def test_a_machine_reads_of_a_bad_recipe_where_it_is_bad(form, folder):
    recipe(GOOD.replace("tanh", "tnah"))(folder)
    done = call("check", "net.yaml", "--format", form)
    assert done.code == 2
    assert "did you mean 'tanh'?" in done.out.replace("&apos;", "'")
    where = {"github": "file=net.yaml,line=2,col=37,", "json": "net.yaml:2:37", "junit": "net.yaml:2:37"}
    assert where.get(form, '"startLine": 2') in done.out


def test_a_missing_baseline_fails_under_strict_only_and_the_command_that_writes_it_is_named(folder):
    recipe()(folder)
    assert call("check", "net.yaml", "--jobs", "1").code == 0
    done = call("check", "net.yaml", "--jobs", "1", "--strict")
    assert (done.code, done.err) == (1, "")
    (told,) = [line for line in done.out.splitlines() if ": error: " in line]
    command = re.search(r"write it with: gradscope (.*)", told)
    assert command
    assert call(*command[1].split(), "--jobs", "1").code == 0
    assert json.loads((folder / "baselines" / "net.json").read_text())["schema"] == 1
    assert call("check", "net.yaml", "--jobs", "1", "--strict").code == 0


def test_one_bad_recipe_hides_none_of_the_others(folder):
    recipe()(folder)
    (folder / "bad.yaml").write_text("data: digits\n")
    done = call("check", ".", "--jobs", "1", "--fast")
    assert done.code == 2
    assert re.search(r"^BAD RECIPE +bad\.yaml$", done.out, re.MULTILINE)
    assert re.search(r"^AS EXPECTED +net\.yaml  ", done.out, re.MULTILINE)


def test_a_file_that_cannot_be_written_is_one_line(folder):
    recipe()(folder)
    done = call("check", "net.yaml", "--fast", "--jobs", "1", "--format", "json", "--out", "none/of/this.json")
    assert done.code == 2
    assert "this.json: cannot be written" in done.err
    assert done.err.count("\n") == 1
