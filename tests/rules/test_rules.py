"""Every rule against its own healthy and sick cases, and what holds for all rules."""

import importlib
import re

import numpy as np
import pytest

from gradscope.rules import RULES, CannotTell
from gradscope.rules.examples import example
from gradscope.rules.output_collapse import OutputCollapse
from gradscope.rules.vanishing_gradient import VanishingGradient

CASES = [pytest.param(rule, case, id=f"{rule.slug}: {case.name}") for rule in RULES for case in rule.cases()]


@pytest.mark.parametrize(("rule", "case"), CASES)
def test_case(rule, case):
    judgement = rule().judge(case.trace())
    if case.severity == "undecided":
        assert isinstance(judgement, CannotTell)
        return
    assert not isinstance(judgement, CannotTell), judgement
    if case.severity is None:
        assert not judgement
        return
    found = [o for o in judgement if case.site is None or o.site == case.site]
    assert found, judgement
    assert found[0].severity == case.severity
    if case.first_step is not None:
        assert found[0].first_step == case.first_step


@pytest.mark.parametrize("rule", RULES)
def test_has_healthy_and_sick_cases_and_a_whole_page(rule):
    kinds = {case.severity for case in rule.cases()}
    assert None in kinds
    assert kinds & {"error", "warning"}
    for heading in ("What it does:", "Why it is bad:", "When it is wrong:", "Fixes:", "Sources:"):
        assert heading in rule.page()
    assert re.fullmatch(r"GS\d{3}", rule.code)
    module = importlib.import_module(f"gradscope.rules.{rule.slug.replace('-', '_')}")
    assert getattr(module, rule.slug.title().replace("-", "")) is rule


def test_codes_and_slugs_are_unique():
    assert len({rule.code for rule in RULES}) == len({rule.slug for rule in RULES}) == len(RULES)


@pytest.mark.parametrize("rule", RULES)
def test_is_silent_on_an_ordinary_trace(rule):
    assert rule().judge(example(loss=np.linspace(2, 0.1, 20))) == []


@pytest.mark.parametrize("rule", RULES)
def test_a_trace_full_of_nan_is_no_crash(rule):
    nan = float("nan")
    statistics = ["nonpositive_frac", "saturated_frac", "closed_frac", "common_mode", "act_rms", "gate_transmission"]
    kinds = ("shuts", "saturates", "both")
    rule().judge(example(kinds, loss=nan, metric=nan, site={(name, i): nan for name in statistics for i in range(3)}))


@pytest.mark.parametrize("rule", RULES)
def test_nothing_recorded_is_never_healthy(rule):
    judgement = rule().judge(example(records=0))
    assert isinstance(judgement, CannotTell)


def test_a_single_large_batch_makes_no_unit_dead():
    values = {(name, 2): 1.0 for name in ("closed_frac", "nonpositive_frac")}
    trace = example(records=1, site=values)
    trace.samples[:] = 5000
    assert isinstance(OutputCollapse().judge(trace), CannotTell)


def test_layers_that_no_gradient_is_meant_to_reach_leave_the_others_judged():
    frozen = {("gate_transmission", 0): np.nan, ("weight_transmission", 0): np.nan}
    assert VanishingGradient().judge(example(site=frozen)) == []
    vanishing = frozen | {("gate_transmission", 1): 1e-5}
    assert [o.site for o in VanishingGradient().judge(example(site=vanishing))] == [1]
