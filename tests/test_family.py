"""Fixes judged together: Holm's method, simultaneous intervals, two looks."""

import itertools
import math

import numpy as np
import pytest
from test_effects import CHANCE, CURED, SICK, arm

from gradscope.effects import Arm
from gradscope.family import Family
from gradscope.interval import effect_p_value
from gradscope.looks import looks_of

RESEED = (0.3, 0.2, 0.35, 0.25, 0.3)
ALL = (1, 2, 3, 4, 5)
PARTLY = [0.95, 0.96, 0.25, 0.97, 0.95]
"""A fix that fails in one seed: five of them leave that open."""


def with_seeds(name, values, sick=(), first=1):
    found = arm(name, values, sick)
    return Arm(name, found.values, found.diagnosis, tuple(range(first, first + len(values))))


def family(*fixes, most=None, control=SICK, others=RESEED):
    sick = ALL[: len(control)]
    arms = [with_seeds(f"fix-{i}", values, sick if values is SICK else ()) for i, values in enumerate(fixes)]
    return Family(with_seeds("control", control, sick), arms, looks_of(5, most), CHANCE, others)


def verdicts(found):
    return [o.verdict for o in found.outcomes({}, {})]


def test_one_fix_stands_at_the_whole_95_percent():
    (found,) = family(CURED).outcomes({}, {})
    assert (found.verdict, found.confidence) == ("works", pytest.approx(0.95))
    assert (found.better_in, found.control_mean) == (5, pytest.approx(np.mean(SICK)))


def test_the_more_fixes_the_wider_each_interval():
    widths = []
    for count in (1, 2, 6):
        found = family(*[CURED] * count).outcomes({}, {})
        assert [o.confidence for o in found] == pytest.approx([1 - 0.05 / count] * count)
        assert {o.verdict for o in found} == {"works"}
        widths.append(found[0].interval[1] - found[0].interval[0])
    assert widths == sorted(set(widths))


def test_a_fix_that_works_is_found_among_five_that_do_not():
    assert verdicts(family(SICK, SICK, CURED, SICK, SICK, SICK)) == ["no effect"] * 2 + ["works"] + ["no effect"] * 3


def test_lucky_runs_of_the_control_elsewhere_take_the_proof_away_one_of_ten_does_not():
    assert verdicts(family(CURED)) == ["works"]
    assert verdicts(family(CURED, others=(0.3, 0.2, 0.99, 0.25, 0.3))) == ["works"]
    assert verdicts(family(CURED, others=(0.99, 0.98, 0.99, 0.25, 0.99))) == ["inconclusive"]


def test_a_fix_that_cures_four_of_five_runs_is_proved_unless_two_of_the_controls_ten_learn():
    control, fix, others = [0.1, 0.1, 0.1, 0.1, 0.1], [0.95, 0.95, 0.1, 0.95, 0.95], (0.1,) * 5
    assert verdicts(family(fix, control=control, others=others)) == ["works"]
    assert verdicts(family(fix, control=[0.1, 0.1, 0.95, 0.1, 0.1], others=(0.1, 0.1, 0.1, 0.95, 0.1))) == ["inconclusive"]


def weak_errors(seeds, fixes):
    """Share of trials in which any of so many fixes is told from zero that change the spread alone: half of their runs fail."""
    single = 0.0
    for failed in range(seeds + 1):
        fix = [0.1] * failed + [1.0] * (seeds - failed)
        one = Family(arm("control", [0.55] * seeds), [arm("fix", fix)], looks_of(seeds, None), 0.1, (0.55,) * seeds)
        single += math.comb(seeds, failed) * 0.5**seeds * (p_of(one) <= 0.05 / fixes)
    return 1 - (1 - single) ** fixes


def p_of(one):
    return one._p(effect_p_value, one.fixes[0], None)


@pytest.mark.parametrize("seeds", [5, 9])
@pytest.mark.parametrize("fixes", [1, 6])
def test_fixes_that_change_the_spread_alone_are_told_from_zero_in_at_most_one_trial_of_twenty(seeds, fixes):
    """All five runs learn one time in 32: too often for six fixes, and for one if all to fail proved something as well."""
    assert weak_errors(seeds, fixes) <= 0.05


