"""Which fixes `fixes: auto` tries for what was found."""

import pytest
from small_trials import model_text, recipe_of

from gradscope.fixes import FIXES, fixes_for
from gradscope.fixes.choice import MOST_FIXES
from gradscope.recipe_fields import FIX_NAMES, RULES, TRAINING_FIX_NAMES
from gradscope.report import Finding

RECIPE = recipe_of(
    "name: a\ndata: digits\nstack: {hidden: [8, 8], activations: [relu, sigmoid, relu]}\ntraining: {lr: 0.1}\nfixes: auto\n"
)


def finding(rule, severity="error", role="origin"):
    return Finding(
        rule=rule, code="GS000", site="3.relu", role=role, first_step=0, seeds=[1], severity=severity, evidence={}, cause="",
        text="",
    )  # fmt: skip


@pytest.mark.parametrize("rule", [rule for rule in RULES if any(rule in fix.rules for fix in FIXES)])
def test_each_rule_has_its_fixes_the_smaller_first(rule):
    found = fixes_for([finding(rule)], RECIPE)
    assert 0 < len(found) <= MOST_FIXES
    assert found == [name for name in FIX_NAMES if name in found]
    assert all(rule in fix.rules for fix in FIXES if fix.slug in found)


def test_a_closed_output_is_offered_no_activation_there_and_batch_norm():
    found = fixes_for([finding("output-collapse")], RECIPE)
    assert {"drop-output-activation", "batchnorm-last", "batchnorm-all"} <= set(found)
    assert not set(found) & set(TRAINING_FIX_NAMES)


def test_a_change_of_each_kind_comes_before_a_second_of_any():
    found = fixes_for([finding("dead-layer")], RECIPE)
    assert {"lower-lr", "he-init", "leaky-relu", "batchnorm-all"} <= set(found)


@pytest.mark.parametrize("severity", ["warning", "note"])
def test_without_an_error_nothing_is_tried(severity):
    assert fixes_for([finding("dead-layer", severity)], RECIPE) == []
    assert fixes_for([], RECIPE) == []


def test_warnings_are_heard_beside_an_error_and_notes_are_not():
    both = [finding("output-collapse"), finding("unscaled-input", "warning")]
    assert "scale-input" in fixes_for(both, RECIPE)
    assert "scale-input" not in fixes_for([both[0], finding("unscaled-input", "note")], RECIPE)


def test_every_rule_is_heard_before_any_has_a_second_fix():
    rules = ["output-collapse", "dead-layer", "saturation", "vanishing-gradient", "exploding-gradient", "non-finite"]
    found = fixes_for([finding(rule) for rule in rules], RECIPE)
    assert len(found) == MOST_FIXES
    assert all(any(rule in fix.rules for fix in FIXES if fix.slug in found) for rule in rules)


def test_an_origin_chooses_before_its_victims():
    rules = ["vanishing-gradient", "exploding-gradient", "non-finite", "saturation", "dead-units", "stuck-at-chance"]
    victims = [finding(rule, role="victim") for rule in rules]
    found = fixes_for([*victims, finding("output-collapse")], RECIPE)
    assert "drop-output-activation" in found


def test_what_would_change_nothing_is_not_chosen():
    model = recipe_of(model_text("mine:build"))
    found = fixes_for([finding("dead-layer"), finding("output-collapse")], model)
    assert found
    assert set(found) <= set(TRAINING_FIX_NAMES)
    assert fixes_for([finding("output-collapse")], model) == []


def test_rules_without_a_fix_are_passed_over():
    assert fixes_for([finding("no-such-rule"), finding("dead-layer")], RECIPE) == fixes_for([finding("dead-layer")], RECIPE)


def test_a_recipe_says_auto_and_is_written_so():
    assert RECIPE.chooses_fixes
    assert RECIPE.fix_names == ()
