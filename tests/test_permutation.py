"""The permutation test: exact under the null whatever the others do, powerful where there is an effect."""

import itertools

import numpy as np
import pytest

from gradscope.permutation import factor_p_value

GRID = np.array(list(itertools.product(range(3), range(4), range(5)))).T  # factor under test, another one, seed
STRATA = GRID[1] * 5 + GRID[2]


def p_value(values, **options):
    return factor_p_value(values, GRID[0], STRATA, **options)


@pytest.mark.parametrize("noise", ["normal", "collapse"])
def test_the_size_is_kept_under_the_null(noise):
    rng = np.random.default_rng(0)
    rejected = 0
    for _ in range(200):
        other = 5.0 * GRID[1] + rng.normal(size=5)[GRID[2]]  # another factor's effect, and what runs of one seed share
        draw = rng.normal(size=60) if noise == "normal" else np.where(rng.random(60) < 0.1 * GRID[1], -9.0, 0.0)
        rejected += p_value(other + draw, permutations=99) <= 0.05
    assert rejected / 200 <= 0.1  # more than three standard errors above 0.05


def test_an_effect_is_found_through_the_others():
    rng = np.random.default_rng(1)
    values = 50.0 * GRID[1] + 0.8 * GRID[0] + rng.normal(size=60)
    assert p_value(values) <= 2 / 2000


def test_the_statistic_is_that_of_all_permutations_in_a_small_case():
    values, code, strata = np.array([1.0, 2.0, 3.0, 5.0]), np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])

    def distance(order):
        return abs(sum(order[code == 1]) - sum(order[code == 0]))

    orders = [np.array([*a, *b]) for a in itertools.permutations(values[:2]) for b in itertools.permutations(values[2:])]
    exact = np.mean([distance(order) >= distance(values) for order in orders])
    assert factor_p_value(values, code, strata, permutations=4000) == pytest.approx(exact, abs=0.03)


def test_strata_of_different_sizes_give_the_same_answer_as_equal_ones():
    rng = np.random.default_rng(2)
    values = 0.3 * GRID[0] + rng.normal(size=60)
    whole = p_value(values, permutations=2999)
    ragged = factor_p_value(np.append(values, 100.0), np.append(GRID[0], 0), np.append(STRATA, 99), permutations=2999)
    assert ragged == pytest.approx(whole, abs=0.03)


def test_where_nothing_can_be_exchanged_there_is_no_p_value():
    assert factor_p_value(np.arange(4.0), np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1])) is None


def test_equal_values_are_no_evidence():
    assert p_value(np.ones(60), permutations=19) == 1.0
