"""A cause in words: what was done, what happened, and what is said where nothing is shown."""

import pytest
from reports import finding

from gradscope.cause_text import back, cause_line, untested, what_happened, what_was_done
from gradscope.report import CauseFound, Intervention

PLACEBO = Intervention(kind="placebo", reached=[0.1, 0.2], loss=[2.2, 2.3])
BOTH = {"brings_gradient": True, "brings_loss": True, "works": True}
CENTRED = Intervention(kind="centre z", sites=["3.relu"], reached=[1.0, 0.9], loss=[0.4, 0.5], lower_in=2, **BOTH)
STOPPED = Intervention(kind="reset layer", sites=["3.relu"], reached=[0.1, 0.1])
SIGMOID = Intervention(kind="open gate", sites=["2.sigmoid"], reached=[0.2, 0.1], loss=[2.2, 2.2], lower_in=1)


def found(**changes):
    values = {"cause": "common-mode", "site": "3.relu", "steps": 800, "seeds": [1, 2], "suspected": "z is alike"}
    return CauseFound(**(values | {"interventions": [PLACEBO, CENTRED, STOPPED, SIGMOID]} | changes))


def test_an_established_cause_stands_beside_the_numbers_that_show_it():
    assert cause_line(found()) == (
        "common-mode (by intervention: 800 steps from step 0, 2 seeds: no change (placebo): gradient to 15 %, loss 2.25; "
        "centring z at 3.relu: gradient to 95 %, loss 0.45, lower in 2 of 2 seeds; "
        "opening the gate at 2.sigmoid: gradient to 15 %, loss 2.2, lower in 1 of 2 seeds)"
    )


def test_a_cause_that_is_not_established_keeps_the_rules_guess_as_such():
    line = cause_line(found(cause=None, reason="no change brought the gradient back"))
    assert line == "cause not established by intervention: no change brought the gradient back. Suspected: z is alike"


def test_what_was_not_followed_up_has_no_loss():
    assert what_happened(STOPPED, PLACEBO) == "gradient to 10 %"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "fresh weights at 3.relu"),
        ({"kind": "lower lr"}, "learning rate x 0.1"),
        ({"sites": ["1.relu", "2.relu"]}, "fresh weights at 1.relu, 2.relu"),
        ({"sites": [f"{i}.relu" for i in range(1, 9)]}, "fresh weights at 1.relu to 8.relu, 8 sites"),
    ],
)
def test_what_was_done_names_its_sites(changes, text):
    assert what_was_done(STOPPED.model_copy(update=changes)) == text


def test_what_came_back():
    assert [back(one) for one in (PLACEBO, CENTRED)] == ["", "both come back"]
    assert back(CENTRED.model_copy(update={"works": False, "brings_loss": False})) == "gradient only"
    assert back(CENTRED.model_copy(update={"works": False, "brings_gradient": False})) == "loss only"
    assert back(CENTRED.model_copy(update={"brings_gradient": False})) == "loss comes back"


def test_what_was_not_tested_keeps_its_cause():
    given = finding()
    after = untested(given, "interrupted")
    assert after.cause == given.cause
    assert after.tested.reason == "not tested by intervention: interrupted"
