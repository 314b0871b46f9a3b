"""Which weight is named where steps are too large: the one that was first."""

import numpy as np

from gradscope.rules.examples import example
from gradscope.rules.oversized_updates import OversizedUpdates

RECORDS = 40


def steps(sizes, metric=0.1):
    """Return what is found of three weights, each with the size of its step by record."""
    (found,) = OversizedUpdates().judge(
        example(
            records=RECORDS, loss=2.3, metric=metric, parameter={("update_to_weight", i): size for i, size in sizes.items()}
        )
    )
    return found


def since(record, size):
    return np.where(np.arange(RECORDS) < record, 1e-3, size)


def test_the_weight_that_was_thrown_away_first_is_named_not_the_one_whose_gradient_it_blew_up():
    found = steps({1: since(3, 2.0), 0: since(4, 900.0), 2: since(5, 40.0)})
    assert (found.evidence["parameter"], found.first_step) == ("2.weight", 3)
    assert found.evidence["weights"] == 3
    assert "first at 2.weight, steps are up to 9e+02 times as large" in found.text


def test_of_those_that_begin_together_the_largest_step_there_counts():
    found = steps({0: since(0, 0.5), 1: since(0, 0.9), 2: np.append([0.4], np.full(RECORDS - 1, 30.0))})
    assert found.evidence["parameter"] == "2.weight"
    assert found.first_step == 0


def test_a_single_step_counts_from_where_it_is():
    found = steps({1: np.where(np.arange(RECORDS) == 7, 5.0, 1e-3)})
    assert (found.evidence["parameter"], found.first_step) == ("2.weight", 7)


def test_large_steps_begin_with_the_first_of_them_not_with_the_window_that_shows_them():
    assert steps({1: since(5, 0.5)}).first_step == 5
    assert steps({1: since(15, 0.5)}, metric=0.9).first_step == 15
