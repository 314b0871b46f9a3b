"""Means over the seeds, and how far they may move."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradscope.baseline_numbers import (
    FACTOR_CAP,
    FACTOR_FLOOR,
    SHARE_CAP,
    SHARE_FLOOR,
    Measured,
    at_end,
    at_start,
    mean_of,
    measure,
    stable_names,
    student,
)  # fmt: skip
from gradscope.rules.examples import example

VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=9)


def one(name, values, resolution=0.0):
    return measure({}, {"1.relu": {name: values}}, {("1.relu", name): resolution})[1]["1.relu"][name]


def named(*names):
    trace = example(("shuts",) * len(names))
    return [replace(trace, sites=tuple(replace(site, name=name) for site, name in zip(trace.sites, names, strict=True)))]


def test_seeds_may_find_the_sites_in_an_order_of_their_own():
    trace = example(site={("closed_frac", 0): 0.9, ("common_mode", 0): 3.0})
    swapped = replace(
        trace,
        sites=(trace.sites[1], trace.sites[0], *trace.sites[2:]),
        unit_statistics={name: (rows[1], rows[0], *rows[2:]) for name, rows in trace.unit_statistics.items()},
    )
    for found, statistic, values in ((at_end, "closed_frac", [0.9, 0.9]), (at_start, "common_mode", [3.0, 3.0])):
        assert found([trace, swapped])["1.shuts"][statistic] == pytest.approx(values)


@pytest.mark.parametrize(
    ("freedom", "level", "value"), [(1, 0.01, 63.657), (2, 0.001, 31.599), (5, 0.05, 2.571), (30, 0.001, 3.646)]
)
def test_students_quantiles_are_those_of_the_tables(freedom, level, value):
    assert student(freedom, level) == pytest.approx(value, abs=6e-4)


def test_equal_seeds_have_the_floor():
    assert one("closed_frac", [0.5] * 5) == Measured(value=0.5, tolerance=SHARE_FLOOR)
    assert one("remaining", [0.1] * 5) == Measured(value=0.1, factor=FACTOR_FLOOR)


def test_no_tolerance_is_below_one_unit():
    assert one("closed_frac", [0.5] * 5, resolution=0.1).tolerance == 0.1


def test_the_spread_over_the_seeds_widens_it():
    narrow, wide = (one("closed_frac", [0.4, 0.45, 0.35, 0.42, width]).tolerance for width in (0.39, 0.5))
    assert SHARE_FLOOR < narrow < wide < SHARE_CAP


def test_a_single_seed_has_the_cap_and_distant_ones_three_times_their_range():
    assert one("closed_frac", [0.4]).tolerance == SHARE_CAP
    assert one("remaining", [0.4]).factor == pytest.approx(FACTOR_CAP, rel=0.01)
    assert one("closed_frac", [0.0, 0.2]).tolerance == pytest.approx(0.6)


@given(VALUES)
def test_a_mean_is_within_its_own_tolerance(values):
    measured = one("closed_frac", values)
    assert not measured.is_left_by(mean_of("closed_frac", values))


def test_other_seeds_of_the_same_network_leave_it_seldom():
    """One hundred baselines of five seeds each, twenty numbers in each: one false alarm is the level, five would be odd."""
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(100):
        old, new = rng.normal(0.5, 0.05, (2, 20, 5))
        numbers = measure({}, {"a": {f"{i}": [10**v for v in values] for i, values in enumerate(old)}}, {})[1]["a"]
        alarms += any(numbers[f"{i}"].is_left_by(mean_of("", [10**v for v in values])) for i, values in enumerate(new))
    assert alarms < 5


@pytest.mark.parametrize(
    ("was", "now", "left"),
    [
        (Measured(value=0.02, tolerance=0.1), 0.41, True),
        (Measured(value=0.02, tolerance=0.1), 0.12, False),
        (Measured(value=0.1, factor=2.0), 0.04, True),
        (Measured(value=0.1, factor=2.0), 0.06, False),
        (Measured(value=0.0, factor=2.0), 1e-9, False),
        (Measured(value=math.nan, factor=2.0), math.nan, False),
        (Measured(value=0.1, factor=2.0), math.nan, True),
        (Measured(value=math.nan, tolerance=0.1), 0.1, True),
    ],
)
def test_what_leaves_a_tolerance(was, now, left):
    assert was.is_left_by(now) is left


def test_ratios_have_a_geometric_mean_and_shares_an_arithmetic_one():
    assert mean_of("remaining", [1e-3, 1e-1]) == pytest.approx(1e-2)
    assert mean_of("closed_frac", [0.0, 1.0]) == 0.5


def test_a_number_that_most_seeds_lack_is_none():
    assert math.isnan(mean_of("remaining", [0.1, math.nan, math.inf]))
    assert mean_of("remaining", [0.1, 0.1, math.nan]) == pytest.approx(0.1)


def test_names_do_not_depend_on_lines_of_code():
    assert stable_names(named("block.relu@net.py:31", "relu@net.py:40#2")) == ["block.relu@net.py", "relu@net.py"]
    assert stable_names(named("relu@net.py:20", "relu@net.py:21", "relu@net.py:30")) == [
        "relu@net.py",
        "relu@net.py~2",
        "relu@net.py~3",
    ]
    assert stable_names(named("1.relu", "block.act#2")) == ["1.relu", "block.act#2"]


def test_what_is_measured_where():
    traces = [example(("shuts", "saturates", "smooth"))] * 2
    start, end = at_start(traces), at_end(traces)
    assert {site: set(found) for site, found in start.items()} == {
        "1.shuts": {"closed_frac", "remaining", "common_mode"},
        "2.saturates": {"saturated_frac", "remaining"},
        "3.smooth": {"remaining"},
    }
    assert {site: set(found) for site, found in end.items()} == {
        "1.shuts": {"closed_frac", "remaining"},
        "2.saturates": {"saturated_frac", "remaining"},
        "3.smooth": {"remaining"},
        "network": {"accuracy"},
    }
    assert end["network"]["accuracy"] == pytest.approx([0.9, 0.9])


def test_a_training_that_was_not_seen_at_step_0_has_no_start():
    assert at_start([example(), example(first_step=5)]) == {}
