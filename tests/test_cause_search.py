"""Causes found by intervention on networks that are sick for a known reason, and none on one that is only slow."""

import os
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import reports
import torch
from networks import class_data, number_data
from small_trials import CPU, data_of, model_text, recipe_of

from gradscope.arms import plan_arms
from gradscope.cause_search import Search, guessing_loss, with_causes
from gradscope.cause_text import what_was_done
from gradscope.data import load_data
from gradscope.intervention_plan import STEPS
from gradscope.recipe import replace
from gradscope.recipe_file import load_single
from gradscope.report_builder import build_report
from gradscope.rules.examples import example
from gradscope.trained_arms import ArmTraining, train_arms

RECIPES = Path(__file__).parents[1] / "recipes"
BRIEFLY = {"search": 400}
REAL = Path(os.environ.get("GRADSCOPE_DATA") or "data")
STACK = """
name: {name}
data: digits
stack: {{hidden: {hidden}, activations: {activations}, init: {init}}}
training: {{lr: {lr}, momentum: {momentum}, epochs: {epochs}}}
seeds: {seeds}
fixes: []
"""


class Collapsing(torch.nn.Sequential):
    """The published failure as someone's own model."""

    def __init__(self):
        layers = [torch.nn.Linear(64, 32), torch.nn.Sigmoid(), torch.nn.Linear(32, 10), torch.nn.ReLU()]
        super().__init__(torch.nn.Flatten(), *layers)


def described(activations, *, hidden="[64, 32]", init="default", lr=0.01, momentum=0.5, epochs=8, seeds=5):
    values = {"activations": activations, "hidden": hidden, "init": init, "lr": lr, "momentum": momentum}
    return recipe_of(STACK.format(name="sick", epochs=epochs, seeds=seeds, **values))


def found_in(recipe, data=None, *, steps=None, stopped=False, search=STEPS):
    """The report with its causes, after the control alone has trained."""
    data = data or data_of(recipe)
    data = data.flattened() if recipe.stack else data
    done = train_arms(plan_arms(recipe, allow_code=True), recipe, data, ArmTraining(CPU, steps, allow_code=True))
    traces = list(done.traces.values())
    report = build_report(recipe, traces)
    return with_causes(report, recipe, data, traces, Search(CPU, allow_code=True, steps=search, should_stop=lambda: stopped))


@lru_cache(maxsize=1)
def published():
    return found_in(replace(load_single(RECIPES / "sigmoid_relu.yaml"), fixes=[]), steps=300, **BRIEFLY)


def shown(report, rule=None):
    return next(f.tested for f in report.findings if f.tested and f.tested.interventions and rule in (None, f.rule))


def worked(found):
    return {what_was_done(one) for one in found.interventions if one.works}


def check_published(found):
    """Centring brings both back, and opening the sigmoid's gate changes next to nothing."""
    assert found.cause == "common-mode closed last pre-activations"
    assert {"centring z at 3.relu", "centring the input at 3.relu"} <= worked(found)
    placebo, by_name = found.interventions[0], {what_was_done(one): one for one in found.interventions}
    sigmoid, centred = by_name["opening the gate at 2.sigmoid"], by_name["centring z at 3.relu"]
    assert not sigmoid.brings_gradient
    assert abs(np.mean(sigmoid.reached) - np.mean(placebo.reached)) < 0.1
    assert abs(np.mean(sigmoid.loss) - np.mean(placebo.loss)) < 0.25 * abs(np.mean(centred.loss) - np.mean(placebo.loss))
    assert not placebo.works


def test_sigmoid_then_relu_is_closed_by_common_mode_and_not_by_saturation():
    report = published()
    check_published(shown(report, "output-collapse"))
    text = next(f.cause for f in report.findings if f.rule == "output-collapse")
    assert text.startswith(
        "common-mode closed last pre-activations (by intervention: 400 steps from step 0, 5 seeds: no change"
    )
    for said in ("centring z at 3.relu: gradient to 100 %", "lower in 5 of 5 seeds", "opening the gate at 2.sigmoid"):
        assert said in text


def test_the_placebo_is_the_control_to_the_bit():
    assert shown(published()).placebo_is_control is True


def test_findings_at_one_place_share_its_test_and_the_rules_own_reading_is_kept():
    report = published()
    both = [f.tested for f in report.findings if f.rule in ("output-collapse", "common-mode")]
    assert len(both) == 2
    assert both[0].model_dump_json(exclude={"suspected"}) == both[1].model_dump_json(exclude={"suspected"})
    assert "nearly the same for every sample" in both[0].suspected
    assert both[1].suspected not in ("", both[0].suspected)


