"""The interval's coverage by simulation, where the paired t interval fails."""

import functools
import itertools
import math

import numpy as np
import pytest

from gradscope.interval import DRAWS, difference_interval, effect_interval, effect_p_value, mean_interval

SIMULATED = 400  # the standard error of a coverage of 0.95 is then 0.011; the cases below lie well above the bar
LEAST_COVERAGE = 0.93
FLOOR, LEARNED = 0.1, 0.95


def simulated_coverage(draw, truth, seeds, rng):
    hits = 0
    for _ in range(SIMULATED):
        low, high = effect_interval(*draw(rng, seeds), floor=FLOOR)
        hits += low <= truth <= high
    return hits / SIMULATED


def paired_t(control, fix, *, floor):
    difference = np.asarray(fix) - np.asarray(control)
    half = {5: 2.776, 9: 2.306}[len(difference)] * difference.std(ddof=1) / np.sqrt(len(difference))
    return difference.mean() - half, difference.mean() + half


@functools.cache
def intervals(seeds, collapsed, method=effect_interval):
    """The interval for every way in which `seeds` pairs can fall out: {(both, control only, fix only, neither): interval}."""
    found = {}
    for both, control_only, fix_only in itertools.product(range(seeds + 1), repeat=3):
        neither = seeds - both - control_only - fix_only
        if neither >= 0:
            control = [collapsed] * (both + control_only) + [LEARNED] * (fix_only + neither)
            fix = [collapsed] * both + [LEARNED] * control_only + [collapsed] * fix_only + [LEARNED] * neither
            found[both, control_only, fix_only, neither] = method(control, fix, floor=FLOOR)
    return found


def exact_coverage(control_share, fix_share, seeds, collapsed=FLOOR, method=effect_interval):
    """Coverage where the runs of each arm collapse with the given share, independently: summed, not sampled."""
    truth = (control_share - fix_share) * (LEARNED - collapsed)
    p, q = control_share, fix_share
    chances = (p * q, p * (1 - q), (1 - p) * q, (1 - p) * (1 - q))
    total = 0.0
    for counts, (low, high) in intervals(seeds, collapsed, method).items():
        if low - 1e-9 <= truth <= high + 1e-9:
            ways = math.factorial(seeds) / math.prod(map(math.factorial, counts))
            total += ways * math.prod(chance**count for chance, count in zip(chances, counts, strict=True))
    return total


SHARES = [round(0.1 + 0.02 * i, 2) for i in range(41)]


@pytest.mark.parametrize("seeds", [5, 9])
@pytest.mark.parametrize("collapsed", [FLOOR, 0.3])
def test_covers_when_a_share_of_the_control_collapses(seeds, collapsed):
    assert min(exact_coverage(share, 0.0, seeds, collapsed) for share in SHARES) >= LEAST_COVERAGE


@pytest.mark.parametrize("seeds", [5, 9])
@pytest.mark.parametrize("collapsed", [FLOOR, 0.3])
def test_covers_when_a_share_of_the_fix_collapses(seeds, collapsed):
    assert min(exact_coverage(0.0, share, seeds, collapsed) for share in SHARES) >= LEAST_COVERAGE


@pytest.mark.parametrize("seeds", [5, 9])
def test_covers_when_both_arms_collapse_independently(seeds):
    assert min(exact_coverage(p, q, seeds) for p in SHARES for q in SHARES) >= LEAST_COVERAGE


@pytest.mark.parametrize("seeds", [5, 9])
@pytest.mark.parametrize("spread", [0.002, 0.03, 0.1])
@pytest.mark.parametrize("effect", [0.0, 0.01, 0.1, 0.4])
def test_covers_continuous_outcomes(seeds, spread, effect):
    def draw(rng, n):
        return rng.normal(0.5, spread, n), rng.normal(0.5 + effect, spread, n)

    assert simulated_coverage(draw, effect, seeds, np.random.default_rng(4)) >= LEAST_COVERAGE


@pytest.mark.parametrize("seeds", [5, 9])
@pytest.mark.parametrize("sign", [-1, 1])
def test_covers_skewed_continuous_outcomes(seeds, sign):
    def draw(rng, n):
        return 0.5 + 0.05 * sign * rng.exponential(size=n), 0.6 + 0.05 * sign * rng.exponential(size=n)

    assert simulated_coverage(draw, 0.1, seeds, np.random.default_rng(5)) >= LEAST_COVERAGE


def test_the_paired_t_interval_fails_where_one_run_in_ten_collapses():
    assert exact_coverage(0.1, 0.0, 5, method=paired_t) == pytest.approx(0.41, abs=0.01)


def test_equals_clopper_and_pearson_for_two_valued_outcomes():
    low, _ = mean_interval([1.0] * 5, floor=0.0)
    assert low == pytest.approx(0.025 ** (1 / 5), abs=0.01)


