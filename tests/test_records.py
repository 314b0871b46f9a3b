"""Rows on the device, columns on the host."""

import numpy as np
import pytest
import torch

from gradscope import records as records_module
from gradscope.records import BUFFER_BYTES, KEPT_AT_ENDS, MOST_ROWS, Records


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


# --- counts ---


def test_counts_of_a_site_stand_beside_its_sums():
    records = Records(1)
    for step in range(MOST_ROWS + 3):
        records.add(
            step, 1, {("a", "x"): torch.ones(1)}, {"a": (step, 2 * step), "b": (7, 7)} if step % 2 else {"a": (step, step)}
        )
    records.flush()
    wanted = [[step, step * (1 + step % 2)] for step in range(MOST_ROWS + 3)]
    assert records.counts("a").tolist() == wanted
    b = records.counts("b")
    assert b[1::2].tolist() == [[7, 7]] * (len(b) // 2)
    assert np.isnan(b[::2]).all()
    assert np.isnan(records.counts("c")).all()
    assert records.counts("c").shape == (MOST_ROWS + 3, 2)
    assert records.counts("a").dtype == np.float32


def test_counts_are_optional_and_those_of_the_caller_may_change():
    records, counts = Records(1), {"a": (1, 1)}
    records.add(0, 1, {("a", "x"): torch.ones(1)}, counts)
    counts["a"] = (9, 9)
    records.add(1, 1, {("a", "x"): torch.ones(1)})
    records.flush()
    assert records.counts("a")[0].tolist() == [1, 1]
    assert np.isnan(records.counts("a")[1]).all()


def test_counts_without_a_record():
    assert Records(1).counts("a").shape == (0, 2)


# --- layouts ---


def flushes_of(records):
    """The number of records at each copy to the host that the adding of records leads to."""
    copies, original = [], records.flush
    records.flush = lambda: (copies.append(len(records)), original())
    return copies


def test_a_layout_grows_to_the_union_of_all_seen():
    """Three sites that take turns, as parts of a network do that are trained by turns: two copies at most."""
    records = Records(1)
    copies = flushes_of(records)
    for step in range(30):
        records.add(step, 1, {("abc"[step % 3], "x"): torch.full((1, 2), float(step))})
    assert copies == [0, 1, 2]
    records.flush()
    for place, site in enumerate("abc"):
        column = records.column((site, "x"), 2)[:, 0, 0]
        assert [step for step in range(30) if np.isfinite(column[step])] == list(range(place, 30, 3))
        assert column[place::3].tolist() == list(range(place, 30, 3))


def test_a_key_that_never_comes_again_costs_no_copies():
    records = Records(1)
    copies = flushes_of(records)
    for step in range(20):
        records.add(step, 1, found(step, members=1, extra=step == 3))
    assert copies == [0, 3]
    records.flush()
    b = records.column(("b", "x"))[:, 0]
    assert [step for step in range(20) if np.isfinite(b[step])] == [3]


def test_a_key_of_another_width_starts_anew_and_keeps_the_other():
    """One shape per key at a time; both are there to be read."""
    records = Records(1)
    for step, units in enumerate([3, 3, 5, 3, 5]):
        records.add(step, 1, {("a", "x"): torch.full((1, units), float(step))})
    records.flush()
    three, five = records.column(("a", "x"), 3)[:, 0, 0], records.column(("a", "x"), 5)[:, 0, 0]
    np.testing.assert_array_equal(three, [0, 1, np.nan, 3, np.nan])
    np.testing.assert_array_equal(five, [np.nan, np.nan, 2, np.nan, 4])


def test_single_numbers_and_rows_mix():
    """One network's norms have no axis, its rows of units no member axis."""
    records = Records(1)
    for step in range(5):
        values = {("a", "norm"): torch.tensor(step + 0.5), ("a", "x"): torch.full((3,), float(step))}
        values |= {("b", "norm"): torch.tensor(-step, dtype=torch.float64), ("c", "count"): torch.tensor(step)}
        records.add(
            step, 1, dict(sorted(values.items(), key=lambda item: (item[0][0] != "b", item[0]))) if step % 2 else values
        )
    records.flush()
    assert records.column(("a", "norm")).tolist() == [[step + 0.5] for step in range(5)]
    assert records.column(("b", "norm")).tolist() == [[-step] for step in range(5)]
    assert records.column(("c", "count")).tolist() == [[step] for step in range(5)]
    assert records.column(("a", "x"), 3).tolist() == [[[step] * 3] for step in range(5)]


@pytest.mark.parametrize("size", [1e-200, 1e-45, 1e-30, 1e300])
def test_what_float32_cannot_hold_becomes_zero_or_infinite(size):
    records = Records(1)
    records.add(0, 1, {("a", "x"): torch.tensor(size, dtype=torch.float64), ("a", "y"): torch.tensor(1.0)})
    records.flush()
    with np.errstate(over="ignore", under="ignore"):
        assert records.column(("a", "x"))[0, 0] == np.float32(size)
    assert records.column(("a", "y")).tolist() == [[1.0]]


def test_what_is_added_needs_no_graph_and_keeps_none():
    records, value = Records(1), torch.ones(1, requires_grad=True) * 2
    with torch.no_grad():
        records.add(0, 1, {("a", "x"): value})
    records.flush()
    assert records.column(("a", "x")).tolist() == [[2.0]]


# --- runs that last, and other processes' records ---


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(records_module, "MOST_RECORDS", 400)
    return 400


def test_a_run_that_lasts_forever_is_thinned(short):
    records = Records(1)
    for step in range(3000):
        records.add(step, step + 1, {("a", "x"): torch.full((1,), float(step))}, {"a": (step, step)})
        assert len(records) <= short + MOST_ROWS
    records.flush()
    assert records.steps == sorted(set(records.steps))
    assert records.steps[:KEPT_AT_ENDS] == list(range(KEPT_AT_ENDS))
    assert records.steps[-KEPT_AT_ENDS:] == list(range(3000 - KEPT_AT_ENDS, 3000))
    assert records.samples == [step + 1 for step in records.steps]
    assert records.column(("a", "x"))[:, 0].tolist() == records.steps
    assert records.counts("a")[:, 0].tolist() == records.steps


@pytest.mark.parametrize("count", [500, 1000, 3000, 9000])
def test_a_long_run_is_thinned_evenly(short, count):
    records = Records(1)
    for step in range(count):
        records.add(step, 1, {("a", "x"): torch.zeros(1)})
    records.flush()
    between = [step for step in records.steps if KEPT_AT_ENDS <= step < count - 2 * MOST_ROWS - KEPT_AT_ENDS]
    gaps = np.diff(between)
    assert gaps.min() >= gaps.max() / 2 or gaps.max() <= 2 * (count / short)
    assert gaps.max() <= 8 * count / short
    assert len(records) > short / 3


def test_records_of_many_units_are_thinned_by_their_bytes(monkeypatch):
    monkeypatch.setattr(records_module, "HOST_BYTES", 4 * 1000 * 300)
    records = Records(1)
    for step in range(1000):
        records.add(step, 1, {("a", "x"): torch.full((1, 1000), float(step))})
    records.flush()
    assert len(records) <= 300 + MOST_ROWS
    assert records.column(("a", "x"), 1000)[:, 0, 0].tolist() == records.steps


def test_short_runs_are_kept_whole(short):
    records = filled(short)
    assert records.steps == list(range(0, 2 * short, 2))


def test_another_process_sends_what_it_has_flushed_since():
    sender, receiver = Records(2), Records(2)
    sent = 0
    for step in range(200):
        sender.add(step, 3, found(step, extra=step % 5 == 0), {"a": (step, step)})
        if step % 30 == 29:
            sender.flush()
            receiver.extend(sender.since(sent))
            sent = sender.segment_count
            assert len(receiver) == step + 1
    sender.flush()
    receiver.extend(sender.since(sent))
    assert (receiver.steps, receiver.samples) == (sender.steps, sender.samples)
    for key, width in ((("a", "x"), 3), (("a", "y"), None), (("b", "x"), None)):
        np.testing.assert_array_equal(receiver.column(key, width), sender.column(key, width))
    np.testing.assert_array_equal(receiver.counts("a"), sender.counts("a"))
    assert sender.since(sender.segment_count) == []
