"""Factors and mixing on the console: within the page, bold what is certain, no markup from names."""

import io

import made_sweeps as made
import pytest
from rich.console import Console

from gradscope.renderers.sweep_console import print_sweep

SHAPES = {"hidden": ["64", "32"], "optimizer": ["sgd", "adam"], "lr": ["0.1", "0.01"]}


def shown(value, width=80, **options):
    stream = io.StringIO()
    result = made.made(made.product_grid(2, ["relu", "tanh", "sigmoid"], **SHAPES), value)
    print_sweep(result, console=Console(file=stream, width=width, **options))
    return stream.getvalue()


def by_rate(factors, seed, rng):
    return 0.9 - 0.1 * (factors["lr"] == "0.1") + 0.01 * rng.normal()


@pytest.mark.parametrize("width", [60, 80, 160])
def test_no_line_is_wider_than_the_page(width):
    text = shown(by_rate, width)
    assert max(map(len, text.splitlines())) <= width
    assert "DOES MIXING ACTIVATIONS HELP?" in text


def test_the_largest_share_stands_first_and_what_is_left_last():
    lines = shown(by_rate).split("FACTORS, share of the variance")[1].splitlines()
    assert lines[2].split()[:3] == ["lr", next(part for part in lines[2].split() if part[0].isdigit()), "%"]
    starts = [
        next(i for i, line in enumerate(lines) if line.startswith(f"  {name}")) for name in ("(same)", "pairs of", "seeds")
    ]
    assert starts == sorted(starts)


def test_what_is_certain_is_bold():
    text = shown(by_rate, force_terminal=True, color_system="standard")
    line = next(line for line in text.split("FACTORS")[1].splitlines() if "lr" in line and "%" in line)
    assert "\x1b[1m" in line


def test_the_answer_and_each_setting_are_shown():
    text = " ".join(shown(by_rate).split())
    assert "Mixing activations has no effect here" in text
    assert "hidden 64, optimizer sgd 6/3" in text


def test_interactions_that_cannot_be_told_apart_are_one_line():
    cells = [dict(zip(("act1", "act2", "act3"), f"{i:03d}", strict=True)) for i in range(0, 1000, 13)]
    stream = io.StringIO()
    print_sweep(made.made(cells, by_noise, seeds=2), console=Console(file=stream, width=100))
    lines = [line.split() for line in stream.getvalue().split("FACTORS")[1].splitlines()]
    assert [line[0] for line in lines if line and line[0] in ("pairs", "more", "interactions")] == ["interactions"]


@pytest.mark.parametrize(
    ("factors", "seeds", "expected"),
    [
        (made.grid(lr=range(4)), 1, []),
        (made.grid(lr=range(4)), 3, ["seeds"]),
        (made.grid(lr=range(4), batch_size=range(3)), 3, ["pairs of factors", "seeds"]),
        (made.grid(lr=range(4), batch_size=range(3), hidden=range(2)), 1, ["pairs of factors", "more than two"]),
    ],
)
def test_only_what_there_can_be_is_left_for_others(factors, seeds, expected):
    stream = io.StringIO()
    print_sweep(made.made(factors, by_noise, seeds=seeds), console=Console(file=stream, width=100))
    text = stream.getvalue().split("FACTORS")[1]
    names = ("pairs of factors", "more than two", "interactions", "seeds")
    assert [name for name in names if f"\n  {name} " in text] == expected


def by_noise(factors, seed, rng):
    return 0.5 + 0.1 * rng.normal()