def test_saturated_sigmoids_before_a_tanh_are_cured_by_open_gates_and_not_by_centring():
    found = shown(found_in(described("[sigmoid, sigmoid, tanh]", init="{std: 3.6}", epochs=4), **BRIEFLY), "saturation")
    assert found.cause == "saturated gates"
    assert {name.split(" at ")[0] for name in worked(found)} == {"opening the gate"}
    assert any(what_was_done(one) == "centring z at 3.tanh" for one in found.interventions)


def test_no_cause_is_established_for_a_network_that_is_merely_slow():
    report = found_in(described("[sigmoid, tanh, none]", lr=0.0001, epochs=2))
    found = shown(report, "stuck-at-chance")
    assert found.cause is None
    assert "no gradient is lost" in found.reason
    text = next(f.cause for f in report.findings if f.rule == "stuck-at-chance")
    assert text.startswith("cause not established by intervention: no gradient is lost")


def test_relus_killed_by_their_steps_are_saved_by_smaller_ones_from_the_state_before_they_died():
    recipe = described("[relu, relu, none]", hidden="[128, 32]", lr=0.5, momentum=0.9, epochs=4)
    found = shown(found_in(recipe, **BRIEFLY), "dead-units")
    assert found.cause == "steps too large"
    assert found.begin > 0
    assert found.placebo_is_control is True


def test_a_healthy_network_has_nothing_to_test():
    report = found_in(described("[relu, relu, tanh]", lr=0.05, seeds=2))
    assert report.verdict == "healthy"
    assert all(finding.tested is None for finding in report.findings)


def test_two_seeds_establish_nothing():
    found = shown(found_in(described("[relu, sigmoid, relu]", lr=0.02, seeds=2)))
    assert found.cause is None
    assert "at least 3 seeds" in found.reason


def test_an_interrupted_search_says_so():
    report = found_in(described("[relu, sigmoid, relu]", lr=0.02, seeds=2), stopped=True)
    reasons = {f.tested.reason for f in report.findings if f.tested}
    assert reasons == {"not tested by intervention: interrupted"}


def reason_of(finding, trace, **search):
    recipe = described("[relu, relu, none]", seeds=1)
    report = reports.sick(findings=[finding])
    return with_causes(report, recipe, class_data(), [trace], Search(CPU, **search)).findings[0].tested.reason


def test_where_no_place_is_known_to_begin_at_no_other_is_said_to_come_first():
    blind = example(site={("gate_transmission", i): np.nan for i in range(3)}, metric=0.1)
    found = reason_of(reports.finding("stuck-at-chance", "GS203", None), blind)
    assert found == "not tested by intervention: no site's gate was recorded, so no place is known to begin at"


def test_steps_that_are_too_few_are_named():
    found = reason_of(reports.finding(), example(metric=0.1), steps=7)
    assert found == "not tested by intervention: 7 steps are too few, 8 are needed"


def test_a_model_of_ones_own_is_not_tested():
    report = found_in(recipe_of(model_text("test_cause_search:Collapsing")))
    assert report.verdict == "sick"
    reasons = {f.tested.reason for f in report.findings if f.tested}
    assert reasons == {"not tested by intervention: only a stack's layers can be changed one by one"}


@pytest.mark.slow
@pytest.mark.skipif(not (REAL / "MNIST" / "raw").is_dir(), reason="GRADSCOPE_DATA names no folder with MNIST/raw in it")
def test_the_published_recipe_on_mnist():
    recipe = replace(load_single(RECIPES / "sigmoid_relu.yaml"), fixes=[], data="mnist", seeds=3)
    check_published(shown(found_in(recipe, load_data("mnist"), steps=100, **BRIEFLY)))


def test_the_loss_of_guessing_is_the_best_that_a_constant_answer_gets():
    labels, numbers = class_data(), number_data()
    shares = np.bincount(labels.y_train) / len(labels.y_train)
    assert guessing_loss("cross-entropy", labels) == pytest.approx(-(shares * np.log(shares)).sum(), rel=1e-6)
    assert guessing_loss("mse", labels) == pytest.approx((shares * (1 - shares)).mean(), rel=1e-6)
    entropy = -(shares * np.log(shares) + (1 - shares) * np.log(1 - shares)).mean()
    assert guessing_loss("bce-with-logits", labels) == pytest.approx(entropy, rel=1e-6)
    assert guessing_loss("mse", numbers) == pytest.approx(float(numbers.y_train.var(dim=0, correction=0).mean()), rel=1e-5)


def test_a_class_that_never_occurs_leaves_the_loss_of_guessing_finite():
    data = class_data()
    without = data.__class__(**{**vars(data), "y_train": torch.where(data.y_train == 3, 0, data.y_train)})
    for kind in ("cross-entropy", "nll", "mse", "bce-with-logits"):
        assert np.isfinite(guessing_loss(kind, without)), kind
