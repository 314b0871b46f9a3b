"""Which units compute the same: against comparing each pair, and for what almost looks alike."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradscope.identical import TOLERANCE, identical_frac


def rows(seed, units, records=3):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(records, units)), rng.normal(size=(records, units)), rng.random((records, units))


@given(seed=st.integers(0, 1000), distinct=st.integers(1, 12), copies=st.integers(1, 6))
def test_copies_are_counted_wherever_they_stand(seed, distinct, copies):
    order = np.random.default_rng(seed).permutation(distinct * copies)
    sums = [np.tile(values, copies)[:, order] for values in rows(seed, distinct)]
    expected = 0 if len(order) == 1 else (len(order) - distinct) / (len(order) - 1)
    np.testing.assert_allclose(identical_frac(*sums), expected, rtol=1e-6)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_one_difference_of_three_suffices(which):
    sums = [np.full((1, 8), 0.5) for _ in range(3)]
    sums[which] = np.linspace(0.1, 0.9, 8)[None]
    assert identical_frac(*sums).tolist() == [0]


def test_a_unit_is_not_its_mirror():
    first, mean, deviation = rows(1, 6)
    mirrored = [np.concatenate([values, -values], axis=1) for values in (first, mean)]
    assert identical_frac(*mirrored, np.tile(deviation, 2)).tolist() == [0, 0, 0]


@pytest.mark.parametrize(("noise", "expected"), [(TOLERANCE / 100, 1), (TOLERANCE * 100, 0)])
def test_rounding_is_no_difference_and_what_is_larger_is(noise, expected):
    factor = 1 + noise * np.arange(20)
    sums = [np.full((1, 20), value) * factor for value in (-3.0, 2.0, 0.5)]
    assert identical_frac(*sums).tolist() == [expected]


def test_one_unit_that_is_huge_does_not_make_the_small_ones_alike():
    sums = [values * np.append(np.ones(19), 1e12) for values in rows(2, 20)]
    assert identical_frac(*sums).tolist() == [0, 0, 0]


def test_zeros_are_alike_a_single_unit_is_not_and_nan_is_not_known():
    zeros = np.zeros((2, 5))
    assert identical_frac(zeros, zeros, zeros).tolist() == [1, 1]
    assert identical_frac(zeros[:, :1], zeros[:, :1], zeros[:, :1]).tolist() == [0, 0]
    broken = zeros.copy()
    broken[0, 2] = np.nan
    assert np.isnan(identical_frac(broken, zeros, zeros)).tolist() == [True, False]
