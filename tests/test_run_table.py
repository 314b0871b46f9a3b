"""Rows of runs: mean and standard error, choosing rows by a factor."""

import math
import statistics

import made_sweeps as made
import pytest

from gradscope.errors import TraceError
from gradscope.run_table import RunRow, RunTable, of_result
from gradscope.sweep_results import sweep_result
from gradscope.table_files import read_table


def test_mean_and_standard_error_are_those_of_the_distinct_runs():
    values = (0.9, 0.8, 0.97)
    row = RunRow({}, values, named=9)
    assert row.mean == pytest.approx(statistics.fmean(values))
    assert row.std_err == pytest.approx(statistics.stdev(values) / math.sqrt(3))


def test_a_single_run_has_no_standard_error():
    assert RunRow({}, (0.9,), 1).std_err is None
    assert math.isnan(RunRow({}, (), 0).mean)


def table():
    rows = tuple(RunRow(f, (0.9,), 1) for f in made.grid(norm=["none", "batchnorm-last"], lr=["0.01", "0.1"]))
    return RunTable("t.csv", rows)


def test_rows_are_chosen_by_a_factor_which_then_is_none():
    chosen = table().where({"norm": "none", "lr": "1e-2"}, "--where")
    assert [row.factors for row in chosen.rows] == [{}]
    assert table().where({}, "--where") == table()


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"momentum": "1"}, r"t\.csv: --where-a momentum=1: expected one of its factors \(norm, lr\)"),
        ({"norm": "x"}, r"t\.csv: --where-a norm=x: expected one of its values \(none, batchnorm-last\)"),
    ],
)
def test_what_is_not_there_cannot_be_chosen(wanted, message):
    with pytest.raises(TraceError, match=message):
        table().where(wanted, "--where-a")


def test_a_sweep_brings_its_chance_and_what_is_missing():
    cells = [made.cell({"lr": lr}, 2) for lr in "12"]
    found = of_result(sweep_result(cells, [[made.run(1), made.collapsed_run(2)], []]), "s")
    assert (found.chance, found.notes) == (0.1, ("2 of its networks are not trained yet",))
    assert [(row.values, row.collapsed) for row in found.rows] == [((0.97, 0.1), 1), ((), None)]


@pytest.mark.parametrize(
    ("name", "message"), [("none", "found nothing there"), ("", "expected a sweep's folder with results.json")]
)
def test_places_without_a_table_are_one_line(tmp_path, name, message):
    with pytest.raises(TraceError, match=message):
        read_table(tmp_path / name)
