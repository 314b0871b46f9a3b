"""A comparison on the console: widths, what is named, what agrees in every row."""

import io
from dataclasses import replace

import made_sweeps as made
import pytest
from rich.console import Console

from gradscope.comparing import compare
from gradscope.renderers.compare_console import print_comparison
from gradscope.run_table import RunTable, of_result


def tables(value=made.published_like):
    one = made.published()
    other = one if value is made.published_like else made.made(made.product_grid(), value, seeds=3)
    return of_result(one, "runs/sweeps/one"), of_result(other, "published.csv")


def shown(found, width=80, **options):
    stream = io.StringIO()
    print_comparison(found, console=Console(file=stream, width=width), **options)
    return stream.getvalue()


@pytest.mark.parametrize("width", [60, 80, 200])
def test_no_line_is_wider_than_the_page(width):
    text = shown(compare(*tables(lambda *_: 0.5)), width)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    assert "ROWS THAT DO NOT AGREE" in text


def test_where_every_row_agrees_no_row_is_shown():
    text = shown(compare(*tables()))
    assert text.startswith("AGREE   64 of 64 rows")
    assert "ROWS" not in text


def test_the_rows_at_chance_are_named():
    dead = compare(*tables(lambda factors, *_: 0.1 if factors["act3"] == "selu" and factors["act1"] == "relu" else 0.5))
    text = " ".join(shown(dead).split())
    assert "rows at 10 %: 0 in A, 4 in B, 4 in one of them only: (relu relu selu), (relu tanh selu)" in text


def test_tables_of_different_data_are_told():
    one, other = tables()
    text = " ".join(shown(compare(one, replace(other, chance=0.125))).split())
    assert "chance is 10 % in A, 12.5 % in B: they are of different data" in text
    assert "12.5 % (B)" in text


def test_a_narrow_page_leaves_out_columns_and_breaks_no_word():
    one = of_result(made.made(made.product_grid(2, loss=["cross-entropy", "mse"], lr=["0.1", "0.01"]), lambda *_: 0.9), "a")
    other = replace(one, rows=tuple(replace(row, values=(0.5,) * 5) for row in one.rows))
    narrow, wide = (shown(compare(one, other), width) for width in (60, 120))
    assert {"activations", "cross-entropy"} <= set(narrow.split())
    assert "no room for 95 % and coll. A, B" in narrow
    assert "no room" not in wide
    assert "may hold 0" in " ".join(wide.split())


def test_collapsed_runs_of_sweeps_stand_beside():
    text = shown(compare(*tables()), only_different=False)
    line = next(line for line in text.splitlines() if line.split()[:3] == ["sigmoid", "sigmoid", "relu"])
    assert line.split()[-2:] == ["4/5", "4/5"]


def test_a_table_of_single_runs_has_neither_intervals_nor_collapse():
    one, other = tables()
    single = RunTable("p", tuple(type(row)(row.factors, row.values[:1], 1) for row in other.rows))
    text = shown(compare(one, single), only_different=False)
    assert "95 %" not in text
    assert "all rows have a single run on a side, which is taken to spread as the other side's runs" in " ".join(text.split())


def test_where_no_row_is_finished_it_says_so():
    one, other = tables()
    empty = RunTable("p", tuple(type(row)(row.factors, (), 0) for row in other.rows))
    assert "no row is finished in both" in shown(compare(one, empty))
