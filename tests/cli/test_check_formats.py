"""A repository under `gradscope check`: a relu on the logits turns it red in every format, without it it is green again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from command_line import call

HEALTHY = """\
data: digits
stack:
  hidden: [64, 64]
  activations: [relu, sigmoid, none]
training: {lr: 0.1, momentum: 0.5, epochs: 2}
seeds: 2
expect: healthy
"""
COLLAPSED = HEALTHY.replace("sigmoid, none]", "sigmoid, relu]")
RECIPE = "recipes/net.yaml"
RULE, SITE, LINE = "output-collapse", "3.relu", 4


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """A repository with a healthy recipe, as GitHub's runner has it checked out, without the runner's variables."""
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".git").mkdir()
    file = tmp_path / RECIPE
    file.parent.mkdir()
    file.write_text(HEALTHY)
    return file


Told = list[tuple[str, str, int]]  # rule, site, line of each error


def in_text(text: str) -> Told:
    found = re.findall(rf"^  {RECIPE}:(\d+):\d+: error: new finding GS\d+ (\S+) at (\S+),", text, re.MULTILINE)
    return [(rule, site, int(line)) for line, rule, site in found]


def in_json(text: str) -> Told:
    (result,) = json.loads(text)["results"]
    return [(one["rule"], one["site"], one["place"]["line"]) for one in result["differences"] if one["fails"]]


def in_annotations(text: str) -> Told:
    found = re.findall(rf"^::error file={RECIPE},line=(\d+),col=\d+,title=GS\d+ (\S+) at ([^\s:]+)", text, re.MULTILINE)
    return [(rule, site, int(line)) for line, rule, site in found]


def in_junit(text: str) -> Told:
    found = []
    for case in ElementTree.fromstring(text).iter("testcase"):
        if (failure := case.find("failure")) is not None:
            told = re.findall(rf"^{RECIPE}:(\d+):\d+: error: new finding .* at (\S+),", failure.text or "", re.MULTILINE)
            found += [(case.get("name", "").partition(" ")[2], site, int(line)) for line, site in told]
    return found


def in_sarif(text: str) -> Told:
    (run,) = json.loads(text)["runs"]
    rules = {rule["id"]: rule["name"] for rule in run["tool"]["driver"]["rules"]}
    return [
        (
            rules[one["ruleId"]],
            one["locations"][0].get("logicalLocations", [{"name": ""}])[0]["name"],
            one["locations"][0]["physicalLocation"]["region"]["startLine"],
        )
        for one in run["results"]
    ]


READERS: dict[str, Callable[[str], Told]] = {
    "text": in_text, "json": in_json, "github": in_annotations, "junit": in_junit, "sarif": in_sarif,
}  # fmt: skip


def check(*options: str | Path) -> tuple[int, str]:
    done = call("check", "recipes", "--jobs", "1", *options)
    assert done.err == ""
    return done.code, done.out


@pytest.mark.parametrize("form", READERS)
def test_green_then_red_at_the_right_site_then_green_again(recipe, form):
    code, out = check("--format", form)
    assert (code, READERS[form](out)) == (0, [])
    recipe.write_text(COLLAPSED)
    code, out = check("--format", form)
    assert code == 1
    assert (RULE, SITE, LINE) in READERS[form](out)
    if form != "json":  # which names the fix in a field
        assert "To try: batchnorm-last" in out
    recipe.write_text(HEALTHY)
    code, out = check("--format", form)
    assert (code, READERS[form](out)) == (0, [])


def test_against_a_baseline_the_numbers_are_told_as_well(recipe):
    recipe.write_text(HEALTHY.replace("expect: healthy\n", ""))  # so that the baseline alone says what is right
    assert check("--update")[0] == 0
    assert (recipe.parent / "baselines" / "net.json").is_file()
    assert check()[0] == 0
    recipe.write_text(COLLAPSED.replace("expect: healthy\n", ""))
    code, out = check()
    assert code == 1
    assert (RULE, SITE, LINE) in in_text(out)
    assert re.search(r"error: `network` accuracy 0\.\d+ -> 0\.\d+ \(tolerance 0\.\d+\)", out)
    assert "gradscope check --update recipes/net.yaml" in out


def test_fast_sees_it_before_the_first_step(recipe):
    assert check("--fast")[0] == 0
    recipe.write_text(COLLAPSED)
    code, out = check("--fast")
    assert code == 1
    assert ("common-mode", SITE, LINE) in in_text(out)


def test_under_github_actions_annotations_a_log_and_a_summary(recipe, monkeypatch, tmp_path):
    recipe.write_text(COLLAPSED)
    summary = tmp_path / "summary.md"
    summary.write_text("what another step wrote\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    code, out = check()
    assert code == 1
    assert in_annotations(out)[0] == in_text(out)[0] == (RULE, SITE, LINE)
    told = summary.read_text()
    assert told.startswith("what another step wrote\n")
    assert re.search(r"^\| recipes/net\.yaml \| \*\*not as expected\*\* \| .*output-collapse", told, re.MULTILINE)
    code, out = check("--format", "text")
    assert "::error" not in out


def test_annotations_from_a_folder_below_name_the_path_from_the_root(recipe, monkeypatch):
    recipe.write_text(COLLAPSED)
    monkeypatch.chdir(recipe.parent)
    done = call("check", "net.yaml", "--jobs", "1", "--format", "github", "--fast")
    assert f"::error file={RECIPE},line={LINE}," in done.out


@pytest.mark.parametrize("form", ["json", "github", "junit", "sarif"])
def test_a_file_gets_the_format_and_the_log_the_text(recipe, form, tmp_path):
    recipe.write_text(COLLAPSED)
    code, out = check("--fast", "--format", form, "--out", tmp_path / "found")
    assert code == 1
    assert ("common-mode", SITE, LINE) in in_text(out)
    assert ("common-mode", SITE, LINE) in READERS[form]((tmp_path / "found").read_text(encoding="utf-8"))
