"""Origin and victim, from observations made by hand and from the traces of whole networks."""

import numpy as np
import pytest

from gradscope.diagnosis import diagnose
from gradscope.roles import Seen, role_of
from gradscope.rules import (
    RULES,
    Observation,
)
from gradscope.rules.examples import example

BY_SLUG = {rule.slug: rule for rule in RULES}
SHUT = ("closed_frac", "nonpositive_frac")
CHAIN = np.triu(np.ones((4, 4), bool), k=1)  # each site leads to all later ones


def seen(slug, site=None, first_step=0, severity="error", evidence=None):
    return Seen(BY_SLUG[slug], Observation(site, first_step, severity, evidence or {}, "", ""))


def fed(mean, std):
    evidence = {"input_mean": mean, "input_std": std, "input_rms": (mean**2 + std**2) ** 0.5}
    return seen("unscaled-input", 0, evidence=evidence)


def role(of, *others):
    return role_of(of, [of, *others], CHAIN)


@pytest.mark.parametrize(
    ("later", "cause", "expected"),
    [
        (seen("dead-layer", 2), seen("dead-layer", 0), "victim"),
        (seen("dead-layer", 2, first_step=1), seen("dead-layer", 0, first_step=5), "origin"),  # it was there before
        (seen("dead-layer", 0), seen("dead-layer", 2), "origin"),  # what spreads forward does not go back
        (seen("output-collapse", 2), seen("dead-units", 0, severity="note"), "origin"),  # too slight to explain it
        (seen("dead-units", 2, severity="warning"), seen("dead-units", 0, severity="warning"), "victim"),
        (seen("dead-units", 2, severity="warning"), seen("saturation", 0, severity="warning"), "origin"),
        (seen("output-collapse", 2), seen("common-mode", 2), "origin"),  # one site: two descriptions of one thing
        (seen("common-mode", 2), seen("output-collapse", 2), "origin"),
        (seen("vanishing-gradient", 0), seen("saturation", 1), "victim"),
        (seen("vanishing-gradient", 1), seen("saturation", 1), "victim"),  # the site itself is flat
        (seen("vanishing-gradient", 2), seen("saturation", 1), "origin"),  # lost before it came to the flat one
        (seen("vanishing-gradient", 0), seen("output-collapse", 2), "victim"),
        (seen("vanishing-gradient", 0), seen("common-mode", 2), "origin"),  # predicts, but shuts nothing by itself
        (seen("vanishing-gradient", 0), seen("vanishing-gradient", 1), "victim"),
        (seen("vanishing-gradient", 1), seen("vanishing-gradient", 0), "origin"),
        (seen("vanishing-gradient", 0), seen("exploding-gradient", 1), "origin"),
        (seen("non-finite", 1, first_step=7), seen("exploding-gradient", 0, first_step=2), "victim"),
        (seen("non-finite", None, first_step=7), seen("exploding-gradient", 0, first_step=2), "victim"),
        (seen("non-finite", 1, first_step=2), seen("exploding-gradient", 0, first_step=2), "origin"),
        (seen("dead-layer", 1, first_step=7), seen("exploding-gradient", 0, first_step=2), "victim"),
        (seen("dead-layer", 1, first_step=7), seen("exploding-gradient", 0, severity="warning"), "origin"),
        (seen("dead-layer", 1, first_step=7), seen("vanishing-gradient", 2, first_step=2), "origin"),
        (seen("vanishing-gradient", 0), seen("dead-layer", 1, severity="warning"), "victim"),
        (seen("vanishing-gradient", 0), seen("dead-units", 1, severity="warning"), "origin"),
        (seen("stuck-at-chance"), seen("output-collapse", 2), "victim"),
        (seen("stuck-at-chance"), seen("vanishing-gradient", 0), "victim"),
        (seen("stuck-at-chance"), seen("vanishing-gradient", 0, severity="warning"), "origin"),
        (seen("output-collapse", 2), seen("stuck-at-chance"), "origin"),
        (seen("vanishing-gradient", 0), seen("stuck-at-chance"), "origin"),
        (seen("dead-layer", 1, first_step=7), seen("oversized-updates"), "victim"),
        (seen("dead-layer", 1), seen("oversized-updates"), "origin"),  # it was dead before the first step
        (seen("dead-layer", 1, first_step=7), seen("oversized-updates", severity="warning"), "origin"),
        (seen("vanishing-gradient", 1, first_step=7), seen("oversized-updates"), "victim"),
        (seen("oversized-updates"), seen("exploding-gradient", 1), "victim"),
        (seen("oversized-updates"), seen("exploding-gradient", 1, first_step=3), "origin"),
        (seen("exploding-gradient", 1, first_step=3), seen("oversized-updates"), "victim"),
        (seen("oversized-updates"), seen("dead-layer", 1), "origin"),
        (seen("frozen-weights", 1), seen("dead-layer", 1), "origin"),
        (seen("dead-layer", 1, first_step=7), seen("frozen-weights", 1), "origin"),
        (seen("diverging-loss", first_step=3), seen("oversized-updates"), "victim"),
        (seen("diverging-loss", first_step=3), seen("dead-layer", 1, first_step=9), "origin"),
        (seen("diverging-loss", first_step=3), seen("non-finite", first_step=9), "origin"),
        (seen("non-finite", first_step=9), seen("diverging-loss", first_step=3), "victim"),
        (seen("stuck-at-chance"), seen("diverging-loss", first_step=3), "victim"),
        (seen("diverging-loss", first_step=3), seen("stuck-at-chance"), "origin"),
        (seen("identical-units", 1), seen("identical-units", 0), "victim"),
        (seen("vanishing-gradient", 1), seen("identical-units", 0), "victim"),  # all weights are zero
        (seen("vanishing-gradient", 0), seen("unscaled-input", 0), "origin"),
        (seen("saturation", 1), seen("unscaled-input", 0), "victim"),
        (seen("dead-layer", 0), seen("unscaled-input", 0), "victim"),  # the input comes before the first site
        (seen("exploding-gradient", 1), seen("unscaled-input", 0), "victim"),
        (seen("output-collapse", 2), seen("unscaled-input", 0), "origin"),  # the layers between are well
        (seen("dead-layer", 1), seen("unscaled-input", 0), "origin"),
        (seen("common-mode", 2), seen("unscaled-input", 0), "origin"),
        (seen("common-mode", 0), seen("unscaled-input", 0), "victim"),  # a large mean
        (seen("oversized-updates"), seen("unscaled-input", 0), "victim"),
        (seen("identical-units", 0), seen("unscaled-input", 0), "origin"),
        (seen("dead-layer", 0), seen("unscaled-input", 0, severity="note"), "origin"),
        (seen("dead-layer", 1), fed(0.0, 300.0), "origin"),  # at the first step a relu shuts at any scale
        (seen("dead-layer", 1, first_step=2), fed(0.0, 300.0), "victim"),  # steps as large as the input have shut it
        (seen("dead-layer", 1, first_step=2), fed(0.0, 0.001), "origin"),
        (seen("exploding-gradient", 1), fed(0.0, 0.001), "origin"),  # nothing grows because of a tiny input
        (seen("exploding-gradient", 0), fed(0.0, 0.001), "victim"),
        (seen("dead-units", 1), fed(300.0, 1.0), "victim"),  # beside such a mean all samples are alike
        (seen("oversized-updates"), seen("identical-units", 0), "victim"),  # equal gradients add up
        (seen("oversized-updates"), seen("identical-units", 0, first_step=3), "origin"),
        (seen("oversized-updates"), seen("identical-units", 0, severity="warning"), "origin"),
    ],
)
def test_role_beside_one_other(later, cause, expected):
    assert role(later, cause) == expected


