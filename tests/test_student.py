"""Student's t: quantiles and tails from the tables of any textbook."""

import numpy as np
import pytest

from gradscope.student import paired_p, student_tail, t_quantile


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(1, 12.706), (2, 4.303), (30, 2.042), (40, 2.021), (120, 1.980), (10**6, 1.96)]
)
def test_quantiles_are_those_of_the_tables(freedom, quantile):
    assert t_quantile(freedom) == pytest.approx(quantile, abs=1.5e-3)


@pytest.mark.parametrize(
    ("freedom", "t", "tail"),
    [(1, 12.706, 0.025), (2, 4.303, 0.025), (4, 2.132, 0.05), (4, 4.604, 0.005), (7, 1.895, 0.05), (8, 2.306, 0.025)],
)
def test_student_tail_agrees_with_the_tables(freedom, t, tail):
    assert student_tail(t, freedom) == pytest.approx(tail, rel=2e-3)
    assert student_tail(-t, freedom) == pytest.approx(1 - tail, rel=2e-3)


def test_equal_pairs_prove_all_or_nothing():
    assert paired_p(np.full(5, 0.1)) < 1e-12
    assert paired_p(np.zeros(5)) == 1
    assert paired_p(np.array([1.0])) == 1
