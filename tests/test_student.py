"""Student's interval over groups: coverage by simulation, quantiles from the table of any textbook."""

import numpy as np
import pytest

from gradscope.student import group_interval, t_quantile


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(1, 12.706), (2, 4.303), (30, 2.042), (40, 2.021), (120, 1.980), (10**6, 1.96)]
)
def test_quantiles_are_those_of_the_tables(freedom, quantile):
    assert t_quantile(freedom) == pytest.approx(quantile, abs=1.5e-3)


@pytest.mark.parametrize(("groups", "repeats"), [(1, 3), (1, 5), (4, 2), (4, 3)])
def test_the_interval_covers_groups_whose_spreads_differ_somewhat(groups, repeats):
    rng = np.random.default_rng(0)
    means, spreads = np.arange(groups)[:, None], 1.26 ** np.arange(groups)[:, None]
    ends = [group_interval(means + spreads * rng.normal(size=(groups, repeats))) for _ in range(1000)]
    coverage = np.mean([low <= means.mean() <= high for low, high in ends])
    assert coverage >= 0.93


def test_there_is_none_without_repeats_or_with_nan():
    assert group_interval(np.ones((3, 1))) is None
    assert group_interval(np.array([[1.0, np.nan]])) is None
    assert group_interval(np.ones((2, 3))) == (1.0, 1.0)
