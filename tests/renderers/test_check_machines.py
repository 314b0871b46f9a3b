"""JUnit XML and SARIF, read back by maintained parsers."""

from __future__ import annotations

import json
import os
from pathlib import Path
from xml.etree import ElementTree

import checks
import pytest
from checks import EXAMPLES, FAILING

from gradscope.renderers import check_junit, check_sarif
from gradscope.rules import RULES

ROOT = Path.cwd()


def junit(results, tmp_path):
    parser = pytest.importorskip("junitparser", reason="junitparser is not installed (group: test)")
    text = check_junit.render(results)
    assert text.isascii()
    assert text.startswith('<?xml version="1.0" encoding="utf-8"?>\n')
    file = tmp_path / "check.xml"
    file.write_text(text)
    return parser.JUnitXml.fromfile(str(file))


@pytest.mark.parametrize("name", EXAMPLES)
def test_junit_counts_what_it_holds(name, tmp_path):
    read = junit(EXAMPLES[name], tmp_path)
    suites = list(read)
    assert len(suites) == len(EXAMPLES[name])
    whole = read.tests, read.failures, read.errors, read.skipped
    read.update_statistics()  # counts them again
    assert (read.tests, read.failures, read.errors, read.skipped) == whole
    assert (read.failures + read.errors > 0) == (name in (*FAILING, "all"))
    for suite in suites:
        names = [case.name for case in suite]
        assert len(set(names)) == len(names)
        assert names[0] == "verdict"


def outcomes(suite):
    return {case.name: [type(result).__name__ for result in case.result] for case in suite}


def test_junit_has_a_case_for_each_rule(tmp_path):
    sick, well, bad, unjudged = junit([checks.collapsed(), checks.healthy(), checks.bad(), checks.unjudged()], tmp_path)
    assert outcomes(sick) == {
        "verdict": [], "baseline": ["Failure"], "GS101 dead-units": [], "GS103 output-collapse": ["Failure"],
        "GS104 saturation": [],
    }  # fmt: skip
    assert list(outcomes(well)) == list(outcomes(sick))
    assert not any(outcomes(well).values())
    assert outcomes(bad) == {"verdict": ["Error"]}
    assert outcomes(unjudged)["verdict"] == ["Error"]
    assert outcomes(unjudged)["GS104 saturation"] == ["Skipped"]
    failure = next(case for case in sick if case.name == "GS103 output-collapse").result[0]
    assert failure.message == "new finding GS103 output-collapse at `3.relu` in 5 of 5 seeds"
    assert failure.type == "GS103"
    assert failure.text.startswith("recipes/net.yaml:5:31: error: ")
    assert "To try: batchnorm-last" in failure.text
    assert "rleu" in next(iter(bad)).result[0].text


def test_junit_tells_what_does_not_fail_in_the_output(tmp_path):
    (suite,) = junit([checks.warned()], tmp_path)
    told = {case.name: case.system_out for case in suite}
    assert "30 % saturated" in told["GS104 saturation"]
    assert "no baseline" in told["baseline"]
    assert outcomes(suite)["GS101 dead-units"] == ["Skipped"]


def test_a_rule_that_could_not_judge_and_fails_by_it_is_a_failure(tmp_path):
    difference = checks.new_finding(kind="undecided", text="expected output-collapse, which could not be judged")
    (suite,) = junit([checks.collapsed(differences=[difference], rules=checks.rules(output_collapse="undecided"))], tmp_path)
    assert outcomes(suite)["GS103 output-collapse"] == ["Failure"]


def test_junit_keeps_every_character_that_xml_can_hold():
    text = check_junit.render([checks.nasty()])
    case = ElementTree.fromstring(text).find(".//testcase[@name='OWN,1:% own|rule, 1:2']")
    failure = case.find("failure")
    assert "100 % of z ≤ 0, and: a|b ?[31mred? <b>&amp;</b> ]]> ::error::x %0A größe \U0001f642" in failure.text
    assert failure.get("type") == "OWN,1:%"


def sarif(results, root=ROOT):
    parser = pytest.importorskip("sarif_pydantic", reason="sarif-pydantic is not installed (group: test)")
    text = check_sarif.render(results, root)
    assert text.isascii()
    read = parser.Sarif.model_validate_json(text)
    assert read.version == "2.1.0"
    (run,) = read.runs
    return run


@pytest.mark.parametrize("name", EXAMPLES)
def test_sarif_is_valid_and_its_rules_are_those_named(name):
    run = sarif(EXAMPLES[name])
    rules = run.tool.driver.rules
    assert len({rule.id for rule in rules}) == len(rules)
    assert bool(run.results) == (name in (*FAILING, "warned", "all"))
    assert any(result.level == "error" for result in run.results) == (name in (*FAILING, "all"))
    for result in run.results:
        assert rules[result.rule_index].id == result.rule_id
        assert result.message.text
        region = result.locations[0].physical_location.region
        assert region.start_line >= 1
        assert region.start_column >= 1
    prints = [tuple(result.partial_fingerprints.items()) for result in run.results]
    assert len(set(prints)) == len(prints)


