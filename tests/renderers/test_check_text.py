"""Checks as text and as JSON, and what all formats share."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import checks
import pytest
from checks import EXAMPLES, FAILING
from rich.cells import cell_len

from gradscope.check_result import CheckResult
from gradscope.renderers import check_json, check_text
from gradscope.renderers.check_problems import KINDS, problems

ANSI = re.compile(r"\x1b\[[0-9;]*m")


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("width", [40, 80, 200])
def test_text_is_clean_at_every_width(name, width):
    text = check_text.render(EXAMPLES[name], color=False, ascii=False, width=width)
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert all(c.isprintable() or c == "\n" for c in text)
    assert all(line == line.rstrip(" ") for line in text.split("\n"))
    details = [line for line in text.split("\n") if line.startswith("    ")]
    assert all(cell_len(line) <= width for line in details)


@pytest.mark.parametrize("name", EXAMPLES)
def test_colour_and_ascii_change_nothing_else(name, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")  # the caller decides
    monkeypatch.setenv("FORCE_COLOR", "1")
    plain = check_text.render(EXAMPLES[name], color=False, ascii=False, width=100)
    colored = check_text.render(EXAMPLES[name], color=True, ascii=False, width=100)
    assert "\x1b" not in plain
    assert "\x1b[" in colored
    assert [line.rstrip() for line in ANSI.sub("", colored).split("\n")] == plain.split("\n")
    narrow = check_text.render(EXAMPLES[name], color=False, ascii=True, width=100)
    assert narrow.isascii()
    assert len(narrow.splitlines()) == len(plain.splitlines())


def test_text_says_where_what_why_and_what_to_do():
    lines = check_text.render([checks.collapsed(), checks.healthy()], color=False, ascii=False, width=300).splitlines()
    assert lines == [
        "NOT AS EXPECTED  recipes/net.yaml  sick, 3 seeds, 61 steps, 0.8 s",
        "  recipes/net.yaml:5:31: error: new finding GS103 output-collapse at `3.relu` in 5 of 5 seeds",
        "    7 of the 10 output units have z <= 0 for every sample; a closed relu has no gradient to open again",
        f"    Cause: {checks.finding().cause}",
        "    To try: batchnorm-last; `gradscope diagnose recipes/net.yaml` measures what it does",
        "    `gradscope explain GS103` has the rule's page",
        "  recipes/net.yaml:5:17: error: `1.relu` closed_frac 0.02 -> 0.41 (tolerance 0.10)",
        "  Where the change is meant: let `expect:` say so, then gradscope check --update recipes/net.yaml",
        "AS EXPECTED      recipes/healthy.yaml  healthy, 3 seeds, 61 steps, 0.8 s",
        "",
        "2 recipes: 1 not as expected, 1 as expected",
    ]


def test_a_number_alone_contradicts_no_expectation():
    text = check_text.render([checks.collapsed(differences=[checks.number()])], color=False, ascii=False, width=300)
    assert "  Where the change is meant: gradscope check --update recipes/net.yaml\n" in text


def test_text_keeps_the_lines_of_a_bad_recipe_with_their_places():
    text = check_text.render([checks.bad()], color=False, ascii=False, width=60)
    assert "recipes/a:b.yaml:7:18: error: stack.activations[1]: expected one of relu, tanh, got 'rleu'" in text
    assert "recipes/a:b.yaml:9:1: error: sedes: expected one of data" in text
    assert "recipes/a:b.yaml:1:1: error: mnist: not found, looked for ./data; --download fetches it\n" in text


def test_commands_can_be_copied():
    text = check_text.render([checks.collapsed("my recipes/a b.yaml")], color=False, ascii=False, width=300)
    assert "gradscope check --update 'my recipes/a b.yaml'\n" in text
    assert "`gradscope diagnose 'my recipes/a b.yaml'` measures" in text


@pytest.mark.parametrize("name", EXAMPLES)
def test_json_reads_back(name):
    text = check_json.render(EXAMPLES[name])
    assert text.isascii()
    data = json.loads(text, parse_constant=pytest.fail)
    assert data["schema"] == 1
    assert data["gradscope"]
    back = [CheckResult.model_validate(item) for item in data["results"]]
    assert [repr(item) for item in back] == [repr(item) for item in _without_infinity(EXAMPLES[name])]


def _without_infinity(results):
    return [CheckResult.model_validate_json(result.model_dump_json()) for result in results]


@pytest.mark.parametrize("name", FAILING)
def test_each_result_that_failed_has_an_error_and_no_other_has_one(name):
    for result in EXAMPLES[name]:
        assert problems(result)[0].level == "error"
    for name in ("healthy", "warned"):
        assert all(problem.level != "error" for problem in problems(EXAMPLES[name][0]))


def test_problems_come_worst_first_and_their_advice_once():
    milder = checks.new_finding(fails=False, severity="warning", text="milder")
    verdict = checks.new_finding(kind="verdict", text="expected healthy, got sick", rule=None, code=None, site=None)
    found = problems(checks.collapsed(differences=[milder, checks.number(), verdict, checks.new_finding()]))
    assert [(p.level, p.kind) for p in found] == [
        ("error", "new finding"), ("error", "verdict"), ("error", "number"), ("warning", "new finding"),
    ]  # fmt: skip
    assert [len(p.details) for p in found] == [4, 0, 0, 0]


def test_a_changed_verdict_tells_with_which_finding_it_starts():
    verdict = checks.new_finding(kind="verdict", text="expected healthy, got sick", rule=None, code=None, site=None)
    (found,) = problems(checks.collapsed(differences=[verdict]))
    assert found.details[0] == checks.finding().text


def test_every_kind_of_difference_has_its_place_in_the_order():
    from typing import get_args

    from gradscope.check_result import Kind

    assert sorted(KINDS) == sorted(get_args(Kind))


def test_the_formats_import_no_torch_and_those_for_programs_no_rich():
    code = (
        "import sys; from gradscope.renderers import check_json, check_github, check_junit, check_sarif\n"
        "assert 'rich' not in sys.modules\nfrom gradscope.renderers import check_text\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