@pytest.mark.parametrize(("failed", "succeeded"), [(0, 0), (1, 0), (0, 1), (1, 2)])
def test_is_fishers_exact_test_for_runs_that_fail_or_succeed_wholly(failed, succeeded):
    """One-sided: the chance of so many successes of the fix or more, of all ways to share them out."""
    fix, others = [0.0] * failed + [1.0] * (5 - failed), [1.0] * succeeded + [0.0] * (10 - succeeded)
    successes = 5 - failed + succeeded
    ways = sum(math.comb(5, k) * math.comb(10, successes - k) for k in range(5 - failed, min(5, successes) + 1))
    exact = 2 * ways / math.comb(15, successes)
    noise = 2 * 3 * (exact / 2 / DRAWS) ** 0.5  # three standard errors of what is counted in so many draws
    assert effect_p_value(others[:5], fix, floor=0.0, others=others[5:]) == pytest.approx(exact, abs=noise)


RARE = {  # control, and the fix as (where it does not fail, where it does)
    "steady control, a fix that is better and fails": (0.85, 0.91, 0.1),
    "control half way": (0.5, 0.9, 0.1),
    "hardly learning control": (0.3, 0.95, 0.1),
    "all or nothing": (0.55, 1.0, 0.1),
    "a fix that seldom learns": (0.3, 0.1, 0.95),
}


def judged_by_odd_runs(world, seeds, share, others=5):
    """(coverage, share told from zero wrongly) where so many runs of the fix are odd ones: summed, not sampled."""
    control, usual, odd = RARE[world]
    effect = share * odd + (1 - share) * usual - control
    covered = wrong = 0.0
    for k in range(seeds + 1):
        arms = [control] * seeds, [odd] * k + [usual] * (seeds - k)
        chance = math.comb(seeds, k) * share**k * (1 - share) ** (seeds - k)
        p = effect_p_value(*arms, floor=FLOOR, others=[control] * others)
        low, high = effect_interval(*arms, floor=FLOOR, others=[control] * others)
        covered += chance * (low - 1e-9 <= effect <= high + 1e-9)
        wrong += chance * (p <= 0.05 and not (np.mean(arms[1]) - control) * effect > 1e-9)
    return covered, wrong


@pytest.mark.parametrize("seeds", [5, 9])
@pytest.mark.parametrize("world", RARE)
def test_failures_that_few_runs_do_not_show_prove_nothing(world, seeds):
    """Also where the control is far from chance, and where the fix is exactly as good as it on average."""
    control, usual, odd = RARE[world]
    as_good = (usual - control) / (usual - odd)
    for share in sorted({as_good, min(1.0, as_good + 0.01), 0.05, 0.1, 0.2, 0.5, 0.9}):
        covered, wrong = judged_by_odd_runs(world, seeds, share)
        assert covered >= LEAST_COVERAGE, share
        assert wrong <= 0.05, share


@pytest.mark.parametrize("seeds", [5, 9])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7])
def test_a_control_that_seldom_learns_lets_no_fix_seem_better_than_it_is(seeds, share):
    """Where the fix scores the control's mean in every run: ten runs may all fail."""
    level = FLOOR + share * (LEARNED - FLOOR)
    wrong = 0.0
    for own, elsewhere in itertools.product(range(seeds + 1), repeat=2):
        ways = math.comb(seeds, own) * math.comb(seeds, elsewhere)
        chance = ways * share ** (own + elsewhere) * (1 - share) ** (2 * seeds - own - elsewhere)
        runs = [[LEARNED] * k + [FLOOR] * (seeds - k) for k in (own, elsewhere)]
        wrong += chance * (effect_p_value(runs[0], [level] * seeds, floor=FLOOR, others=runs[1]) <= 0.05)
    assert wrong <= 0.05


def test_a_cure_of_what_hardly_learns_is_proved_and_a_small_gain_is_not():
    """Five runs rule out that more than half of the fix's fail: enough for the one, not for the other."""
    for level, is_proved in ((0.1, True), (0.3, True), (0.6, False), (0.85, False)):
        p = effect_p_value([level] * 5, [0.95] * 5, floor=FLOOR, others=[level] * 5)
        assert (6 * p <= 0.05) is is_proved, level


def test_nothing_is_told_from_zero_where_the_same_seeds_point_the_other_way():
    control, fix, others = [0.9] * 5, [0.8] * 5, [0.1] * 20
    assert effect_p_value(control, fix, floor=FLOOR, others=others) > 0.05
    low, high = effect_interval(control, fix, floor=FLOOR, others=others)
    assert low <= np.mean(np.subtract(fix, control)) <= high


def test_is_exactly_antisymmetric_in_the_arms():
    control, fix = [0.2, 0.3, 0.25, 0.4, 0.2], [0.8, 0.9, 0.85, 0.7, 0.95]
    low, high = effect_interval(control, fix, floor=0.1)
    assert effect_interval(fix, control, floor=0.1) == pytest.approx((-high, -low), abs=0.02)