def test_sarif_has_the_page_of_every_rule():
    rules = {rule["id"]: rule for rule in json.loads(check_sarif.render([], ROOT))["runs"][0]["tool"]["driver"]["rules"]}
    for rule in RULES:
        found = rules[rule.code]
        assert found["help"]["text"] == rule.page()
        assert found["name"] == rule.slug
        for heading in ("What it does", "Why it is bad", "When it is wrong", "Fixes", "Sources"):
            assert f"**{heading}**\n\n" in found["help"]["markdown"]
        assert "    " not in found["help"]["markdown"]  # which would be code


def test_every_rule_has_what_code_hosts_show():
    text = check_sarif.render([checks.nasty()], ROOT)
    rules = json.loads(text)["runs"][0]["tool"]["driver"]["rules"]
    assert "OWN,1:%" in {rule["id"] for rule in rules}
    for rule in rules:
        assert all(rule[name]["text"] for name in ("shortDescription", "fullDescription", "help"))


def test_sarif_names_place_and_site():
    first = sarif([checks.collapsed()]).results[0]
    location = first.locations[0]
    assert first.rule_id == "GS103"
    assert location.physical_location.artifact_location.uri == "recipes/net.yaml"
    assert location.physical_location.artifact_location.uri_base_id == "%SRCROOT%"
    assert (location.physical_location.region.start_line, location.physical_location.region.start_column) == (5, 31)
    assert location.logical_locations[0].fully_qualified_name == "3.relu"


def test_sarif_escapes_paths():
    first = sarif([checks.nasty()]).results[0]
    uri = first.locations[0].physical_location.artifact_location.uri
    assert uri == "recipes/gr%C3%B6%C3%9Fe%2C%20a%3Ab%20100%25%7Cx.yaml"
    outside = sarif([checks.collapsed(differences=[checks.new_finding(place=checks.Place(file="/elsewhere/a b.yaml"))])])
    artifact = outside.results[0].locations[0].physical_location.artifact_location
    assert artifact.uri == "file:///elsewhere/a%20b.yaml"
    assert artifact.uri_base_id is None


def fingerprints(*results, root=ROOT):
    return [next(iter(result.partial_fingerprints.values())) for result in sarif(results, root).results]


def moved(difference, by=10, **changes):
    place = difference.place.model_copy(update={"line": difference.place.line + by, "column": 1})
    return difference.model_copy(update={"place": place, **changes})


def test_fingerprints_stay_when_lines_move_and_numbers_change():
    in_code = checks.new_finding(site="block.relu@model.py:31#2", rule="dead-units", code="GS101")
    before = [checks.new_finding(), checks.number(), in_code]
    after = [
        moved(before[0], text="new finding GS103 output-collapse at `3.relu` in 4 of 5 seeds", severity="warning"),
        moved(before[1], text="`1.relu` closed_frac 0.02 -> 0.5 (tolerance 0.10)", after=0.5),
        moved(before[2], site="block.relu@model.py:44#2"),
    ]
    assert fingerprints(checks.collapsed(differences=before)) == fingerprints(checks.collapsed(differences=after))


@pytest.mark.parametrize(
    "changes",
    [{"site": "2.sigmoid"}, {"rule": "dead-units", "code": "GS101"}, {"kind": "finding gone"}],
    ids=["site", "rule", "kind"],
)
def test_fingerprints_differ_for_another_problem(changes):
    one = checks.collapsed(differences=[checks.new_finding()])
    other = checks.collapsed(differences=[checks.new_finding(**changes)])
    assert fingerprints(one) != fingerprints(other)
    assert fingerprints(one) != fingerprints(checks.collapsed("recipes/b.yaml", differences=[checks.new_finding()]))


def test_fingerprints_do_not_depend_on_where_the_repository_lies(tmp_path):
    here = checks.collapsed(str(tmp_path / "recipes/net.yaml"), differences=[checks.new_finding()])
    there = checks.collapsed(str(ROOT / "recipes/net.yaml"), differences=[checks.new_finding()])
    assert fingerprints(here, root=tmp_path) == fingerprints(there)


@pytest.mark.skipif(os.name == "nt", reason="names of files are text there")
def test_sarif_names_files_in_another_encoding():
    place = checks.Place(file=os.fsdecode(b"recipes/b\xff.yaml"))
    text = check_sarif.render([checks.collapsed(place.file, differences=[checks.new_finding(place=place)])], ROOT)
    location = json.loads(text)["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    assert location["artifactLocation"]["uri"] == "recipes/b%FF.yaml"


def test_sarif_says_whether_everything_could_be_judged():
    for name, expected in {"healthy": True, "collapsed": True, "bad": False, "unjudged": False}.items():
        run = json.loads(check_sarif.render(EXAMPLES[name], ROOT))["runs"][0]
        assert run["invocations"] == [{"executionSuccessful": expected}]
