"""Every rule against its own healthy and sick cases, and what holds for all rules."""

import importlib
import re
from dataclasses import replace

import numpy as np
import pytest

from gradscope.rules import RULES, CannotTell
from gradscope.rules.dead_layer import DeadLayer
from gradscope.rules.diverging_loss import DivergingLoss
from gradscope.rules.examples import example
from gradscope.rules.flow import largest_step, movement, steps_done, weight_columns
from gradscope.rules.non_finite import NonFinite
from gradscope.rules.output_collapse import OutputCollapse
from gradscope.rules.oversized_updates import OversizedUpdates
from gradscope.rules.stuck_at_chance import StuckAtChance
from gradscope.rules.vanishing_gradient import VanishingGradient
from gradscope.trace import PARAMETER_STATISTICS, Task

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
    (found,) = VanishingGradient().judge(example(site=vanishing))
    assert found.site == 1
    assert found.cause == "the narrowest gate on the way lets 0.001 % through"


NAN = float("nan")
EVERY_PARAMETER = {(name, i): NAN for name in PARAMETER_STATISTICS for i in range(3)}
FROZEN = {(name, i): NAN for name in ("gate_transmission", "weight_transmission", "remaining", "grad_rms") for i in (0, 1)} | {
    ("remaining", 2): 0.7
}
ODD = {
    "no loss": {"loss": None},
    "no metric": {"task": Task("")},
    "parameters not seen": {"parameter": EVERY_PARAMETER},
    "a frozen part": {"site": FROZEN},
    "measured": {"site": {("remaining", 0): 0.4}},
    "no unit shuts": {"kinds": ("smooth",) * 3},
    "all of it": {"kinds": ("smooth", "saturates", "smooth"), "loss": None, "task": Task("")}
    | {"parameter": EVERY_PARAMETER, "site": FROZEN},
}
# What a rule may lack that a loop of the user's own need not tell.
UNTOLD = {StuckAtChance: {"task"}, DivergingLoss: {"loss"}, OversizedUpdates: {"parameter"}}


def odd_trace(name, **changes):
    given = dict(ODD[name]) | changes
    trace = example(given.pop("kinds", ("shuts", "saturates", "shuts")), **given)
    nothing = np.empty(0, np.float32)
    if not trace.task.metric:
        trace = replace(trace, evaluation_steps=np.empty(0, int), evaluation_metric=nothing, evaluation_loss=nothing)
    trace.self_check()
    return trace


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("rule", RULES)
def test_what_a_loop_does_not_tell_is_no_finding(rule, name):
    judgement = rule().judge(odd_trace(name))
    if isinstance(judgement, CannotTell):
        assert judgement.optional
        assert UNTOLD[rule] & ODD[name].keys()
    else:
        assert judgement == []


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("rule", RULES)
def test_a_loss_that_is_nan_is_only_a_finding_of_that(rule, name):
    judgement = rule().judge(odd_trace(name, loss=NAN))
    assert isinstance(judgement, CannotTell) or [o.severity for o in judgement] == ["error"] * (rule is NonFinite)


@pytest.mark.parametrize("rule", RULES)
def test_no_site_and_no_parameter_is_no_crash(rule):
    bare = replace(
        example((), loss=None, task=Task("")),
        parameters=(),
        parameter_statistics={name: np.empty((20, 0), np.float32) for name in PARAMETER_STATISTICS},
    )
    judgement = rule().judge(bare)
    assert isinstance(judgement, CannotTell) or judgement == []


@pytest.mark.parametrize("rule", RULES)
def test_the_fixes_of_the_page_are_told_in_one_line(rule):
    assert rule.remedies()
    assert "\n" not in rule.remedies()
    assert "Sources" not in rule.remedies()
    assert rule.remedies().split()[0] in rule.page()


def test_a_rule_without_a_page_names_no_fixes():
    class Bare(NonFinite):
        __doc__ = "Nothing to read."

    assert Bare.remedies() == ""


def test_a_site_that_is_not_passed_in_every_step_can_be_dead():
    now_and_then = np.where(np.arange(20)[:, None] % 2, NAN, np.ones(10))
    seen = {(name, 1): now_and_then for name in ("closed_frac", "nonpositive_frac")}
    (found,) = DeadLayer().judge(example(site=seen))
    assert (found.site, found.first_step) == (1, 0)
    seldom = np.where(np.arange(20)[:, None] % 10, NAN, np.ones(10))
    assert DeadLayer().judge(example(site={(name, 1): seldom for name in ("closed_frac", "nonpositive_frac")})) == []


def test_every_head_of_a_network_is_looked_at():
    dead = {(name, 2): 1.0 for name in ("closed_frac", "nonpositive_frac")}
    trace = example(site=dead | {(name, 1): [1.0] * 3 + [0.5] * 7 for name, _ in dead})
    heads = tuple(replace(site, is_output=i > 0) for i, site in enumerate(trace.sites))
    assert [o.site for o in OutputCollapse().judge(replace(trace, sites=heads))] == [1, 2]


def test_weights_that_stand_still_elsewhere_do_not_make_a_weak_gradient_an_error():
    """A branch that is dead has weights without any gradient; what is left at other sites does not depend on them."""
    little = {("remaining", 2): 5e-4, ("remaining", 1): 5e-4, ("remaining", 0): 5e-4}
    still = {("update_to_weight", 1): 0.0, ("grad_to_weight", 0): 1e-6}
    assert {o.severity for o in VanishingGradient().judge(example(site=little, parameter=still))} == {"error"}
    dead_branch = still | {("grad_rms", 1): 0.0}
    assert {o.severity for o in VanishingGradient().judge(example(site=little, parameter=dead_branch))} == {"warning"}


def test_frozen_weights_are_not_weights_that_do_not_move():
    frozen = {("grad_rms", 0): NAN, ("update_to_weight", 0): 0.0}
    assert movement(example(parameter=frozen)) == pytest.approx(1.0)
    assert movement(example(parameter={("update_to_weight", 0): 0.0})) == 0


def test_steps_count_to_the_last_record_or_the_last_loss():
    assert steps_done(example(loss=None)) == 20
    assert steps_done(replace(example(records=3), loss_steps=np.array([0, 5, 90]))) == 91
    assert steps_done(example(records=0)) == 0
    assert movement(replace(example(), steps=np.arange(20) * 1000)) == pytest.approx(19.001)


@pytest.mark.parametrize(
    ("names", "columns"),
    [
        (("a.weight", "a.bias", "rnn.weight_ih_l0", "a.norm.weight"), [0, 2]),
        (("a", "b", "c.bias", "a.norm.scale"), [0, 1]),
        (("a.bias",), []),
    ],
)
def test_which_parameters_are_weights(names, columns):
    assert weight_columns(replace(example(), parameters=names)) == columns


def test_a_network_without_weights_has_no_largest_step():
    assert np.isnan(largest_step(replace(example(), parameters=("1.bias", "2.bias", "3.bias"))))
    from_zero = {("update_to_weight", 0): [np.inf, *[5.0] * 19]}
    assert largest_step(example(parameter=from_zero)) == pytest.approx(0.001)
    assert largest_step(example(parameter={("update_to_weight", 0): [0.1, np.inf, *[0.1] * 18]})) == np.inf
