"""How the error is spent over the looks, and which fixes are worth more seeds."""

import pytest

from gradscope.errors import RecipeError
from gradscope.looks import Look, is_dominated, is_hopeless, looks_of
from gradscope.recipe import replace
from gradscope.recipe_file import dump_recipe, parse_recipe


@pytest.mark.parametrize(("seeds", "most"), [(5, 9), (3, 10), (5, 6), (5, 1000)])
def test_the_error_of_both_looks_adds_up_to_a_twentieth(seeds, most):
    first, last = looks_of(seeds, most)
    assert first.alpha + last.alpha == pytest.approx(0.05)
    assert 0 < first.alpha < 0.05 * seeds / most, "less than its share: the end decides more"
    assert (first.seeds, last.seeds) == (seeds, most)


@pytest.mark.parametrize("most", [None, 5])
def test_without_more_seeds_there_is_one_look(most):
    (only,) = looks_of(5, most)
    assert (only.seeds, only.alpha) == (5, pytest.approx(0.05))


def test_a_fix_that_gains_nothing_that_more_seeds_could_prove_is_hopeless():
    control, last = [0.3, 0.4, 0.3, 0.5, 0.4], Look(9, 0.035)
    assert is_hopeless(control, [value + 0.02 for value in control], last, 6, 0.1)
    assert not is_hopeless(control, [0.95, 0.95, 0.4, 0.95, 0.95], last, 6, 0.1)


def test_a_fix_behind_one_that_works_in_every_pair_is_dominated():
    assert is_dominated([0.5, 0.5, 0.5], [[0.4, 0.9, 0.9], [0.6, 0.7, 0.8]])
    assert not is_dominated([0.5, 0.5, 0.5], [[0.4, 0.9, 0.9]])
    assert not is_dominated([0.5, 0.5, 0.5], [[0.505, 0.9, 0.9]]), "by less than anyone would notice"
    assert not is_dominated([0.5, 0.5, 0.5], [])


def test_fewer_seeds_at_most_than_at_first_is_a_fault_of_the_recipe():
    with pytest.raises(RecipeError, match="most_seeds: expected at least the 5 seeds that all are trained with, got 3"):
        parse_recipe("data: digits\nstack: {hidden: [8], activations: [relu, none]}\nseeds: 5\nmost_seeds: 3\n")
    kept = parse_recipe("data: digits\nstack: {hidden: [8], activations: [relu, none]}\nseeds: 5\nmost_seeds: 9\n")
    assert parse_recipe(dump_recipe(kept)).most_seeds == 9
    with pytest.raises(RecipeError, match="--most-seeds"):
        replace(kept, most_seeds=2)