@pytest.mark.parametrize(("control", "fix"), [([0.1, 0.2], [0.8, 0.9]), ([0.1, 0.2, np.nan], [0.8, 0.9, 0.9])])
def test_gives_no_interval_where_none_can_stand(control, fix):
    assert effect_interval(control, fix, floor=0.1) is None


def test_arms_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="one length"):
        effect_interval([0.1, 0.2, 0.3], [0.1, 0.2], floor=0.1)


def exact_coverage_of_a_mean(share, seeds, collapsed=FLOOR):
    """Coverage of a single sample's interval where runs collapse with the given share: summed, not sampled."""
    truth = share * collapsed + (1 - share) * LEARNED
    total = 0.0
    for count in range(seeds + 1):
        low, high = mean_interval([collapsed] * count + [LEARNED] * (seeds - count), floor=FLOOR)
        hit = low - 1e-9 <= truth <= high + 1e-9
        total += hit * math.comb(seeds, count) * share**count * (1 - share) ** (seeds - count)
    return total


@pytest.mark.parametrize("seeds", [3, 5, 9])
@pytest.mark.parametrize("collapsed", [FLOOR, 0.3])
def test_the_interval_of_a_mean_covers_when_a_share_collapses(seeds, collapsed):
    assert min(exact_coverage_of_a_mean(share, seeds, collapsed) for share in [0.0, *SHARES, 1.0]) >= LEAST_COVERAGE


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("draw", [lambda rng, n: rng.normal(0.9, 0.01, n), lambda rng, n: 1 - 0.05 * rng.exponential(size=n)])
def test_the_interval_of_a_mean_covers_continuous_outcomes(seeds, draw):
    rng = np.random.default_rng(6)
    truth = draw(np.random.default_rng(0), 200_000).mean()
    intervals_seen = [mean_interval(draw(rng, seeds), floor=FLOOR) for _ in range(SIMULATED)]
    assert np.mean([low <= truth <= high for low, high in intervals_seen]) >= LEAST_COVERAGE


@pytest.mark.parametrize("values", [[0.9, 0.8], [0.9, 0.8, np.nan]])
def test_a_mean_has_no_interval_where_none_can_stand(values):
    assert mean_interval(values, floor=0.1) is None


@functools.cache
def difference_intervals(seeds, collapsed):
    """The interval for every number of collapsed runs of each side."""
    return {
        (i, j): difference_interval(
            [collapsed] * i + [LEARNED] * (seeds[0] - i), [collapsed] * j + [LEARNED] * (seeds[1] - j), floor=FLOOR
        )
        for i, j in itertools.product(range(seeds[0] + 1), range(seeds[1] + 1))
    }


def exact_coverage_of_a_difference(shares, seeds, collapsed):
    truth = (shares[1] - shares[0]) * (LEARNED - collapsed)
    total = 0.0
    for counts, (low, high) in difference_intervals(seeds, collapsed).items():
        if low - 1e-9 <= truth <= high + 1e-9:
            total += math.prod(
                math.comb(n, k) * share**k * (1 - share) ** (n - k) for n, k, share in zip(seeds, counts, shares, strict=True)
            )
    return total


@pytest.mark.parametrize("seeds", [(3, 3), (5, 5), (9, 5), (5, 3)])
@pytest.mark.parametrize("collapsed", [FLOOR, 0.3])
def test_the_interval_of_a_difference_covers_where_runs_of_both_collapse(seeds, collapsed):
    shares = [0.0, *SHARES[::4], 1.0]
    coverages = [exact_coverage_of_a_difference((p, q), seeds, collapsed) for p in shares for q in shares]
    assert min(coverages) >= LEAST_COVERAGE


@pytest.mark.parametrize("effect", [0.0, 0.01, 0.04])
def test_the_interval_of_a_difference_covers_continuous_outcomes(effect):
    rng = np.random.default_rng(8)
    draws = [(rng.normal(0.9 + effect, 0.01, 5), rng.normal(0.9, 0.01, 4)) for _ in range(SIMULATED)]
    ends = [difference_interval(*draw, floor=FLOOR) for draw in draws]
    assert np.mean([low <= effect <= high for low, high in ends]) >= LEAST_COVERAGE


def test_the_interval_of_a_difference_is_antisymmetric_and_needs_three_runs():
    a, b = [0.2, 0.3, 0.25, 0.4, 0.2], [0.8, 0.9, 0.85]
    low, high = difference_interval(a, b, floor=0.1)
    assert difference_interval(b, a, floor=0.1) == pytest.approx((-high, -low), abs=0.02)
    assert low < -0.55 < high
    assert difference_interval([0.1] * 5, [0.95] * 5, floor=0.1)[1] < 0
    assert difference_interval(a, b[:2], floor=0.1) is None
    assert difference_interval(a, [0.8, 0.9, np.nan], floor=0.1) is None
