"""Does mixing help: planted effects, none, families, settings, and sweeps that cannot tell."""

import random

import made_sweeps as made
import pytest

from gradscope.mixing import mixing_of
from gradscope.sweep_results import sweep_result

ACTS = ["relu", "selu", "tanh", "sigmoid"]
SHAPES = {"hidden": ["64", "32"], "optimizer": ["sgd", "adam"], "lr": ["0.1", "0.01"]}


def mixed(factors):
    return len({value for name, value in factors.items() if name.startswith("act")}) > 1


def mixing(value, *, acts=ACTS, layers=2, seeds=5, **others):
    return made.made(made.product_grid(layers, acts, **(others or SHAPES)), value, seeds).mixing


def noisy(rng):
    return 0.95 + 0.003 * rng.normal()


def test_where_there_is_no_effect_it_says_so():
    found = mixing(lambda factors, seed, rng: noisy(rng) - 0.03 * (factors["lr"] == "0.1") - 0.02 * (factors["act2"] == "relu"))
    assert found.overall[0].verdict == "no effect"
    assert found.answer.startswith("Mixing activations has no effect here: a mixed stack scores ")
    assert "each with its own best learning rate, over 4 settings and 5 seeds" in found.answer


@pytest.mark.parametrize(("gain", "verdict", "word"), [(0.03, "helps", "helps"), (-0.03, "harms", "harms")])
def test_a_planted_effect_is_found(gain, verdict, word):
    found = mixing(lambda factors, seed, rng: noisy(rng) + gain * mixed(factors) - 0.03 * (factors["lr"] == "0.1"))
    whole = found.overall[0]
    assert (whole.verdict, whole.best_verdict) == (verdict, verdict)
    assert whole.typical == pytest.approx(gain, abs=0.003)
    assert found.answer.startswith(f"Mixing activations {word} here")
    assert (whole.pure, whole.mixed, len(found.settings), found.rates) == (4, 12, 4, 2)


def test_each_stack_has_the_learning_rate_that_suits_it():
    """Mixed stacks like a small rate, pure ones a large one; at either rate alone one side would win by far."""
    found = mixing(lambda factors, seed, rng: noisy(rng) - 0.2 * (mixed(factors) == (factors["lr"] == "0.1")))
    assert abs(found.overall[0].typical) < 0.003
    assert found.overall[0].verdict == "no effect"


def test_an_effect_within_one_family_is_told():
    def value(factors, seed, rng):
        return noisy(rng) - 0.1 * (mixed(factors) and {factors["act1"], factors["act2"]} == {"tanh", "sigmoid"})

    found = {effect.where: effect for effect in mixing(value).overall}
    assert set(found) == {"all", "within relu-like", "within sigmoid-like", "across families"}
    assert found["within sigmoid-like"].verdict == "harms"
    assert found["within relu-like"].verdict == found["across families"].verdict == "no effect"
    assert (found["within relu-like"].pure, found["within relu-like"].mixed) == (2, 2)
    assert (found["across families"].pure, found["across families"].mixed) == (4, 8)


def test_an_effect_in_one_setting_shows_there():
    found = mixing(lambda factors, seed, rng: noisy(rng) + 0.05 * mixed(factors) * (factors["optimizer"] == "sgd"))
    verdicts = {effect.where: effect.verdict for effect in found.settings}
    assert verdicts["hidden 64, optimizer sgd"] == verdicts["hidden 32, optimizer sgd"] == "helps"
    assert verdicts["hidden 64, optimizer adam"] != "helps"


def test_mixes_within_a_layer_count_as_mixed():
    pairs = [{"act1a": a, "act1b": b} for a in ("relu", "tanh") for b in ("relu", "tanh") if a <= b]
    found = made.made([{**p, "lr": lr} for p in pairs for lr in ("1", "2")], lambda f, s, rng: noisy(rng), seeds=4).mixing
    assert (found.overall[0].pure, found.overall[0].mixed) == (2, 1)


def test_without_learning_rates_it_says_so():
    found = mixing(lambda factors, seed, rng: noisy(rng), hidden=["64"])
    assert "at the one learning rate of the sweep, over 1 setting" in found.answer
    assert "rate" not in found.method
    assert "the learning rate that did best" in mixing(lambda factors, seed, rng: noisy(rng), lr=["1", "2"]).method


def test_wide_runs_cannot_tell():
    found = mixing(lambda factors, seed, rng: 0.5 + 0.3 * rng.normal(), acts=["relu", "tanh"], lr=["1"])
    assert found.overall[0].verdict == "cannot tell"
    assert found.answer.startswith("Whether mixing activations helps cannot be told from this sweep")


@pytest.mark.parametrize(
    "factors",
    [
        made.grid(lr=["1", "2"], hidden=["3", "4"]),  # no activations
        made.product_grid(2, ["relu"]),  # no mixed stack
        [{"act1": "relu", "act2": "relu"}, {"act1": "relu", "act2": "tanh"}],  # one pure stack only
    ],
)
def test_sweeps_that_do_not_ask_get_no_answer(factors):
    assert made.made(factors, lambda *_: 0.9).mixing is None


def test_one_seed_and_an_untrained_sweep_give_no_answer():
    assert mixing(lambda *_: 0.9, seeds=1) is None
    cells = [made.cell(factors, 3) for factors in made.product_grid(2, ["relu", "tanh"])]
    assert mixing_of(sweep_result(cells, [[] for _ in cells]).rows) is None


BASE = {"0.001": 0.3, "0.01": 0.95, "1": 0.2}


@pytest.mark.parametrize("seed", range(8))
def test_a_stack_that_lacks_its_good_learning_rate_does_not_count(seed):
    """Nothing depends on the stack; in a sample of the grid some stacks hold bad rates only."""
    cells = random.Random(seed).sample(made.product_grid(2, ["relu", "tanh", "selu"], lr=BASE), 24)
    found = made.made(cells, lambda factors, _, rng: BASE[factors["lr"]] + 0.002 * rng.normal(), seeds=4).mixing
    assert "not trained at every learning rate" in found.answer
    assert not found.overall or found.overall[0].verdict in ("no effect", "cannot tell")


def test_a_sweep_in_which_no_stack_has_all_rates_says_why_there_is_no_answer():
    cells = [made.cell(factors, 3) for factors in made.product_grid(2, ["relu", "tanh"], lr=BASE)]
    runs = [[made.run(seed) for seed in (1, 2, 3)] if cell.factors["lr"] == "1" else [] for cell in cells]
    found = sweep_result(cells, runs).mixing
    assert (found.overall, found.settings) == ([], [])
    assert found.answer.endswith(
        "from this sweep: 4 stacks are not trained at every learning rate, and too few are left to compare."
    )


def test_blocks_in_one_column_count_as_mixed_and_linear_stacks_not_at_all():
    layers = ["relu", "tanh", "relu+tanh", "none"]
    found = made.made(made.product_grid(2, layers, act3=["none"]), lambda f, _, rng: noisy(rng), seeds=4).mixing
    whole = found.overall[0]
    assert (whole.pure, whole.mixed) == (6, 9)  # relu or tanh, behind or before none as well
    assert found.answer.startswith("Mixing")
    assert {effect.where for effect in found.overall} == {"all", "across families"}


def test_a_setting_with_fewer_pure_stacks_than_two_is_left_out():
    shares = made.grid(act1=["relu", "relu:1+tanh:3", "relu:3+tanh:1"])
    assert made.made(shares, lambda *_: 0.9, seeds=4).mixing is None
