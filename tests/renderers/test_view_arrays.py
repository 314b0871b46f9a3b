"""Binning to a screen's width, and the bytes that arrays are packed into."""

from __future__ import annotations

import gzip
from typing import Any

import numpy as np
import pytest
from board import unpacked
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as drawn

from gradscope.renderers.view_arrays import binned, chosen_records, in_range, packed, trimmed

NAN, INF = np.nan, np.inf
numbers = st.floats(width=32, allow_subnormal=True)


@given(records=st.integers(1, 200), width=st.integers(1, 250))
def test_the_columns_are_evenly_spread_and_end_with_the_last_record(records: int, width: int) -> None:
    chosen = chosen_records(records, width)
    assert len(chosen) == min(records, width)
    assert chosen[-1] == records - 1
    assert width == 1 or chosen[0] == 0
    assert (np.diff(chosen) > 0).all()
    gaps = np.diff(chosen[:-1])
    assert not len(gaps) or gaps.max() - gaps.min() <= 1


@given(drawn(np.float32, st.tuples(st.integers(1, 40), st.integers(1, 3)), elements=numbers), st.integers(1, 50))
def test_no_infinity_is_lost_and_no_number_made_up(values: Any, width: int) -> None:
    found = binned(values, width)
    assert found.shape == (values.shape[1], min(len(values), width))
    for row, before in zip(found, values.T, strict=True):
        assert np.isinf(row).any() == np.isinf(before).any()
        assert set(row[~np.isnan(row)].tolist()) <= set(before[~np.isnan(before)].tolist())


def test_wide_enough_shows_what_there_is() -> None:
    values = np.float32([[1, NAN], [2, INF], [3, 5]])
    assert np.array_equal(binned(values, 3), values.T, equal_nan=True)
    assert np.array_equal(binned(values, 1000), values.T, equal_nan=True)


def test_a_column_is_one_record_the_same_for_every_row() -> None:
    values = np.stack([np.arange(10.0), 100 + np.arange(10.0)], axis=1)
    assert binned(values, 4).tolist() == [[0, 2, 5, 9], [100, 102, 105, 109]]


def test_one_number_that_is_not_finite_takes_its_column() -> None:
    values = np.arange(20.0).reshape(20, 1)
    values[7], values[13] = NAN, -INF
    found = binned(values, 4)[0]
    assert found[0] == 0
    assert np.isnan(found[1])
    assert found[2] == -INF
    assert found[3] == 19


def test_a_row_that_is_looked_at_now_and_then_shows_what_was_seen() -> None:
    values = np.full((100, 1), NAN)
    values[3::10, 0] = np.arange(10)
    assert binned(values, 10)[0].tolist() == list(range(10))


def test_nothing_recorded_is_an_empty_array() -> None:
    assert binned(np.empty((0, 3), np.float32), 10).shape == (3, 0)
    assert binned(np.empty((5, 0), np.float32), 10).shape == (0, 5)
    assert chosen_records(0, 10).tolist() == []


def test_a_range_of_steps_has_both_its_ends() -> None:
    steps = np.array([0, 10, 20, 30])
    cut = [
        steps[in_range(steps, first, last)].tolist() for first, last in ((None, None), (10, 20), (11, 19), (25, None), (30, 10))
    ]
    assert cut == [[0, 10, 20, 30], [10, 20], [], [30], []]


@given(drawn(np.float32, st.tuples(st.integers(0, 5), st.integers(0, 5)), elements=numbers))
def test_what_is_packed_comes_out_again_bit_for_bit(values: Any) -> None:
    found = unpacked(packed({"steps": np.arange(3), "values": values}, records=7, text="größer"))
    assert np.array_equal(found["values"], values, equal_nan=True)
    assert (found["steps"].tolist(), found["records"], found["text"]) == ([0, 1, 2], 7, "größer")


@given(drawn(np.float32, st.integers(1, 20), elements=numbers), st.integers(2, 5))
def test_trimmed_numbers_keep_their_digits(values: Any, digits: int) -> None:
    found = trimmed(values, digits)
    finite = np.isfinite(values)
    assert np.array_equal(found[~finite], values[~finite], equal_nan=True)
    whole = np.abs(values) >= np.finfo(np.float32).tiny  # of smaller ones a float has fewer digits itself
    assert np.allclose(found[finite & whole], values[finite & whole], rtol=10.0**-digits, atol=0)
    assert ((found == 0) == (values == 0)).all()
    assert ((found == 1) == (values == 1))[values <= 1].all()


def test_trimmed_numbers_compress() -> None:
    values = np.random.default_rng(0).random(5000, dtype=np.float32)
    assert len(gzip.compress(trimmed(values, 2).tobytes())) < 0.5 * len(gzip.compress(values.tobytes()))


def test_json_that_has_no_nan_is_not_written_with_one() -> None:
    with pytest.raises(ValueError, match="JSON"):
        packed({}, largest=NAN)
