"""What a check says of traces, without training any."""

from dataclasses import replace

import pytest

from gradscope.baseline import load_baseline
from gradscope.check_judge import Asked, fix_to_try, judge, update_command
from gradscope.check_result import Place
from gradscope.errors import BaselineError
from gradscope.rules import RULES
from gradscope.rules.examples import UNITS, example

SHUT = ("closed_frac", "nonpositive_frac")
COLLAPSED = {(name, 2): [1.0] * 6 + [0.7] * (UNITS - 6) for name in SHUT}


def collapsed():
    return example(site=COLLAPSED)


def foreseen():
    """The collapse with what predicts it, an error at the same site."""
    return example(site=COLLAPSED | {("common_mode", 2): 11.0})


def dead(units, site=0):
    return example(site={(name, site): [1.0] * units + [0.6] * (UNITS - units) for name in SHUT})


def check(*traces, expected=("healthy",), **changes):
    traces = [replace(trace, seed=seed) for seed, trace in enumerate(traces, 1)]
    values = {"subject": "net.yaml", "name": "net", "expected": expected, "steps": 20, "planned": 20} | changes
    return judge(traces, Asked(**values))


def texts(result):
    return [one.text for one in result.differences]


def status(result, rule):
    return next(one for one in result.rules if one.rule == rule)


def test_health_is_as_expected():
    result = check(*[example()] * 5)
    assert (result.outcome, result.verdict, result.differences, result.findings) == ("as expected", "healthy", [], [])
    assert {one.status for one in result.rules} == {"healthy"}
    assert [one.rule for one in result.rules] == [rule.slug for rule in RULES]
    assert result.try_fix is None


def test_an_error_that_stands_is_not_and_warnings_are_borne():
    result = check(*[collapsed()] * 3, *[example()] * 2)
    assert result.outcome == "not as expected"
    assert texts(result) == ["new finding GS103 output-collapse at 3.shuts, error in 3 of 5 seeds: not expected"]
    assert result.try_fix == "batchnorm-last"
    assert status(result, "output-collapse").share == pytest.approx(0.6)
    assert status(result, "output-collapse").status == "finding"
    assert check(*[collapsed()] * 2, *[example()] * 3).outcome == "as expected"
    warned = check(*[dead(5)] * 5)
    assert (warned.outcome, warned.verdict) == ("as expected", "healthy")
    assert [finding.severity for finding in warned.findings] == ["warning"]


def test_an_expected_finding_must_stand():
    expected = ("output-collapse",)
    assert check(*[collapsed()] * 3, *[example()] * 2, expected=expected).outcome == "as expected"
    result = check(*[collapsed()] * 2, *[example()] * 3, expected=expected)
    assert result.outcome == "not as expected"
    assert texts(result) == ["GS103 output-collapse was expected and stands in 2 of 5 seeds (3 needed)"]
    assert result.differences[0].rule == "output-collapse"


def test_a_note_is_no_expected_finding_and_a_warning_is():
    assert check(*[dead(2)] * 3, expected=("dead-units",)).outcome == "not as expected"
    assert check(*[dead(5)] * 3, expected=("dead-units",)).outcome == "as expected"


def test_what_goes_along_with_an_expected_finding_at_its_site_is_told_only():
    result = check(*[foreseen()] * 3, expected=("output-collapse",))
    assert result.outcome == "as expected"
    assert [(one.rule, one.fails) for one in result.differences] == [("common-mode", False)]
    assert check(*[foreseen()] * 3, expected=("output-collapse", "common-mode")).differences == []


def test_an_error_elsewhere_that_starts_by_itself_fails_and_one_that_follows_does_not():
    other = check(
        *[example(site=COLLAPSED | {(name, 0): [1.0] * 9 + [0.6] for name in SHUT})] * 3, expected=("output-collapse",)
    )
    assert [one.rule for one in other.differences if one.fails] == ["dead-units"]
    follows = example(site=COLLAPSED, metric=0.1)
    assert check(*[follows] * 3, expected=("output-collapse",)).outcome == "as expected"
    assert check(*[follows] * 3).outcome == "not as expected"


