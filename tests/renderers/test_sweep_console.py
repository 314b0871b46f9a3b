"""A sweep on the console: what fits, which rows are shown, how unfinished and sick ones look."""

import functools
import io
from pathlib import Path

import made_sweeps as made
import pytest
from rich.console import Console

from gradscope.renderers.console import stdout_console
from gradscope.renderers.sweep_console import print_sweep
from gradscope.sweep_results import sweep_result

PAIRS = {f"act{i}{side}": ["relu", "sigmoid"] for i in (1, 2, 3) for side in "ab"}


def shown(result, *, width=80, folder=None, encoding="utf-8", color=False):
    stream = io.TextIOWrapper(io.BytesIO(), encoding)
    console = Console(file=stream, width=width, force_terminal=color, color_system="standard" if color else None)
    print_sweep(result, console=console, folder=folder)
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)


def test_few_rows_are_all_shown_best_first():
    text = shown(made.made(made.grid(lr=[0.1, 0.2, 0.3]), lambda factors, *_: 1 - float(factors["lr"])))
    rows = [line.split()[:2] for line in text.splitlines() if line.startswith("  0.")]
    assert rows == [["0.1", "0.9000"], ["0.2", "0.8000"], ["0.3", "0.7000"]]


def test_of_many_rows_both_ends_are_shown_and_where_the_rest_is():
    result = made.published()
    text = shown(result, folder=Path("runs/sweeps/made"))
    best, worst = text.split("BEST 10 of 64 cells")[1].split("WORST 10")
    assert "sigmoid relu " not in best
    assert "sigmoid sigmoid relu" in worst
    assert text.count("0.9") >= 15
    assert text.endswith("All 64 cells: runs/sweeps/made/results.csv\n")


def test_collapsed_cells_are_counted():
    text = shown(made.made(made.grid(lr=[1, 2, 3]), lambda factors, seed, _: 0.1 if int(factors["lr"]) >= seed else 0.9))
    assert "COLLAPSED  3 cells in at least one seed, 0 in every seed" in text
    assert "3/5 output-collapse at 3.relu 3/5, step 10 +1" in text


def test_short_titles_are_explained_where_they_stand():
    text = " ".join(shown(made.made(made.grid(lr=[1, 2]), lambda factors, seed, _: 0.1 if seed == 1 else 0.9, seeds=2)).split())
    assert "output-collapse at 3.relu 1/2, step 10 +1" in text
    assert "coll. 1/3: 1 of 3 trained seeds collapsed; found: the worst error" in text
    assert "an interval of the mean takes three seeds" in text
    assert " 95 % " not in text.split("FACTORS")[0]
    healthy = shown(made.made(made.grid(lr=[1, 2]), lambda *_: 0.9))
    assert "the worst error" not in healthy
    assert "takes three seeds" not in healthy


@pytest.mark.parametrize("width", [60, 80])
def test_no_word_is_broken(width):
    cells = made.product_grid(2, ["relu", "tanh"], loss=["cross-entropy", "mse"], lr=["0.1", "0.01"])
    text = shown(made.made(cells, made.published_like, seeds=3), width=width)
    words = {word.strip(",.()") for word in text.split()}
    assert {"cross-entropy", "families"} <= words
    assert not words & {"cross-entrop", "entropy", "familie", "cross-e"}


def test_zero_columns_are_no_page_of_no_width(monkeypatch):
    monkeypatch.setenv("COLUMNS", "0")
    assert stdout_console().width == 80


def test_an_unfinished_sweep_says_how_to_go_on():
    cells = [made.cell({"lr": lr}, 3) for lr in "123"]
    text = shown(sweep_result(cells, [[made.run(1), made.run(2), made.run(3)], [made.run(2)], []]))
    assert "3 cells, 4 networks trained" in text
    assert "UNFINISHED  5 of 9 networks are missing; the same command goes on" in text


def test_a_sweep_without_a_network_has_no_table():
    text = shown(sweep_result([made.cell({"lr": "1"})], [[]]))
    assert "0 networks trained" in text
    assert "CELLS" not in text


@functools.cache
def wide_sweep():
    return made.made(made.grid(**PAIRS, optimizer=["sgd", "rmsprop"]), made.published_like, seeds=3)


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_no_line_is_wider_than_the_page(width, encoding):
    result = wide_sweep()
    text = shown(result, width=width, encoding=encoding)
    assert max(map(len, text.splitlines())) <= width
    assert "sigmoid" in text.replace("\n", "").replace(" ", "")


def test_a_factor_with_one_value_is_no_column():
    result = made.made(made.grid(lr=[0.1, 0.2], momentum=[0.5]), lambda *_: 0.9)
    assert "momentum" not in shown(result)


def test_colour_marks_the_sick():
    result = made.made(made.grid(lr=[1, 2]), lambda factors, *_: 0.1 if factors["lr"] == "2" else 0.9)
    healthy, sick = [line for line in shown(result, color=True).splitlines() if "0.9000" in line or "0.1000" in line]
    assert "\x1b[31m" in sick
    assert "\x1b[31m" not in healthy


def test_cells_without_a_finite_metric_stand_at_chance():
    result = made.made(made.grid(lr=[1, 2]), lambda factors, *_: float("nan") if factors["lr"] == "1" else 0.2)
    rows = [line.split()[:2] for line in shown(result).splitlines() if line.startswith(("  1 ", "  2 "))]
    assert rows == [["2", "0.2000"], ["1", "0.1000"]]
