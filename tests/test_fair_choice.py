"""Choosing among many: the best of equally many by plain enumeration, coverage, and nobody flattered."""

import itertools

import numpy as np
import pytest

from gradscope.fair_choice import Contest, best, chances_to_be_best, chosen_scores, typical


def contest(rng, pure, mixed, *, gain=0.0, spread=0.01, collapse=0.0, rates=3, seeds=5):
    """Stacks that all are the same but for luck, `gain` for mixed ones, and a learning rate that is too large."""
    scores = []
    for i in range(pure + mixed):
        score = 0.9 + gain * (i >= pure) - 0.05 * (np.arange(rates) == 0)[:, None] + spread * rng.normal(size=(rates, seeds))
        scores.append(np.where(rng.random((rates, seeds)) < collapse, 0.1, score))
    return Contest(range(pure + mixed), np.array(scores), np.arange(pure + mixed) < pure)


def test_the_best_of_some_is_that_over_all_ways_to_draw_them():
    rng = np.random.default_rng(0)
    promised = rng.random(6)
    for count in range(1, 7):
        winners = [max(drawn, key=lambda i: promised[i]) for drawn in itertools.combinations(range(6), count)]
        assert chances_to_be_best(promised, count) == pytest.approx(np.bincount(winners, minlength=6) / len(winners))


def test_a_learning_rate_is_scored_with_the_seed_that_did_not_choose_it():
    scores = np.random.default_rng(6).random((5, 3, 4))
    promised, kept = chosen_scores(scores)
    for stack, seed in itertools.product(range(5), range(4)):
        others = np.delete(scores[stack], seed, axis=1).mean(axis=1)
        assert promised[stack, seed] == pytest.approx(others.max())
        assert kept[stack, seed] == scores[stack, others.argmax(), seed]


def test_the_larger_side_is_not_flattered():
    rng = np.random.default_rng(1)
    found = [best([contest(rng, 3, 30)]) for _ in range(60)]
    differences = np.array([sides.difference for sides in found])
    assert abs(differences.mean()) < 3 * differences.std() / np.sqrt(60)
    naive = [max(s[-1].max() for s in one.scores[3:]) > max(s[-1].max() for s in one.scores[:3]) for one in
             (contest(rng, 3, 30) for _ in range(60))]  # fmt: skip
    assert np.mean(naive) > 0.8  # as the best run of each side would have it


@pytest.mark.parametrize(("seeds", "settings", "collapse"), [(4, 1, 0.0), (5, 1, 0.0), (5, 4, 0.05), (8, 2, 0.0)])
def test_intervals_cover(seeds, settings, collapse):
    rng = np.random.default_rng(2)
    gain, draws = 0.02, 60
    hits = 0
    for _ in range(draws):
        contests = [contest(rng, 4, 12, gain=gain, collapse=collapse, seeds=seeds) for _ in range(settings)]
        low, high = typical(contests).interval
        hits += low <= gain * (1 - collapse) <= high
    assert hits / draws >= 0.9


def test_a_choice_among_equals_does_not_narrow_the_interval():
    """Nothing is there, and each stack has five learning rates that all do: whoever chooses among them chooses luck."""
    rng = np.random.default_rng(9)
    excluded = 0
    for _ in range(100):
        scores = 0.9 + 0.01 * rng.normal(size=(4, 24, 5, 4))
        low, high = typical([Contest(range(24), score, np.arange(24) < 4) for score in scores]).interval
        excluded += not low <= 0 <= high
    assert excluded <= 10


@pytest.mark.parametrize("compare", [typical, best])
def test_settings_that_share_seeds_are_not_taken_for_independent(compare):
    """Nothing is there; most of a network's luck is its seed's, the same in all eight settings."""
    rng = np.random.default_rng(8)
    first = np.arange(9) < 3
    excluded = 0
    for _ in range(100):
        shared = rng.normal(size=(9, 1, 4))
        scores = [0.9 + 0.01 * (0.92 * shared + 0.39 * rng.normal(size=(9, 1, 4))) for _ in range(8)]
        low, high = compare([Contest(range(9), score, first) for score in scores]).interval
        excluded += not low <= 0 <= high
    assert excluded <= 10


def test_a_planted_gain_is_found_by_both_comparisons():
    rng = np.random.default_rng(3)
    contests = [contest(rng, 4, 12, gain=0.05) for _ in range(4)]
    for sides in (typical(contests), best(contests)):
        assert sides.interval[0] > 0.03
        assert sides.second - sides.first == pytest.approx(sides.difference)
        assert sides.difference == pytest.approx(0.05, abs=0.01)


def test_two_seeds_have_no_interval():
    assert typical([contest(np.random.default_rng(4), 2, 4, seeds=2)]).interval is None


def test_a_side_of_few_runs_without_a_collapse_is_not_taken_at_its_word():
    """One run in ten collapses, whatever it is of: few pure stacks often show none, hundreds of mixed ones show the tenth."""
    rng = np.random.default_rng(5)
    excluded = {"typical": 0, "best": 0}
    for _ in range(25):
        contests = [contest(rng, 4, 200, collapse=0.1, spread=0.002, rates=1)]
        for name, compared in (("typical", typical(contests)), ("best", best(contests))):
            excluded[name] += not compared.interval[0] <= 0 <= compared.interval[1]
    assert max(excluded.values()) <= 3
