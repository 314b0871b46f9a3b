"""What an analysis of variance rests on: said where it holds, denied where it does not, and nothing where none can tell."""

import made_sweeps as made
import pytest


def said(value, *, seeds=5, factors=None):
    result = made.made(factors or made.product_grid(2, lr=["0.1", "0.2"]), value, seeds)
    return " / ".join(result.factors.assumptions)


def smooth(factors, seed, rng):
    return 0.9 + 0.01 * rng.normal()


def test_normal_residuals_of_equal_spread_are_told():
    text = said(smooth)
    assert "they look normal" in text
    assert "about equal" in text


def test_rare_collapses_are_neither():
    text = said(lambda factors, seed, rng: 0.1 if rng.random() < 0.05 else 0.9 + 0.001 * rng.normal())
    assert "they are not normal" in text
    assert "unequal" in text


@pytest.mark.parametrize("seeds", [3, 4, 5, 8])
@pytest.mark.parametrize("often", [0.1, 0.35, 0.5])
def test_two_values_never_look_normal(seeds, often):
    text = said(lambda factors, seed, rng: 0.1 if rng.random() < often else 0.97 + 0.001 * rng.normal(), seeds=seeds)
    assert "they are not normal" in text


def test_of_two_seeds_nothing_is_said_about_their_distribution():
    text = said(lambda factors, seed, rng: 0.1 if rng.random() < 0.35 else 0.97, seeds=2)
    assert "normal" not in text
    assert "seeds of a cell spread by" in text


def test_single_runs_and_equal_ones_are_told():
    assert "a single run" in said(lambda factors, seed, rng: rng.random(), seeds=1)
    assert "there are no residuals" in said(lambda factors, seed, rng: float(factors["lr"]))


def test_shares_of_factors_that_change_together_are_explained():
    together = [{"act1": "relu", "lr": "0.1"}, {"act1": "tanh", "lr": "0.01"}]
    assert "neither has it in its share" in said(smooth, factors=together)
    assert "neither has it in its share" not in said(smooth)


def test_too_few_stacks_to_label_are_told_instead_of_a_p_value():
    result = made.made(made.grid(act1=["relu", "tanh"], lr=["0.1", "0.2"]), smooth)
    derived = [effect for effect in result.factors.effects if effect.derived]
    assert derived
    assert all(effect.p_value is None for effect in derived)
    assert "no p value for (families): there are fewer than 20 ways" in " / ".join(result.factors.assumptions)


def test_p_values_are_spoken_of_only_where_there_are_some():
    """Of cells that differ in two factors at once, and of runs whose stacks all have one activation, none can be permuted."""
    assert "p values are by permutation within runs that agree in all else" in said(smooth)
    assert "those in brackets by permutation of whole stacks" in said(smooth)
    apart = [{"lr": str(i), "batch_size": str(i)} for i in range(4)]
    assert "permutation" not in said(smooth, factors=apart)
    stacks = [{**stack, "lr": str(i)} for i, stack in enumerate(made.product_grid(2))]
    assert "p values are by permutation of whole stacks" in said(smooth, factors=stacks)