def test_what_starts_elsewhere_does_not_go_along_though_more_seeds_have_it_where_something_is_expected():
    """The gradient is lost nearer to the loss in four seeds; at the expected site, the source of the fifth, it is in all."""
    kinds, still = ("saturates", "smooth", "smooth"), {("update_to_weight", 0): 1e-7, ("grad_to_weight", 0): 1e-9}
    lost = {("saturated_frac", 0): 0.99, ("gate_transmission", 0): 1e-4}
    one = example(kinds, site=lost, parameter=still)
    both = example(kinds, site=lost | {("gate_transmission", 1): 1e-4}, parameter=still)
    result = check(*[both] * 4, one, expected=("saturation",))
    assert result.outcome == "not as expected"
    assert [(one.rule, one.site, one.fails) for one in result.differences] == [("vanishing-gradient", "2.smooth", True)]


def test_a_new_error_is_placed_where_it_starts():
    flat = {(name, 1): 1.0 for name in SHUT}
    traces = [*[example(site=flat | {(name, 0): 1.0 for name in SHUT})] * 4, example(site=flat)]
    assert [one.site for one in check(*traces).differences] == ["1.shuts"]


def test_nothing_expected_is_that_no_error_stands():
    assert check(*[dead(5)] * 3, expected=()).outcome == "as expected"
    assert check(*[dead(9)] * 3, expected=()).outcome == "not as expected"


def test_what_was_not_seen_is_not_judged():
    nothing = check(example(()))
    assert nothing.outcome == "could not judge"
    assert nothing.message.startswith("net.yaml: could not judge: no non-linearity was seen")
    assert judge([], Asked("net.yaml", "net")).outcome == "could not judge"
    assert check(example(records=0)).outcome == "could not judge"
    short = check(*[example(records=3)] * 3, expected=("output-collapse",), steps=200, planned=200)
    assert short.outcome == "could not judge"
    assert "GS103 output-collapse in 3 of 3 seeds: closed_frac was seen for 96 samples" in short.message
    assert status(short, "output-collapse").status == "undecided"


def test_too_few_steps_are_not_judged_except_fast():
    """A rule that needs more than it had says nothing of health; a NaN that was seen counts all the same."""
    assert "GS101 dead-units needs 500 steps, this check has 40" in check(example(), steps=40, planned=900).message
    assert check(example(), steps=500, planned=900).outcome == "as expected"
    assert check(example(), steps=500, planned=900).verdict is None, "not every rule could judge"
    fast = check(example(), steps=1, planned=900, is_fast=True)
    assert (fast.outcome, fast.verdict) == ("as expected", None)
    assert status(fast, "dead-units").text == "needs 500 steps, this check has 1"
    assert check(dead(9), steps=1, planned=900, is_fast=True).outcome == "as expected"
    assert check(foreseen(), steps=1, planned=900, is_fast=True).outcome == "not as expected"
    broken = example(loss=float("nan"))
    assert [one.rule for one in check(broken, steps=1, planned=900, is_fast=True).differences] == ["non-finite"]
    assert check(example(), expected=("common-mode",), steps=1, planned=900, is_fast=True).outcome == "not as expected"


def test_a_baseline_is_written_compared_and_renewed(tmp_path):
    file = tmp_path / "baselines" / "net.json"
    written = check(*[dead(5)] * 3, baseline=file, update=True)
    assert (written.outcome, written.is_updated, written.baseline) == ("as expected", True, str(file))
    same = check(*[dead(5)] * 3, baseline=file)
    assert (same.outcome, same.is_updated, same.differences) == ("as expected", False, [])
    assert same.baseline == str(file)
    changed = check(*[example()] * 3, baseline=file)
    assert changed.outcome == "not as expected"
    assert texts(changed)[0] == "finding gone GS101 dead-units at 1.shuts, warning (0 of 3 seeds, before 3 of 3)"
    assert check(*[example()] * 3, baseline=file, update=True).differences == []
    assert check(*[example()] * 3, baseline=file).outcome == "as expected"


