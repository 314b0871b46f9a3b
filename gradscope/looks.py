"""How often a trial is looked at, and which fixes are worth more seeds: a group-sequential design of at most two looks.

The error that a trial may make is spent over its looks by the power family of Kim and DeMets (1987) with exponent 2: after n of
N seeds, 0.05 (n / N)^2. With 5 and then 9 seeds that is 0.015 for the first look and 0.035 for the second. The shares add up,
so whatever decides about going on, the error over both looks stays below 0.05 (Bonferroni's inequality); nothing here has to be
right for that, it only saves time. Decisions are made between looks: the arms of a population train in lock-step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gradscope.interval import CONFIDENCE, MINIMUM_SEEDS, effect_p_value

EXPONENT = 2  # spends little on the first look: what is clear at five seeds is clear at far less than 0.015
DOMINATED_BY = 0.01  # in every pair: one point of accuracy, as much as nobody would change a network for


@dataclass(frozen=True)
class Look:
    """One look at a trial: after so many seeds, with this share of the error."""

    seeds: int
    alpha: float


def looks_of(seeds: int, most_seeds: int | None) -> tuple[Look, ...]:
    """Return the looks of a trial.

    >>> [(look.seeds, round(look.alpha, 3)) for look in looks_of(5, 9)]
    [(5, 0.015), (9, 0.035)]
    >>> [(look.seeds, round(look.alpha, 3)) for look in looks_of(5, None)]
    [(5, 0.05)]
    """
    whole = 1 - CONFIDENCE
    if most_seeds is None or most_seeds <= seeds:
        return (Look(seeds, whole),)
    first = whole * (seeds / most_seeds) ** EXPONENT
    return Look(seeds, first), Look(most_seeds, whole - first)


def is_hopeless(
    control: Sequence[float], fix: Sequence[float], last: Look, fixes: int, floor: float, others: Sequence[float] = ()
) -> bool:
    """Tell whether the last look can prove nothing even if each further pair shows the largest gain seen so far.

    Deterministic curtailment, with the best gain seen for the best that could be: the latter is the whole range, of which no
    arm could ever be said to be out of reach.

    Args:
        control: metric, [seed].
        fix: metric, [seed], same seeds.
        last: the look that is still to come.
        fixes: how many are tried; Holm's method gives the last of them the whole error, as is assumed here.
        floor: what a failed run scores.
        others: metric of the control from further seeds, [run].
    """
    if len(fix) < MINIMUM_SEEDS or not fixes:
        return False
    best = int(np.argmax(np.subtract(fix, control)))
    further = max(0, last.seeds - len(fix))
    after, before = [*fix, *[fix[best]] * further], [*control, *[control[best]] * further]
    return effect_p_value(before, after, floor=floor, others=others) > last.alpha


def is_dominated(fix: Sequence[float], proved: Sequence[Sequence[float]]) -> bool:
    """Tell whether a fix that is proved already was better in every pair: then this one cannot be the best.

    Args:
        fix: metric, [seed].
        proved: of each fix that works already, [seed], same seeds.

    >>> is_dominated([0.5, 0.6, 0.5], [[0.9, 0.9, 0.9]]), is_dominated([0.5, 0.95, 0.5], [[0.9, 0.9, 0.9]])
    (True, False)
    """
    return any(bool((np.subtract(other, fix) > DOMINATED_BY).all()) for other in proved)
