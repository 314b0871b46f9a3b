"""What a few runs leave open of failures."""

import math

import numpy as np
import pytest

from gradscope.interval import mean_interval
from gradscope.unseen import failures, most_failures, undone_by


@pytest.mark.parametrize("runs", [3, 5, 9])
def test_what_is_not_ruled_out_would_show_so_few_failures_in_one_trial_of_forty(runs):
    for failed in range(runs):
        share = most_failures(failed, runs)
        as_few = sum(math.comb(runs, k) * share**k * (1 - share) ** (runs - k) for k in range(failed + 1))
        assert as_few == pytest.approx(0.025)
    assert most_failures(runs, runs) == 1


def test_more_runs_rule_out_more_and_more_confidence_less():
    assert most_failures(0, 5) > most_failures(0, 9) > most_failures(0, 40)
    assert most_failures(0, 5, 0.99) > most_failures(0, 5)


def test_it_is_what_the_interval_of_a_mean_leaves_open():
    low, _ = mean_interval([1.0] * 5, floor=0.0)
    assert low == pytest.approx(1 - most_failures(0, 5), abs=0.01)


def test_with_the_share_that_undoes_it_a_fix_is_as_good_as_the_control():
    controls, fix = [0.4, 0.5, 0.6], [0.9, 0.95, 0.85]
    share = undone_by(controls, fix, 0.1)
    assert share * 0.1 + (1 - share) * np.mean(fix) == pytest.approx(np.mean(controls))


def test_runs_that_failed_already_are_no_part_of_what_a_fix_gains_where_it_does_not():
    assert undone_by([0.5] * 5, [0.9, 0.9, 0.1], 0.1) == pytest.approx(undone_by([0.5] * 5, [0.9], 0.1))


def test_a_fix_that_gains_nothing_is_undone_by_nothing():
    assert undone_by([0.9] * 5, [0.8] * 5, 0.1) is None
    assert undone_by([0.9] * 5, [0.1] * 5, 0.1) is None
    assert undone_by([], [0.9], 0.1) is None


def test_a_run_at_chance_or_without_a_number_has_failed():
    assert failures([0.1, 0.1004, 0.05, float("nan"), 0.2, 0.9], 0.1) == 4
