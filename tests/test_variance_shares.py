"""Sums of squares against plain twins: marginal means on a full grid, least squares by hand on one with holes."""

import itertools

import numpy as np
import pytest

from gradscope.variance_shares import ranks, variance_shares

LEVELS, SEEDS = (3, 2, 4), 3


def full_grid(rng, noise=1.0):
    """A full grid with an effect of the first factor and an interaction of the second and third."""
    points = np.array(list(itertools.product(*map(range, LEVELS))))
    cells = np.repeat(np.arange(len(points)), SEEDS)
    codes = points[cells].T
    values = codes[0] * 1.0 + (codes[1] * codes[2] == 3) * 2.0 + noise * rng.normal(size=len(cells))
    return values, cells, codes


def between(values, groups):
    """The naive twin: sum over groups of n times the squared distance of the group's mean from the grand mean."""
    total = 0.0
    for group in sorted(set(groups)):
        own = [v for v, g in zip(values, groups, strict=True) if g == group]
        total += len(own) * (sum(own) / len(own) - sum(values) / len(values)) ** 2
    return total


def test_a_full_grid_equals_the_sums_over_marginal_means():
    values, cells, codes = full_grid(np.random.default_rng(0))
    found = variance_shares(values, cells, codes)
    listed = values.tolist()
    mains = [between(listed, code.tolist()) for code in codes]
    joint = [between(listed, list(zip(codes[i].tolist(), codes[j].tolist(), strict=True))) for i, j in ((0, 1), (0, 2), (1, 2))]
    pairs = sum(joint) - 2 * sum(mains)
    cell_sum = between(listed, cells.tolist())
    assert found.factors == pytest.approx(mains)
    assert found.freedoms == (2, 1, 3)
    assert found.pairs == pytest.approx(pairs)
    assert found.higher == pytest.approx(cell_sum - sum(mains) - pairs)
    assert found.seeds == pytest.approx(sum((values - values.mean()) ** 2) - cell_sum)
    assert found.total == pytest.approx(sum(found.factors) + found.pairs + found.higher + found.seeds)


def naive_left(values, columns):
    """Sum of squares left by the model with an indicator for each level of each column: normal equations by pseudo-inverse."""
    design = [[1.0] * len(values)]
    for column in columns:
        design += [[float(c == level) for c in column] for level in sorted(set(column))]
    x = np.array(design).T
    return float(np.sum((values - x @ np.linalg.pinv(x.T @ x) @ x.T @ values) ** 2))


def test_a_grid_with_holes_credits_each_factor_beyond_the_others():
    rng = np.random.default_rng(1)
    values, cells, codes = full_grid(rng)
    kept = rng.random(len(values)) < 0.6
    values, cells, codes = values[kept], cells[kept], codes[:, kept]
    found = variance_shares(values, cells, codes)
    columns = codes.tolist()
    main = naive_left(values, columns)
    assert found.factors == pytest.approx([naive_left(values, columns[:i] + columns[i + 1 :]) - main for i in range(3)])
    joint = [list(zip(columns[i], columns[j], strict=True)) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert found.pairs == pytest.approx(main - naive_left(values, [*columns, *joint]))


def test_a_factor_that_another_determines_explains_nothing_by_itself():
    values, cells, codes = full_grid(np.random.default_rng(2))
    found = variance_shares(values, cells, np.stack([codes[0], codes[0] * 7]))
    assert found.factors == pytest.approx((0.0, 0.0), abs=1e-9)
    assert found.freedoms == (0, 0)


def test_omega_squared_is_near_the_population_share_where_eta_squared_is_not():
    rng = np.random.default_rng(3)
    draws = [variance_shares(*full_grid(rng, noise=4.0)) for _ in range(200)]
    nothing = full_grid(rng, noise=0.0)
    truth = variance_shares(*nothing)
    population = truth.factors[0] / (truth.total + 16.0 * len(nothing[0]))
    assert np.mean([d.omega_squared(0) for d in draws]) == pytest.approx(population, abs=0.01)
    assert np.mean([d.share(d.factors[0]) for d in draws]) > population + 0.015


def test_without_repeated_cells_or_variance_there_is_no_share():
    values, cells, codes = full_grid(np.random.default_rng(4))
    single = variance_shares(values[::SEEDS], cells[::SEEDS], codes[:, ::SEEDS])
    assert np.isnan(single.omega_squared(0))
    assert single.seeds == 0
    constant = variance_shares(np.ones(len(values)), cells, codes)
    assert np.isnan(constant.share(constant.seeds))


def test_the_share_of_ranks_of_one_factor_is_kruskal_and_wallis():
    rng = np.random.default_rng(5)
    values = np.round(rng.normal(size=30), 1)  # with ties
    groups = np.arange(30) % 3
    found = variance_shares(ranks(values), np.arange(30), groups[None])
    r = [sum(v < x for v in values) + (sum(v == x for v in values) + 1) / 2 for x in values]
    n = len(r)
    h = (n - 1) * between(r, groups.tolist()) / sum((x - (n + 1) / 2) ** 2 for x in r)
    assert found.share(found.factors[0]) == pytest.approx(h / (n - 1))


def sample_of(rng, levels, size):
    points = np.array(list(itertools.product(*map(range, levels))))
    return points[rng.choice(len(points), size, replace=False)].T


def test_pairs_are_not_told_where_their_model_fits_anything():
    """A tenth of a grid of three factors of ten levels: noise alone would read as pairs."""
    rng = np.random.default_rng(6)
    found = variance_shares(rng.normal(size=100), np.arange(100), sample_of(rng, (10, 10, 10), 100))
    assert np.isnan(found.pairs)
    assert np.isnan(found.higher)
    assert found.interactions > 0.5 * found.total


def test_pairs_of_a_sample_are_told_where_cells_are_many():
    rng = np.random.default_rng(7)
    codes = sample_of(rng, (4, 4, 4, 4), 200)
    found = variance_shares((codes[0] == codes[1]) * 1.0, np.arange(200), codes)
    assert found.pairs == pytest.approx(found.interactions)
    assert found.higher == pytest.approx(0, abs=1e-9)


def test_more_columns_than_anyone_waits_for_leave_pairs_unknown():
    rng = np.random.default_rng(8)
    codes = rng.integers(0, 4, size=(20, 60))
    found = variance_shares((codes[0] * codes[1] == 9) * 1.0, np.arange(60), codes)
    assert np.isnan(found.pairs)


def test_what_two_factors_do_together_is_their_pairs_share_even_where_the_grid_has_holes():
    rng = np.random.default_rng(9)
    found = variance_shares(rng.normal(size=12), np.arange(12), sample_of(rng, (4, 4), 12))
    assert (found.pairs, found.higher) == (pytest.approx(found.interactions), 0.0)
