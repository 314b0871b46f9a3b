"""A sweep's runs as arrays: which factors count, what a layer of two activations is."""

import made_sweeps as made
import numpy as np
import pytest

from gradscope.observations import families, is_pure, observations
from gradscope.sweep_results import sweep_result


def test_each_run_is_an_observation_with_its_levels():
    result = made.made(made.grid(act1=["relu", "tanh"], lr=["0.1"], norm=["none", "bn"]), lambda f, seed, _: seed / 10, seeds=2)
    seen = observations(result.rows)
    assert seen.names == ("act1", "norm")
    assert seen.codes.tolist() == [[0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 0, 0, 1, 1]]
    assert (seen.cells.tolist(), seen.seeds.tolist()) == ([0, 0, 1, 1, 2, 2, 3, 3], [1, 2] * 4)
    assert seen.values.tolist() == [0.1, 0.2] * 4
    assert seen.labels == (("relu", "tanh"), ("none", "bn"))


def test_the_two_activations_of_a_layer_are_one_factor():
    factors = [{"act1a": "relu", "act1b": "tanh"}, {"act1a": "tanh", "act1b": "relu"}, {"act1a": "relu", "act1b": "relu"}]
    seen = observations(made.made(factors, lambda *_: 0.5, seeds=1).rows)
    assert (seen.names, seen.labels) == (("act1",), (("relu+tanh", "relu"),))
    assert seen.codes.tolist() == [[0, 0, 1]]


@pytest.mark.parametrize("text", ["relu+tanh", "relu:1+tanh:3", "tanh:0.75+relu:0.25", "relu+tanh+selu"])
def test_blocks_that_stand_in_one_column_are_seen(text):
    seen = observations(made.made([{"act1": "relu"}, {"act1": text}], lambda *_: 0.5, seeds=1).rows)
    assert [is_pure(layers) for layers in seen.layers] == [True, False]


def test_cells_without_a_run_are_none_and_failed_runs_are_bounded():
    cells = [made.cell({"lr": lr}, 2) for lr in "123"]
    runs = [[made.run(1, 0.9)], [], [made.run(1, float("nan")), made.run(2, -3.0)]]
    seen = observations(sweep_result(cells, runs).rows)
    assert seen.values.tolist() == [0.9, made.CHANCE, 0.0]
    assert seen.cells.tolist() == [0, 1, 1]
    assert seen.labels == (("1", "3"),)


def test_a_sweep_without_runs_has_no_observations():
    seen = observations(sweep_result([made.cell({"lr": "1"})], [[]]).rows)
    assert (seen.values.shape, seen.names) == ((0,), ())
    assert seen.codes.dtype == np.int64


@pytest.mark.parametrize(
    ("layers", "pure", "of"),
    [
        ((("relu",), ("relu",), ("none",)), True, ("relu-like",)),
        ((("relu", "tanh"), ("relu",)), False, ("relu-like", "sigmoid-like")),
        ((("softplus",),), True, ("softplus",)),
        ((("relu:1", "tanh:3"),), False, ("relu-like", "sigmoid-like")),
        ((("relu:1", "relu:3"), ("relu",)), True, ("relu-like",)),
        ((("none",),), False, ()),
    ],
)
def test_purity_and_families(layers, pure, of):
    assert is_pure(layers) is pure
    assert families(layers) == of
