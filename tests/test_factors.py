"""The analysis of a sweep: planted effects are found, none are invented, the assumptions are said in words."""

import made_sweeps as made
import numpy as np
import pytest

from gradscope.factors import factors_of
from gradscope.sweep_results import sweep_result


def analysed(value, seeds=5, factors=None):
    return made.made(factors or made.product_grid(2, lr=["0.1", "0.01"]), value, seeds).factors


def effects(found):
    return {effect.name: effect for effect in found.effects}


def test_a_planted_effect_explains_most_and_others_nothing():
    found = analysed(lambda factors, seed, rng: 0.9 - 0.1 * (factors["lr"] == "0.1") + 0.01 * rng.normal())
    assert found.effects[0].name == "lr"
    by_name = effects(found)
    assert by_name["lr"].eta_squared > 0.9
    assert (by_name["lr"].levels[0].value, by_name["lr"].levels[0].runs) == ("0.01", 80)
    assert by_name["lr"].p_holm < 0.01
    assert all(by_name[name].p_holm > 0.05 for name in ("act1", "act2", "same", "families"))
    assert (found.cells, found.runs, found.balanced) == (32, 160, True)


def test_the_shares_of_a_full_grid_sum_to_one():
    found = analysed(lambda factors, seed, rng: rng.random())
    own = sum(effect.eta_squared for effect in found.effects if not effect.derived)
    assert own + found.pairs + found.higher + found.seeds == pytest.approx(1.0)


def test_an_interaction_counts_for_the_pairs():
    found = analysed(lambda factors, seed, rng: 0.1 if (factors["act1"], factors["act2"]) == ("sigmoid", "relu") else 0.95)
    assert found.pairs > 0.5
    assert found.seeds == pytest.approx(0.0, abs=1e-9)


def test_ranks_see_through_a_few_collapsed_runs():
    def value(factors, seed, rng):
        return 0.1 if rng.random() < 0.05 else 0.95 - 0.004 * (factors["lr"] == "0.1") + 0.0005 * rng.normal()

    lr = effects(analysed(value, seeds=9))["lr"]
    assert lr.eta_squared < 0.1
    assert lr.rank_eta_squared > 0.4
    assert lr.p_holm < 0.05 or lr.eta_squared < lr.rank_eta_squared


def test_derived_factors_stand_last_and_in_words():
    found = analysed(lambda factors, seed, rng: 0.9 + 0.05 * (factors["act1"] == factors["act2"]) + 0.001 * rng.normal())
    same = found.effects[-2]
    assert [effect.name for effect in found.effects[-2:]] == ["same", "families"]
    assert (same.derived, same.levels[0].value) == (True, "one activation")
    assert same.p_holm < 0.05


def test_what_a_label_of_stacks_explains_is_no_more_than_luck_where_stacks_differ_anyhow():
    """Every stack has a level of its own; the label is not to blame, though thousands of runs show it."""
    rng = np.random.default_rng(1)
    levels = {}
    p_values = []
    for _ in range(12):
        levels.clear()
        levels.update({(a, b): rng.normal() for a in made.ACTIVATIONS for b in made.ACTIVATIONS})
        found = analysed(lambda f, seed, r: 0.5 + 0.05 * levels[f["act1"], f["act2"]], seeds=2, factors=made.product_grid(2))
        p_values.append(effects(found)["same"].p_value)
    assert sum(p <= 0.05 for p in p_values) <= 3


def test_a_layer_that_some_stacks_lack_is_a_level_with_a_name():
    cells = [*made.product_grid(2, ["relu", "tanh"]), *made.product_grid(3, ["relu", "tanh"])]
    found = analysed(lambda factors, seed, rng: 0.9 + 0.01 * rng.normal(), factors=cells)
    assert {level.value for level in effects(found)["act3"].levels} == {"absent", "relu", "tanh"}


def test_of_single_runs_the_share_of_seeds_is_unknown():
    assert np.isnan(analysed(lambda factors, seed, rng: rng.random(), seeds=1).seeds)


def test_an_unfinished_grid_is_analysed_and_says_so():
    cells = [made.cell(factors, 3) for factors in made.product_grid(2)]
    rng = np.random.default_rng(2)
    runs = [[made.run(seed, 0.9 + 0.01 * rng.normal()) for seed in range(1, 1 + rng.integers(4))] for _ in cells]
    found = factors_of(sweep_result(cells, runs).rows)
    assert not found.balanced
    assert "the grid is not full" in found.assumptions[0]


@pytest.mark.parametrize("factors", [[{"lr": "1"}], [{"lr": "1"}, {"lr": "1"}]])
def test_without_a_factor_that_varies_there_is_no_analysis(factors):
    assert made.made(factors, lambda *_: 0.5).factors is None


def test_metrics_that_cannot_be_compared_are_not_analysed():
    cells = [made.cell({"data": data}, 1) for data in "ab"]
    assert sweep_result(cells, [[made.run(1)], [made.run(1, metric="r2")]]).factors is None
