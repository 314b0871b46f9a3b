"""The exact test of two groups' means, against counting every way to choose them."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradscope.mean_test import MOST_RUNS, different_means_chance, larger_mean_chance

metrics = st.lists(st.integers(0, 1000).map(lambda steps: steps / 1000), min_size=1, max_size=5)


def counted(controls, fixes):
    """The share of all choices of as many runs whose sum is not smaller: every choice is made."""
    every = np.rint(np.multiply([*controls, *fixes], 1000)).astype(int)
    sums = [every[list(chosen)].sum() for chosen in itertools.combinations(range(len(every)), len(fixes))]
    return np.mean(np.array(sums) >= every[len(controls) :].sum())


@given(controls=metrics, fixes=metrics)
@settings(max_examples=60, deadline=None)
def test_is_the_share_of_all_choices_that_are_no_smaller(controls, fixes):
    assert larger_mean_chance(controls, fixes) == pytest.approx(counted(controls, fixes))


def test_of_two_valued_runs_it_is_fishers():
    """Of five cured and one of ten controls, in Fisher's table: the hypergeometric tail."""
    assert larger_mean_chance([0.0] * 9 + [1.0], [1.0] * 5) == pytest.approx(10 / 5005)
    assert larger_mean_chance([0.0] * 9 + [1.0], [1.0] * 4 + [0.0]) == pytest.approx((5 * 10 + 1) / 3003)


def test_scale_and_sign_of_a_metric_do_not_matter():
    controls, fixes = [0.3, 0.2, 0.5], [0.4, 0.6]
    found = larger_mean_chance(controls, fixes)
    assert larger_mean_chance([7 + value for value in controls], [7 + value for value in fixes]) == found


def test_equal_runs_tell_nothing_and_neither_do_more_than_can_be_counted():
    assert larger_mean_chance([0.5] * 4, [0.5] * 4) == 1
    assert larger_mean_chance([0.0] * 30, [1.0] * (MOST_RUNS + 1)) == 1


def test_twenty_runs_beside_sixty_are_counted_exactly():
    low, high = np.linspace(0.1, 0.3, 60), np.linspace(0.8, 0.9, MOST_RUNS)
    assert larger_mean_chance(low, high) == pytest.approx(1 / math.comb(80, MOST_RUNS))


def test_both_sides_count_where_none_was_named_before():
    low, high = [0.1, 0.2, 0.3, 0.2, 0.1], [0.8, 0.9, 0.8]
    assert different_means_chance(low, high) == pytest.approx(2 / math.comb(8, 3))
    assert different_means_chance(high, low) == pytest.approx(2 / math.comb(8, 5))
    assert different_means_chance(low, low) == 1
