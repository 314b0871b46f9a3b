"""Baselines: files that can be read and damaged, and what is different from them."""

import json
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gradscope.baseline import baseline_of, baseline_path, compare, load_baseline, save_baseline
from gradscope.check_result import Place
from gradscope.check_standing import stand
from gradscope.errors import BaselineError, WriteError
from gradscope.rules import RULES
from gradscope.rules.examples import UNITS, example

SHUT = ("closed_frac", "nonpositive_frac")


def dead(units):
    return example(site={(name, 1): [1.0] * units + [0.6] * (UNITS - units) for name in SHUT})


def made(*traces, steps=20, rules=RULES, names=None):
    traces = [replace(trace, seed=seed) for seed, trace in enumerate(traces, 1)]
    if names:
        traces = [
            replace(t, sites=tuple(replace(site, name=name) for site, name in zip(t.sites, names, strict=True))) for t in traces
        ]
    return baseline_of(traces, stand(traces, rules), name="net", steps=steps, rules=rules, versions={"torch": "2"})


def kinds(found):
    return [(one.kind, one.site, one.statistic) for one in found]


def test_a_file_has_sorted_keys_a_number_a_line_and_says_the_same_when_read(tmp_path):
    baseline = made(*[dead(9)] * 5)
    path = tmp_path / "baselines" / "net.json"
    save_baseline(baseline, path)
    text = path.read_text()
    keys = [line.split('"')[1] for line in text.splitlines() if line.startswith('  "')]
    assert keys == sorted(keys)
    assert '      "closed_frac": {"tolerance": 0.1, "value": 0.5},\n' in text
    assert '    "network": {\n      "accuracy": {"tolerance": 0.05, "value": 0.9}\n    }\n' in text
    assert text.endswith("}\n")
    loaded = load_baseline(path)
    assert loaded.model_dump(exclude={"names"}) == baseline.model_dump(exclude={"names"})
    assert compare(loaded, baseline) == []
    assert [file.name for file in path.parent.iterdir()] == ["net.json"]


def test_numbers_that_are_not_finite_and_findings_of_the_whole_network_survive(tmp_path):
    lost = example(metric=0.1, site={("gate_transmission", 0): np.nan, ("weight_transmission", 0): np.nan})
    baseline = made(lost, lost)
    assert any(finding.site is None for finding in baseline.findings)
    save_baseline(baseline, tmp_path / "a.json")
    assert compare(load_baseline(tmp_path / "a.json"), baseline) == []


def test_what_says_the_same_is_not_written_again(tmp_path):
    path = tmp_path / "a.json"
    save_baseline(made(example()), path)
    before = path.stat()
    save_baseline(made(example()), path)
    assert path.stat().st_ino == before.st_ino
    save_baseline(made(dead(9)), path)
    assert path.stat().st_ino != before.st_ino


def test_versions_are_kept_and_not_compared(tmp_path):
    old = made(example()).model_copy(update={"versions": {"torch": "1"}, "gradscope": "0.0.1"})
    assert compare(old, made(example())) == []


def test_a_new_finding_and_one_that_is_gone():
    before, after = made(*[example()] * 5), made(*[dead(9)] * 5)
    found = compare(before, after, lambda site: Place(file="net.yaml", line=7 if site == "2.shuts" else 1))
    assert [one.kind for one in found[:2]] == ["verdict", "new finding"]
    assert found[1].text == "new finding GS101 dead-units at 2.shuts, error (5 of 5 seeds, before 0 of 5)"
    assert (found[1].rule, found[1].severity, found[1].place.line) == ("dead-units", "error", 7)
    assert found[0].text == "verdict healthy -> sick"
    assert ("number", "2.shuts", "closed_frac") in kinds(found)
    back = compare(after, before)
    assert back[1].text == "finding gone GS101 dead-units at 2.shuts, error (0 of 5 seeds, before 5 of 5)"


def test_a_severity_that_changes_is_told_as_a_change():
    note, error = made(*[dead(2)] * 5), made(*[dead(9)] * 5)
    assert any(one.text.startswith("new finding GS101 dead-units at 2.shuts: note -> error") for one in compare(note, error))
    assert any(one.text.startswith("finding gone GS101 dead-units at 2.shuts: error -> note") for one in compare(error, note))


@pytest.mark.parametrize(
    ("before", "after", "differs"), [(2, 3, False), (3, 2, False), (1, 3, True), (3, 5, False), (2, 4, True), (0, 2, False)]
)
def test_one_seed_at_the_edge_is_no_difference(before, after, differs):
    sides = [made(*[dead(9)] * n, *[example()] * (5 - n)) for n in (before, after)]
    assert ("new finding" in [one.kind for one in compare(*sides)]) is differs


def test_a_single_seed_is_compared_as_it_is():
    assert "new finding" in [one.kind for one in compare(made(example()), made(dead(9)))]


