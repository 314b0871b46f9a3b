"""Where interventions are tried, from which step, and which."""

from dataclasses import replace

import numpy as np
from reports import finding, sick

from gradscope.intervention_plan import AT_ORIGIN, Arm, places_of
from gradscope.report import Hypothesis
from gradscope.rules.examples import example


def traces(kinds=("shuts", "saturates", "shuts"), steps=20, **more):
    made = example(kinds, records=steps, **more)
    named = ("1.relu", "2.sigmoid", "3.relu")
    sites = tuple(replace(site, name=name) for site, name in zip(made.sites, named, strict=True))
    return [replace(made, seed=seed, sites=sites) for seed in (1, 2, 3, 4, 5)]


def report(*findings, hypotheses=()):
    return sick(findings=list(findings), hypotheses=list(hypotheses))


SATURATED = Hypothesis(name="saturated sigmoids", holds=False, evidence={"2.sigmoid": 0.0}, text="")


def test_an_output_collapse_is_tried_at_the_output_and_at_the_sigmoid_that_is_suspected():
    ((place, found),) = places_of(report(finding(), finding("common-mode", "GS108"), hypotheses=[SATURATED]), traces())
    assert (place.site, place.layer, place.begin, place.is_output, place.shuts) == ("3.relu", 2, 0, True, True)
    assert [f.rule for f in found] == ["output-collapse", "common-mode"]
    assert [arm.kind for arm in place.arms] == ["placebo", *AT_ORIGIN, "open gate"]
    assert place.elsewhere == {Arm("open gate", (1,)): "saturated gates at 2.sigmoid"}


def test_saturation_is_tried_at_all_its_sites_too_and_centring_at_the_output():
    found = [
        finding("saturation", "GS104", "1.relu", severity="warning"),
        finding("saturation", "GS104", "2.sigmoid", role="victim"),
    ]
    ((place, _),) = places_of(report(*found, hypotheses=[SATURATED]), traces())
    assert place.layer == 0
    assert Arm("open gate", (0, 1)) in place.arms
    assert place.elsewhere[Arm("centre z", (2,))] == "common-mode closed last pre-activations"


def test_warnings_that_lead_to_no_error_notes_and_victims_are_not_tried():
    found = [
        finding("dead-units", "GS101", "1.relu", severity="warning"),
        finding("dead-units", "GS101", "2.sigmoid", role="victim", severity="warning"),
        finding("stuck-at-chance", "GS203", None, role="victim"),
    ]
    assert places_of(report(*found), traces()) == []
    assert places_of(report(), traces()) == []


def test_the_state_restored_is_that_of_the_last_record_before_the_failure():
    whole = traces(site={("closed_frac", 0): 0.5})
    sparse = [replace(trace, steps=trace.steps * 10) for trace in whole]
    ((place, _),) = places_of(report(finding("dead-units", "GS101", "1.relu", first_step=120)), sparse)
    assert place.begin == 110


def test_failures_near_to_one_another_are_tried_from_the_first():
    early, late = (
        finding("dead-units", "GS101", "1.relu", first_step=5),
        finding("dead-layer", "GS102", "3.relu", first_step=12),
    )
    assert [place.begin for place, _ in places_of(report(early, late), traces())] == [4, 4]
    spread = [replace(trace, steps=trace.steps * 100) for trace in traces()]
    far = report(early.model_copy(update={"first_step": 100}), late.model_copy(update={"first_step": 500}))
    assert [place.begin for place, _ in places_of(far, spread)] == [0, 400]


def test_only_the_seeds_in_which_it_stands_are_trained():
    ((place, _),) = places_of(report(finding(seeds=[2, 4])), traces())
    assert place.seeds == (2, 4)


def test_the_whole_networks_failure_is_tried_at_the_narrowest_gate():
    narrow = traces(site={("gate_transmission", 1): 0.2})
    ((place, _),) = places_of(report(finding("stuck-at-chance", "GS203", None)), narrow)
    assert (place.site, place.is_whole, place.grows) == ("2.sigmoid", True, False)
    unseen = traces(site={("gate_transmission", i): np.nan for i in range(3)})
    assert places_of(report(finding("stuck-at-chance", "GS203", None)), unseen) == []


def test_a_gradient_lost_on_its_way_is_tried_along_the_way():
    ((place, _),) = places_of(report(finding("vanishing-gradient", "GS105", "2.sigmoid")), traces())
    assert Arm("open gate", (1, 2)) in place.arms
    ((place, _),) = places_of(report(finding("exploding-gradient", "GS106", "1.relu")), traces())
    assert place.grows
    assert Arm("rescale z", (0, 1, 2)) in place.arms


def test_only_the_worst_places_are_tried():
    found = [finding("dead-units", "GS101", site) for site in ("1.relu", "2.sigmoid", "3.relu")] + [
        finding("exploding-gradient", "GS106", "3.relu")
    ]
    assert [place.site for place, _ in places_of(report(*found), traces())] == ["1.relu", "2.sigmoid", "3.relu"]
