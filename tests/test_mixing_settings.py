"""Which stacks of a setting may be compared: those that are trained at all of its learning rates, in all seeds."""

import made_sweeps as made

from gradscope.mixing_settings import settings_of
from gradscope.sweep_results import sweep_result


def settings(factors, untrained=(), seeds=3):
    """The settings of a sweep of which some cells, by place, lack a seed."""
    runs = [[made.run(seed, 0.1 * i + 0.01 * seed) for seed in range(1, seeds + 1)] for i in range(len(factors))]
    for i in untrained:
        runs[i].pop()
    return settings_of(sweep_result([made.cell(of_cell, seeds) for of_cell in factors], runs).rows)


def test_a_stack_has_its_scores_by_rate_and_seed():
    (found,) = settings(made.grid(act1=["relu", "tanh"], lr=["1", "2"]))
    assert found.stacks == ((("relu",),), (("tanh",),))
    assert found.scores.round(2).tolist() == [
        [[0.01, 0.02, 0.03], [0.11, 0.12, 0.13]],
        [[0.21, 0.22, 0.23], [0.31, 0.32, 0.33]],
    ]


def test_a_stack_that_lacks_a_rate_is_left_out_and_counted():
    (found,) = settings(made.grid(act1=["relu", "tanh", "selu"], lr=["1", "2"]), untrained=[2])
    assert ([stack[0][0] for stack in found.stacks], found.left_out) == (["relu", "selu"], 1)
    (found,) = settings(made.grid(act1=["relu", "tanh", "selu"], lr=["1", "2"])[1:])
    assert ([stack[0][0] for stack in found.stacks], found.left_out) == (["tanh", "selu"], 1)


def test_other_factors_part_settings_each_with_the_rates_that_it_has():
    cells = [
        *made.grid(act1=["relu", "tanh"], norm=["a"], lr=["1", "2"]),
        *made.grid(act1=["relu", "tanh"], norm=["b"], lr=["3"]),
    ]
    found = settings(cells)
    assert [(dict(setting.factors), setting.scores.shape) for setting in found] == [
        ({"norm": "a"}, (2, 2, 3)),
        ({"norm": "b"}, (2, 1, 3)),
    ]


def test_linear_stacks_are_none():
    (found,) = settings(made.grid(act1=["relu", "none"], act2=["none", "tanh"]))
    assert len(found.stacks) == 3


def test_sweeps_of_one_seed_or_without_activations_have_none():
    assert settings(made.grid(act1=["relu", "tanh"]), seeds=1) == []
    assert settings(made.grid(lr=["1", "2"])) == []