def test_a_number_that_moves_is_told_with_its_tolerance():
    half, most = (example(site={("closed_frac", 0): value}) for value in (0.5, 0.8))
    [found] = compare(made(*[half] * 5), made(*[most] * 5), start_only=True)
    assert found.text == "`1.shuts` closed_frac at step 0 0.5 -> 0.8 (tolerance 0.1)"
    assert (found.before, found.after, found.tolerance, found.statistic) == (0.5, 0.8, 0.1, "closed_frac")
    little = compare(made(*[half] * 5), made(*[example(site={("remaining", i): 0.01 for i in range(3)})] * 5))
    assert "`1.shuts` remaining" in little[-3].text
    assert "tolerance a factor of" in little[-1].text


def test_fewer_seeds_than_the_baseline_has_widen_the_tolerances():
    near = example(site={("closed_frac", 0): 0.62})
    five = made(*[example()] * 5)
    assert len(compare(five, made(*[near] * 5))) == 2  # at step 0 and at the end
    assert compare(five, made(near)) == []


def test_sites_that_came_or_went_are_told_once_each():
    before, after = made(example(), names=["1.relu", "2.relu", "3.tanh"]), made(example(), names=["1.relu", "2.relu", "3.relu"])
    assert [one.text for one in compare(before, after)] == [
        "`3.relu` is new: the baseline was made with another network",
        "`3.tanh` is gone: the baseline was made with another network",
    ]


def test_a_line_that_moved_is_no_other_site():
    names = ["relu@net.py:{}", "relu@net.py:{}", "tanh@net.py:{}"]
    before, after = (made(dead(9), names=[name.format(line + i) for i, name in enumerate(names)]) for line in (20, 31))
    assert compare(before, after) == []
    changed = made(example(), names=[name.format(31 + i) for i, name in enumerate(names)])
    assert any("relu@net.py:32" in one.text for one in compare(changed, after)), "told by the name that it has now"


def test_another_number_of_steps_leaves_the_findings_and_step_0():
    half, most = (
        example(site={("closed_frac", 0): np.repeat([[0.5], [end]], [1, 19], axis=0).repeat(10, 1)}) for end in (0.5, 0.9)
    )
    assert [one.statistic for one in compare(made(half), made(most))] == ["closed_frac"]
    [told] = compare(made(half, steps=40), made(most))
    assert not told.fails
    assert "made with 40 steps, this check has 20" in told.text


def test_rules_that_had_not_the_steps_are_not_compared():
    few = [rule for rule in RULES if rule.slug == "common-mode"]
    assert [one.kind for one in compare(made(dead(9)), made(dead(9), rules=few), start_only=True)] == []


def damaged(tmp_path, change):
    path = tmp_path / "a.json"
    save_baseline(made(example()), path)
    text = path.read_text()
    path.write_text(change(text))
    with pytest.raises(BaselineError) as caught:
        load_baseline(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "phrase"),
    [
        (lambda text: text[: len(text) // 2], "expected a baseline in JSON, got something else"),
        (lambda text: "", "expected a baseline in JSON"),
        (lambda text: "[1]", "expected a gradscope baseline, got another JSON file"),
        (lambda text: '{"schema": 1}', "expected a gradscope baseline, got another JSON file"),
        (lambda text: text.replace('"schema": 1', '"schema": 2'), "written with schema 2, this gradscope reads up to 1"),
        (lambda text: text.replace('"steps": 20', '"steps": "many"'), "steps: "),
        (lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != "seeds"}), "seeds: Field required"),
        (lambda text: text.replace('"value": 0.9', '"vale": 0.9'), "value: Field required"),
        (lambda text: text.replace('"seeds": [1]', '"seeds": []'), "seeds: List should have at least 1 item"),
        (lambda text: text.replace('"factor": 3.16', '"factor": 0'), "factor: Input should be greater than or equal to 1"),
        (lambda text: text.replace('"tolerance": 0.25', '"tolerance": NaN'), "tolerance: Input should be"),
        (lambda text: "[" * 100_000, "expected a baseline in JSON"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_one_line(tmp_path, change, phrase):
    assert phrase in damaged(tmp_path, change)


def test_a_file_that_is_not_there_or_no_text(tmp_path):
    with pytest.raises(BaselineError, match="cannot be read: No such file"):
        load_baseline(tmp_path / "a.json")
    (tmp_path / "b.json").write_bytes(b"\xff\xfe\0")
    with pytest.raises(BaselineError, match="expected a baseline in JSON"):
        load_baseline(tmp_path / "b.json")


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "baselines").write_text("a file")
    with pytest.raises(WriteError, match="cannot be written"):
        save_baseline(made(example()), tmp_path / "baselines" / "a.json")
    assert stat.S_ISREG((tmp_path / "baselines").stat().st_mode)


def test_where_it_lies():
    assert baseline_path(Path("tests/test_net.py")) == Path("tests/baselines/test_net.json")
