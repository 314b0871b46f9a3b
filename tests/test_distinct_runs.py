"""Which columns repeat: whole copies, copies in some rows, ties that are none, and runs that failed alike."""

import numpy as np
import pytest

from gradscope.distinct_runs import distinct_runs

AT_CHANCE = 0.1005


def drawn(rows, columns, std, decimals=4):
    return np.round(0.97 + std * np.random.default_rng(3).normal(size=(rows, columns)), decimals)


def test_whole_copies_count_once():
    own = drawn(64, 5, 0.0005)
    rows = np.concatenate([own[:, :4], own[:, :4], own[:, 4:]], axis=1).tolist()
    assert distinct_runs(rows, AT_CHANCE) == [[0, 1, 2, 3, 8]] * 64


@pytest.mark.parametrize("std", [0.0005, 0.005])
def test_ties_of_honest_runs_are_none(std):
    rows = drawn(64, 5, std).tolist()
    assert std > 0.001 or any(len(set(row)) < 5 for row in rows)
    assert distinct_runs(rows, AT_CHANCE) == [[0, 1, 2, 3, 4]] * 64


def test_copies_in_some_rows_count_once_there():
    rows = drawn(64, 3, 0.0005)
    rows[:20, 2] = rows[:20, 0]
    found = distinct_runs(rows.tolist(), AT_CHANCE)
    assert found[:20] == [[0, 1]] * 20
    assert all(of_row == [0, 1, 2] for of_row, row in zip(found[20:], rows[20:], strict=True) if row[0] != row[2])


def test_runs_that_failed_alike_are_runs_of_their_own():
    rows = drawn(20, 3, 0.001)
    rows[:8] = 0.1
    assert distinct_runs(rows.tolist(), AT_CHANCE) == [[0, 1, 2]] * 20


def test_copies_of_a_failed_run_count_once():
    own = drawn(20, 2, 0.001)
    own[3] = 0.1
    assert distinct_runs(np.concatenate([own, own], axis=1).tolist(), AT_CHANCE) == [[0, 1]] * 20


def test_runs_that_are_not_there_do_not_count():
    assert distinct_runs([[0.9, float("nan")], [0.8, 0.7]], AT_CHANCE) == [[0], [0, 1]]
    assert distinct_runs([], AT_CHANCE) == []