def test_a_fix_that_is_a_little_better_in_each_run_differs_and_is_not_proved():
    """Failures in 7 % of its runs would undo it, which no five runs rule out."""
    found = family([0.91, 0.92, 0.9, 0.91, 0.91], SICK, control=[0.85, 0.84, 0.85, 0.86, 0.85], others=(0.85,) * 5).outcomes(
        {}, {}
    )
    assert [(o.verdict, o.differs) for o in found] == [("inconclusive", True), ("harms", True)]
    assert (found[0].failed, found[0].failed_up_to) == (0, pytest.approx(1 - 0.0125 ** (1 / 5)))
    assert found[0].undone_by == pytest.approx(0.06 / 0.81)
    assert found[1].undone_by is None


def test_three_seeds_prove_one_fix_and_no_more():
    """1 / C(9, 3) = 0.012: the chance that all three runs of a fix beat all six of the control by luck."""

    def three(count):
        return Family(
            arm("control", SICK[:3], (1, 2, 3)), [arm("fix", CURED[:3])] * count, looks_of(3, None), CHANCE, RESEED[:3]
        )

    assert verdicts(three(1)) == ["works"]
    assert verdicts(three(2)) == ["inconclusive"] * 2


def test_a_verdict_that_is_open_asks_for_more_seeds_and_gets_its_answer():
    open_one = family(PARTLY, SICK, most=12)
    assert verdicts(open_one) == ["inconclusive", "no effect"]
    assert open_one.worth_more_seeds() == ["fix-0"]
    later = family([*PARTLY, *CURED, 0.95, 0.96], SICK, most=12, control=[*SICK, *SICK, 0.3, 0.25])
    (found, stopped) = later.outcomes({}, {})
    assert (found.verdict, found.better_in, len(found.values)) == ("works", 11, 12)
    assert found.confidence == pytest.approx(1 - (0.05 - 0.05 * 25 / 144) / 2)
    assert stopped.confidence == pytest.approx(1 - 0.05 * 25 / 144 / 2)
    assert later.worth_more_seeds() == []


def test_nothing_goes_on_without_a_second_look():
    assert family(PARTLY).worth_more_seeds() == []


def test_what_cannot_win_any_more_is_stopped():
    """Better than the control, but behind a fix that is proved already, in every seed."""
    assert family(PARTLY, [value - 0.1 for value in PARTLY], most=14).worth_more_seeds() == ["fix-0", "fix-1"]
    assert family(CURED, [value - 0.1 for value in PARTLY], most=14).worth_more_seeds() == []


def exact_errors(share, seeds, fixes, others=True):
    """Share of trials in which any of so many placebos is told from zero, where runs collapse with a share, all independent.

    Summed over every way that the control, the reseed arm and a fix can fall out; given the control, fixes are independent.
    """
    chance_of = [math.comb(seeds, k) * share**k * (1 - share) ** (seeds - k) for k in range(seeds + 1)]
    total = 0.0
    for collapsed, elsewhere in itertools.product(range(seeds + 1), repeat=2):
        control = [0.1] * collapsed + [0.95] * (seeds - collapsed)
        others_values = tuple([0.1] * elsewhere + [0.95] * (seeds - elsewhere)) if others else ()
        rejected = 0.0
        for both, alone in itertools.product(range(collapsed + 1), range(seeds - collapsed + 1)):
            fix = [0.1] * both + [0.95] * (collapsed - both) + [0.1] * alone + [0.95] * (seeds - collapsed - alone)
            one = Family(arm("control", control), [arm("fix", fix)], looks_of(seeds, None), 0.1, others_values)
            ways = math.comb(collapsed, both) * math.comb(seeds - collapsed, alone)
            chance = ways * share ** (both + alone) * (1 - share) ** (seeds - both - alone)
            rejected += chance * (p_of(one) <= 0.05 / fixes)
        total += chance_of[collapsed] * chance_of[elsewhere] * (1 - (1 - rejected) ** fixes)
    return total


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("fixes", [1, 6])
def test_placebos_are_told_from_zero_in_at_most_one_trial_of_twenty(share, fixes):
    assert exact_errors(share, 5, fixes) <= 0.05


def test_continuous_outcomes_without_an_effect_are_told_from_zero_in_at_most_one_trial_of_twenty():
    rng = np.random.default_rng(3)
    wrong = 0
    for _ in range(150):
        level = rng.uniform(0.2, 0.8, 5)
        fixes = [np.clip(level + rng.normal(0, 0.05, 5), 0, 1).tolist() for _ in range(3)]
        wrong += any(j.differs for j in family(*fixes, control=level.tolist(), others=tuple(rng.uniform(0.2, 0.8, 5))).judged())
    assert wrong <= 0.05 * 150