def test_a_new_warning_fails_only_beside_a_baseline_that_lacks_it(tmp_path):
    file = tmp_path / "net.json"
    assert check(*[dead(5)] * 3, baseline=file).outcome == "as expected"
    check(*[example()] * 3, baseline=file, update=True)
    assert check(*[dead(5)] * 3, baseline=file).outcome == "not as expected"


def test_an_error_that_the_baseline_has_is_accepted_unless_health_is_expected(tmp_path):
    file = tmp_path / "net.json"
    odd = example(site=COLLAPSED | {(name, 0): [1.0] * 9 + [0.6] for name in SHUT})
    assert check(*[odd] * 3, expected=("output-collapse",)).outcome == "not as expected"
    assert check(*[odd] * 3, expected=("output-collapse",), baseline=file, update=True).is_updated
    assert check(*[odd] * 3, expected=("output-collapse",), baseline=file).outcome == "as expected"
    assert check(*[odd] * 3, expected=(), baseline=file).outcome == "as expected"
    assert check(*[odd] * 3, baseline=file).outcome == "not as expected"


def test_a_baseline_that_contradicts_the_expectation_is_not_written(tmp_path):
    file = tmp_path / "net.json"
    result = check(*[collapsed()] * 3, baseline=file, update=True)
    assert (result.outcome, result.is_updated) == ("not as expected", False)
    assert "the baseline was not written: what stands contradicts expect" in texts(result)
    assert not file.exists()
    assert not check(*[example()] * 3, expected=("output-collapse",), baseline=file, update=True).is_updated
    assert not check(example(()), baseline=file, update=True).is_updated
    assert not file.exists()


def test_a_missing_baseline_fails_only_if_asked_and_names_the_command(tmp_path):
    asked = {"baseline": tmp_path / "net.json", "update_command": update_command("net.yaml")}
    assert check(example(), **asked).differences == []
    result = check(example(), strict=True, **asked)
    assert result.outcome == "not as expected"
    assert texts(result)[0].endswith("net.json; write it with: gradscope check net.yaml --update")


def test_a_damaged_baseline_raises_and_is_renewed_by_an_update(tmp_path):
    file = tmp_path / "net.json"
    file.write_text("{")
    with pytest.raises(BaselineError):
        check(example(), baseline=file)
    assert check(example(), baseline=file, update=True).is_updated
    assert load_baseline(file).recipe == "net"


def test_a_difference_is_told_once(tmp_path):
    file = tmp_path / "net.json"
    check(*[example()] * 3, baseline=file, update=True)
    result = check(*[collapsed()] * 3, baseline=file)
    assert [(one.kind, one.rule) for one in result.differences].count(("new finding", "output-collapse")) == 1


def test_places_are_those_of_the_sites():
    where = {"3.shuts": Place(file="net.yaml", line=7, column=29)}
    result = check(*[collapsed()] * 3, places=where, place=Place(file="net.yaml", line=11))
    assert result.differences[0].place == where["3.shuts"]
    assert result.places["3.shuts"].line == 7
    assert result.places["1.shuts"].line == 11


def test_the_fix_to_try_is_the_first_that_the_origins_rule_names():
    assert fix_to_try(check(*[dead(9)] * 3).findings) == "batchnorm-all"
    assert fix_to_try(check(*[collapsed()] * 3).findings) == "batchnorm-last"
    assert fix_to_try([]) is None


def test_only_the_rules_asked_for_are_judged():
    few = [rule for rule in RULES if rule.slug == "common-mode"]
    result = check(*[collapsed()] * 3, rules=few)
    assert (result.outcome, [one.rule for one in result.rules]) == ("as expected", ["common-mode"])


def test_what_goes_along_fails_where_the_baseline_has_it_not(tmp_path):
    file, expected = tmp_path / "net.json", ("output-collapse",)
    assert check(*[collapsed()] * 3, expected=expected, baseline=file, update=True).is_updated
    result = check(*[foreseen()] * 3, expected=expected, baseline=file)
    assert [(one.kind, one.rule, one.fails) for one in result.differences if one.rule] == [("new finding", "common-mode", True)]
