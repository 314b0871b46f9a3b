"""Interventions cost what was planned for them: the control goes on from where it is known, and every step is told."""

import numpy as np
import pytest
from networks import class_data
from small_trials import CPU, recipe_of

from gradscope.intervention_plan import PLACEBO, Place
from gradscope.intervention_training import InterventionTraining

RECIPE = """
name: small
data: digits
stack: {hidden: [9, 7], activations: [relu, tanh, none]}
training: {lr: 0.05, momentum: 0.5, batch_size: 32, epochs: 4}
seeds: 2
fixes: []
"""


def place(begin, seeds=(1, 2)):
    return Place(site="2.tanh", layer=1, begin=begin, seeds=seeds, arms=(PLACEBO,))


def training(**more):
    return InterventionTraining(recipe_of(RECIPE), class_data(), CPU, allow_code=False, steps=8, **more)


@pytest.mark.parametrize("begins", [(4, 6), (6, 4), (5, 5)])
def test_the_controls_steps_are_taken_once_up_to_places_in_order(begins):
    taken, planned = [], []
    together = training(advance=taken.append, more_planned=planned.append)
    found = [together.try_at(place(begin)) for begin in begins]
    stages = 2 * 2  # a quarter of 8 steps at each place
    assert sum(taken) == stages + (max(begins) if begins[0] <= begins[1] else sum(begins))
    assert sum(planned) == sum(taken)
    for begin, (measured,) in zip(begins, found, strict=True):
        (alone,) = training().try_at(place(begin))
        assert np.array_equal(measured.losses, alone.losses)
        assert measured.losses.shape == (2, 2)


def test_other_seeds_are_trained_by_themselves():
    taken = []
    together = training(advance=taken.append)
    together.try_at(place(4))
    together.try_at(place(4, seeds=(2,)))
    assert sum(taken) == 2 * (4 + 2)


def test_a_state_that_was_interrupted_is_not_kept():
    taken = []
    together = training(advance=taken.append, should_stop=lambda: len(taken) == 3)
    assert together.try_at(place(5)) == []
    taken.append(1)
    (measured,), (alone,) = together.try_at(place(5)), training().try_at(place(5))
    assert np.array_equal(measured.losses, alone.losses)
