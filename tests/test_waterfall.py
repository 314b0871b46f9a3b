"""The gradient waterfall: exact per trace, medians over traces, zeros and gaps."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradscope.rules.examples import example
from gradscope.rules.flow import remaining
from gradscope.waterfall import waterfalls

positive = st.floats(0.01, 100, allow_nan=False)
NAN = float("nan")


def with_transmissions(gates, weights, **changes):
    site = {("gate_transmission", i): gate for i, gate in enumerate(gates)}
    site |= {("weight_transmission", i): weight for i, weight in enumerate(weights)}
    return example(site=site, **changes)


@given(st.lists(positive, min_size=3, max_size=3), st.lists(positive, min_size=2, max_size=2))
def test_what_remains_is_the_product_of_the_transmissions(gates, weights):
    trace = with_transmissions(gates, [*weights, 1.0], records=1)
    (found,) = waterfalls([trace])
    assert [stage.name for stage in found.stages] == [
        "3.shuts",
        "2.shuts -> 3.shuts",
        "2.shuts",
        "1.shuts -> 2.shuts",
        "1.shuts",
    ]
    assert [stage.kind for stage in found.stages] == ["gate", "weight", "gate", "weight", "gate"]
    passes = np.array([gates[2], weights[1], gates[1], weights[0], gates[0]], np.float32).astype(float)
    assert [stage.transmission for stage in found.stages] == pytest.approx(passes, rel=1e-3)
    assert [stage.remaining for stage in found.stages] == pytest.approx(np.cumprod(passes), rel=1e-3)
    at_sites = [stage.remaining for stage in found.stages if stage.kind == "gate"]
    assert at_sites == pytest.approx(remaining(trace)[0][::-1], rel=1e-3)  # the rules see the same numbers


def test_behind_a_linear_output_the_last_weights_stand_first():
    (found,) = waterfalls([with_transmissions([0.5] * 3, [0.1, 0.2, 0.3], output=False, records=1)])
    assert (found.stages[0].name, found.stages[0].kind) == ("3.shuts -> output", "weight")
    assert found.stages[0].transmission == pytest.approx(0.3)
    assert found.stages[-1].remaining == pytest.approx(0.3 * 0.5 * 0.2 * 0.5 * 0.1 * 0.5, rel=1e-3)


def test_behind_a_gate_that_lets_nothing_through_nothing_is_left():
    (found,) = waterfalls([with_transmissions([NAN, NAN, 0.0], [NAN, NAN, 1.0], records=1)])
    assert [stage.transmission for stage in found.stages] == [0.0, None, None, None, None]
    assert [stage.remaining for stage in found.stages] == [0.0] * 5


def test_where_no_number_was_had_there_is_none():
    (found,) = waterfalls([with_transmissions([0.5, NAN, 0.5], [0.5, 0.5, 1.0], records=1)])
    assert [stage.remaining for stage in found.stages] == [0.5, 0.25, None, None, None]
    assert [stage.transmission for stage in found.stages] == [0.5, 0.5, None, 0.5, 0.5]


def test_an_infinite_ratio_is_no_number():
    (found,) = waterfalls([with_transmissions([0.5, np.inf, 0.5], [0.5, 0.5, 1.0], records=1)])
    assert found.stages[2].transmission is None
    assert found.stages[4].remaining is None


def measured(left, gates=(0.5, 0.5, 0.5), weights=(1.0, 1.0, 1.0), **changes):
    site = {("remaining", i): value for i, value in enumerate(left)}
    site |= {("gate_transmission", i): value for i, value in enumerate(gates)}
    site |= {("weight_transmission", i): value for i, value in enumerate(weights)}
    (found,) = waterfalls([example(site=site, records=1, **changes)])
    return [stage.remaining for stage in found.stages]


def test_what_was_measured_counts_where_branches_part():
    shut_branch = measured([0.3, 0.0, 0.5], gates=(0.6, 0.0, 0.5), weights=(np.inf, 0.8, 1.0))
    assert shut_branch == [0.5, 0.4, 0.0, 0.5, 0.3]  # 0.5 * 0.8 arrives at the shut gate, 0.3 / 0.6 at the one before
    linear_output = measured([0.3, 0.0, 0.5], gates=(0.6, 0.0, 0.5), weights=(np.inf, 0.8, 1.0), output=False)
    assert linear_output == [1.0, 0.5, 0.4, 0.0, 0.5, 0.3]


def test_a_frozen_part_takes_nothing_from_the_others():
    gone = measured([0.2, NAN, 0.5], gates=(0.5, NAN, 0.5), weights=(NAN, NAN, 1.0))
    assert gone == [0.5, None, None, 0.4, 0.2]


def test_where_nothing_is_left_as_measured_nothing_is_left():
    gone = measured([0.0, 0.0, 0.0], gates=(NAN, NAN, 0.0), weights=(NAN, NAN, 1.0))
    assert gone == [0.0] * 5


@given(st.lists(positive, min_size=3, max_size=3), st.lists(positive, min_size=2, max_size=2))
def test_in_a_chain_measured_and_multiplied_are_the_same(gates, weights):
    product = with_transmissions(gates, [*weights, 1.0], records=1)
    left = {("remaining", i): remaining(product)[0, i] for i in range(3)}
    site = {("gate_transmission", i): g for i, g in enumerate(gates)} | {
        ("weight_transmission", i): w for i, w in enumerate([*weights, 1.0])
    }
    both = [waterfalls([one])[0] for one in (product, example(site=site | left, records=1))]
    assert [s.remaining for s in both[0].stages] == pytest.approx([s.remaining for s in both[1].stages], rel=1e-3)


def test_of_a_step_without_gradients_no_number():
    for left in ({}, {("remaining", i): NAN for i in range(3)}):
        gone = left | {(name, i): NAN for name in ("gate_transmission", "weight_transmission") for i in range(3)}
        (found,) = waterfalls([example(site=gone, records=1)])
        assert {(stage.transmission, stage.remaining) for stage in found.stages} == {(None, None)}


def test_of_a_long_training_some_steps_spread_evenly():
    steps = [found.step for found in waterfalls([example(records=1000)])]
    assert (len(steps), steps[0], steps[-1]) == (100, 0, 999)
    assert set(np.diff(steps)) == {10, 11}


def test_of_several_traces_the_median_of_the_products():
    traces = [
        with_transmissions([1.0, 1.0, gate], [1.0, weight, 1.0], records=1)
        for gate, weight in [(1.0, 8.0), (2.0, 1.0), (8.0, 2.0)]
    ]
    (found,) = waterfalls(traces)
    assert found.stages[0].transmission == 2
    assert found.stages[1].transmission == 2
    assert found.stages[1].remaining == 8  # of 8, 2 and 16: not 2 * 2


def test_a_trace_without_a_number_does_not_count_in_the_median():
    traces = [with_transmissions([1.0, 1.0, gate], [1.0] * 3, records=1) for gate in (NAN, 0.2, 0.4)]
    assert waterfalls(traces)[0].stages[0].transmission == pytest.approx(0.3)


def test_only_steps_that_all_traces_recorded():
    early, late = example(records=5), example(records=3, first_step=3)
    assert [found.step for found in waterfalls([early, late])] == [3, 4]


def test_of_nothing_nothing():
    assert waterfalls([]) == []
    assert waterfalls([example(records=0)]) == []
    assert waterfalls([example(())]) == []


def test_traces_with_other_sites_are_left_out():
    """As where a network builds itself anew for each seed."""
    one = with_transmissions([0.5] * 3, [0.1, 0.2, 1.0], records=1)
    alike = [with_transmissions([0.25] * 3, [0.1, 0.2, 1.0], records=1)] * 2
    other = dataclasses.replace(one, sites=tuple(dataclasses.replace(site, name=f"other.{site.name}") for site in one.sites))
    (found,) = waterfalls([other, *alike])
    assert [stage.name for stage in found.stages][0] == "3.shuts"
    assert found.stages[0].transmission == pytest.approx(0.25)