def test_steps_that_an_explosion_made_too_large_do_not_explain_its_spread():
    near, far, steps = (seen("exploding-gradient", 2, 1), seen("exploding-gradient", 0, 0), seen("oversized-updates"))
    items = [near, far, steps]
    assert [role_of(item, items, CHAIN) for item in items] == ["origin", "victim", "victim"]


def test_what_an_input_breaks_at_the_first_site_explains_the_later_ones():
    items = [seen("unscaled-input", 0), seen("dead-layer", 0), seen("output-collapse", 2)]
    assert [role_of(item, items, CHAIN) for item in items] == ["origin", "victim", "victim"]


def test_alone_everything_is_an_origin():
    for rule in RULES:
        assert role(seen(rule.slug, 0)) == "origin"


def test_among_any_observations_there_is_an_origin():
    """Following each victim to a cause must end somewhere: the causes form no circle."""
    rng = np.random.default_rng(0)
    slugs = [rule.slug for rule in RULES]
    for _ in range(3000):
        chosen = {(rng.choice(slugs), int(rng.integers(4))) for _ in range(rng.integers(1, 8))}
        placed = {slug: BY_SLUG[slug].flow not in ("network", "weights") for slug, _ in chosen}
        items = [seen(slug, site if placed[slug] else None, int(rng.integers(3))) for slug, site in sorted(chosen)]
        assert "origin" in [role_of(item, items, CHAIN) for item in items], items


