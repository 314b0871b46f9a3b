"""A part of the simulation of a trial's errors, small enough to run each time: what it prints must hold."""

import numpy as np
import pytest
from command_line import ROOT

TRIALS = 40
LEAST_COVERAGE = 0.93


@pytest.fixture
def simulation(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import trial_errors

    return trial_errors


@pytest.mark.parametrize(("seeds", "most"), [(5, None), (9, None), (5, 9)])
@pytest.mark.parametrize("fixes", [1, 6])
@pytest.mark.parametrize("world", ["two-valued 0.9 -> 0.1", "normal 0.05, +0.30"])
def test_intervals_hold_all_at_once_and_placebos_do_not_work(seeds, most, fixes, world, simulation):
    (chosen,) = [one for one in simulation.WORLDS if one.name == world]
    row = simulation.simulated(chosen, seeds, most, fixes, TRIALS)
    assert row.all_hold >= LEAST_COVERAGE
    assert row.placebo <= 0.05
    assert row.false <= 0.05
    assert seeds <= row.mean_seeds <= (most or seeds)
    assert str(row).startswith(world)


def test_the_simulation_would_notice_intervals_that_are_too_narrow(simulation, monkeypatch):
    """Its counterpart: without room for what was not seen, two-valued effects fall out of their intervals."""
    from gradscope import interval

    def narrow(first, second, floor, ceiling):
        effect = float(np.mean(first)) - float(np.mean(second))
        return np.array([effect - 0.01]), np.array([effect + 0.01])

    monkeypatch.setattr(interval, "_drawn_differences", narrow)
    (chosen,) = [one for one in simulation.WORLDS if one.name == "two-valued 0.9 -> 0.1"]
    assert simulation.simulated(chosen, 5, None, 1, TRIALS).all_hold < LEAST_COVERAGE


def allowed(share):
    """The most of so many trials that a share may be where it is 0.05 in truth: three standard errors above it."""
    return share + 3 * (share * (1 - share) / TRIALS) ** 0.5


@pytest.mark.parametrize(("seeds", "most"), [(5, None), (9, None), (5, 9)])
@pytest.mark.parametrize("world", ["steady 0.85, fails in 0.1", "steady 0.5, fails in 0.5"])
def test_a_fix_that_fails_more_often_than_it_shows_is_not_said_to_work(seeds, most, world, simulation):
    """What each run of it shows, five of them together in 59 % of trials of the first: it differs, and that is all."""
    (chosen,) = [one for one in simulation.WORLDS if one.name == world]
    row = simulation.simulated(chosen, seeds, most, 2, TRIALS)
    assert row.false <= allowed(0.05)
    assert row.all_hold >= 1 - allowed(1 - LEAST_COVERAGE)
    assert row.apart > row.false


def test_more_seeds_are_spent_where_a_verdict_is_open(simulation):
    open_one, settled = (
        simulation.simulated(one, 5, 9, 1, TRIALS)
        for one in simulation.WORLDS
        if one.name in ("two-valued 0.9 -> 0.1", "two-valued 1.0 -> 0.0")
    )
    assert open_one.mean_seeds > 6 > settled.mean_seeds == 5
    assert open_one.power > simulation.simulated(simulation.WORLDS[5], 5, None, 1, TRIALS).power
