"""Holm's method against its definition."""

import pytest

from gradscope.holm import holm


def test_each_p_value_is_multiplied_by_how_many_are_not_smaller():
    assert holm([0.001, 0.04, 0.02, 0.5]) == pytest.approx([0.004, 0.08, 0.06, 0.5])


def test_a_corrected_value_is_never_below_that_of_a_smaller_one():
    assert holm([0.01, 0.2, 0.03, 0.005]) == pytest.approx([0.03, 0.2, 0.06, 0.02])
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_no_value_is_above_one():
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_what_was_not_tested_does_not_count():
    assert holm([None, 0.02, None]) == [None, 0.02, None]
    assert holm([]) == []