def roles_in(trace):
    return {(f.rule, f.site): f.role for f in diagnose([trace]).findings}


def test_a_dead_first_layer_makes_victims_of_the_later_ones():
    trace = example(site={(name, i): 1.0 for name in SHUT for i in range(3)}, metric=0.1)
    assert roles_in(trace) == {
        ("dead-layer", "1.shuts"): "origin",
        ("dead-layer", "2.shuts"): "victim",
        ("output-collapse", "3.shuts"): "victim",
        ("stuck-at-chance", None): "victim",
    }


def test_output_collapse_and_its_prediction_at_one_site_are_both_origins():
    collapsed = {(name, 2): 1.0 for name in SHUT} | {("common_mode", 2): 11.0, ("gate_transmission", 2): 0.0}
    cut = {("weight_transmission", i): np.nan for i in range(2)} | {("gate_transmission", i): np.nan for i in range(2)}
    still = {(name, i): 0.0 for name in ("update_to_weight", "grad_to_weight", "grad_rms") for i in range(3)}
    assert roles_in(example(site=collapsed | cut, parameter=still, metric=0.1)) == {
        ("output-collapse", "3.shuts"): "origin",
        ("common-mode", "3.shuts"): "origin",
        ("vanishing-gradient", "1.shuts"): "victim",
        ("vanishing-gradient", "2.shuts"): "victim",
        ("vanishing-gradient", "3.shuts"): "victim",
        ("stuck-at-chance", None): "victim",
    }


def test_a_gradient_that_vanishes_behind_saturation_is_a_victim():
    flat = {("saturated_frac", 1): 0.95, ("gate_transmission", 1): 1e-4}
    still = {("update_to_weight", 0): 1e-9}
    found = roles_in(example(("saturates", "saturates", "smooth"), site=flat, parameter=still))
    assert found == {
        ("saturation", "2.saturates"): "origin",
        ("vanishing-gradient", "1.saturates"): "victim",
        ("vanishing-gradient", "2.saturates"): "victim",
    }


def test_an_explosion_comes_before_what_is_not_finite_and_what_is_dead():
    late = np.ones((20, 10))
    late[:6] = 0.5
    site = {("weight_transmission", i): 60.0 for i in range(3)} | {(name, 1): late for name in SHUT}
    broken = np.where(np.arange(20) < 8, 1e4, np.nan)
    act = np.where(np.arange(20) < 8, 1.0, np.nan)
    found = roles_in(example(site=site | {("act_rms", 2): act}, loss=broken, parameter={("update_to_weight", 0): 5.0}))
    assert found["exploding-gradient", "2.shuts"] == "origin"
    assert found["exploding-gradient", "1.shuts"] == "victim"
    assert found["non-finite", "3.shuts"] == "victim"
    assert found["dead-layer", "2.shuts"] == "victim"
