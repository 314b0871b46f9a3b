"""Rows on the device, columns on the host."""

import numpy as np
import pytest
import torch

from gradscope import records as records_module
from gradscope.records import BUFFER_BYTES, MOST_ROWS, Records


def found(step, members=2, units=3, extra=False, **more):
    values = {
        ("a", "x"): torch.full((members, units), float(step)) + torch.arange(units) / 10,
        ("a", "y"): torch.tensor([step + 0.25, step + 0.5])[:members],
    }
    return values | ({("b", "x"): torch.full((members,), -float(step))} if extra else {}) | more


def filled(count, **kind):
    records = Records(2)
    for step in range(count):
        records.add(step * 2, 10 + step, found(step, **kind))
    records.flush()
    return records


@pytest.mark.parametrize("count", [0, 1, MOST_ROWS - 1, MOST_ROWS, MOST_ROWS + 1, 3 * MOST_ROWS + 5])
def test_columns_are_what_was_added(count):
    records = filled(count)
    assert (len(records), records.steps, records.samples) == (count, list(range(0, 2 * count, 2)), list(range(10, 10 + count)))
    wanted = [found(step) for step in range(count)]
    for key, width in ((("a", "x"), 3), (("a", "y"), None)):
        column = records.column(key, width)
        shape = (2, width) if width else (2,)
        assert column.shape == (count, *shape)
        assert column.dtype == np.float32
        assert np.array_equal(column, np.array([w[key].numpy() for w in wanted], np.float32).reshape(count, *shape))


def test_an_absent_key_or_width_is_nan():
    records = filled(4)
    assert np.isnan(records.column(("c", "x"))).all()
    assert np.isnan(records.column(("a", "x"), 5)).all()
    assert records.column(("a", "x"), 5).shape == (4, 2, 5)


def test_rows_of_changing_keys_and_shapes_stay_in_order():
    records = Records(2)
    for step in range(30):
        records.add(step, 1, found(step, units=4 if step % 7 == 6 else 3, extra=step % 3 == 0))
    records.flush()
    b = records.column(("b", "x"))
    assert [step for step in range(30) if np.isfinite(b[step]).all()] == list(range(0, 30, 3))
    assert b[::3, 0].tolist() == [-float(step) for step in range(0, 30, 3)]
    assert records.column(("a", "y"))[:, 0].tolist() == [step + 0.25 for step in range(30)]
    wide = records.column(("a", "x"), 4)[:, 0, 0]
    assert [step for step in range(30) if np.isfinite(wide[step])] == [6, 13, 20, 27]
    assert np.isfinite(records.column(("a", "x"), 3)).all(axis=(1, 2)).sum() == 26


def test_keys_that_come_and_go_need_no_host_copy():
    records, copies = Records(2), []
    original = records.flush
    records.flush = lambda: (copies.append(len(records)), original())
    for step in range(30):
        records.add(step, 1, found(step, extra=step % 3 == 0))
    assert len(copies) <= 1


def test_adding_goes_on_after_a_flush():
    records = filled(3)
    before = records.column(("a", "y")).copy()
    records.add(99, 1, found(99))
    assert np.array_equal(records.column(("a", "y")), before)  # what was flushed
    records.flush()
    assert records.column(("a", "y"))[:, 0].tolist() == [*before[:, 0].tolist(), 99.25]
    records.flush()
    assert len(records.column(("a", "y"))) == 4


def test_what_was_added_may_change_afterwards():
    records, values = Records(1), torch.ones(1)
    records.add(0, 1, {("a", "x"): values})
    values.fill_(7)
    records.flush()
    assert records.column(("a", "x")).tolist() == [[1.0]]


def test_other_types_become_float32():
    records = Records(1)
    records.add(0, 1, {("a", "x"): torch.tensor([1 / 3], dtype=torch.float64), ("a", "y"): torch.ones(1, dtype=torch.bfloat16)})
    records.flush()
    assert records.column(("a", "x"))[0, 0] == np.float32(1 / 3)


def test_nothing_found_is_no_record():
    records = Records(1)
    records.add(0, 1, {})
    records.flush()
    assert len(records) == 0


@pytest.mark.parametrize("units", [10, 100_000, 10_000_000])
def test_memory_on_the_device_is_bounded(units, monkeypatch):
    """At most the buffer, whatever the number of records; one row where a single record is larger."""
    sizes, original = [], torch.empty

    def empty(*args, **kwargs):
        result = original(*args, **kwargs)
        sizes.append(result.numel() * 4)
        return result

    monkeypatch.setattr(records_module.torch, "empty", empty)
    records = Records(1)
    value = torch.zeros(1, units)
    for step in range(5):
        records.add(step, 1, {("a", "x"): value})
    assert sizes == [max(4 * units, min(MOST_ROWS, BUFFER_BYTES // (4 * units)) * 4 * units)]
