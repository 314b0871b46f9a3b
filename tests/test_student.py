"""Student's t: quantiles from the table of any textbook."""

import pytest

from gradscope.student import t_quantile


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(1, 12.706), (2, 4.303), (30, 2.042), (40, 2.021), (120, 1.980), (10**6, 1.96)]
)
def test_quantiles_are_those_of_the_tables(freedom, quantile):
    assert t_quantile(freedom) == pytest.approx(quantile, abs=1.5e-3)
