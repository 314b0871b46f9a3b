"""Does mixing activations in one network help? Pure stacks against mixed ones, over shapes and optimizers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gradscope.cell_factors import Layer, is_activation, layers_of
from gradscope.effects import NEGLIGIBLE, bounded
from gradscope.factor_report import Mixing, MixingEffect, MixingVerdict
from gradscope.fair_choice import Contest, best, typical
from gradscope.observations import FloatArray, families, is_pure
from gradscope.sweep_report import CellRow

RATE = "lr"
LEAST_SEEDS, LEAST_PURE = 2, 2
ALL, ACROSS = "all", "across families"
METHOD = (
    "every stack takes the learning rate that did best with one half of the seeds and is scored with the other half, over many "
    "ways to halve them; likewise the best pure stack, which meets the best of as many mixed ones, averaged over all ways to "
    "draw them; 95 % intervals by Student's t over settings and seeds, no narrower than the spread of all stacks allows"
)

Stack = tuple[Layer, ...]


@dataclass(frozen=True, eq=False)
class Setting:
    """The stacks of one shape and optimizer: metric [stack][rate, seed]."""

    factors: Mapping[str, str]
    stacks: tuple[Stack, ...]
    scores: tuple[FloatArray, ...]

    def only(self, wanted: Sequence[bool]) -> Setting:
        """Return the setting with some of its stacks."""
        kept = [i for i, keep in enumerate(wanted) if keep]
        return Setting(self.factors, tuple(self.stacks[i] for i in kept), tuple(self.scores[i] for i in kept))


def mixing_of(rows: Sequence[CellRow]) -> Mixing | None:
    """Return the answer of a sweep to whether mixing helps.

    Returns:
        The answer, or None where it has no setting with two pure stacks and a mixed one, or fewer than two seeds in common.
    """
    settings = [setting for setting in settings_of(rows) if _can_be_asked(setting)]
    if not settings:
        return None
    groups = {ALL: settings} | _families(settings)
    overall = [_effect(name, of_group) for name, of_group in groups.items()]
    single = [_effect(_name(setting), [setting]) for setting in settings] if len(settings) > 1 else []
    rates = max(score.shape[0] for setting in settings for score in setting.scores)
    return Mixing(
        answer=_answer(overall, len(settings), settings[0].scores[0].shape[1], rates),
        overall=overall,
        settings=single,
        seeds=settings[0].scores[0].shape[1],
        rates=rates,
        method=METHOD,
    )


def settings_of(rows: Sequence[CellRow]) -> list[Setting]:
    """Return the stacks by setting: by all factors but the activations and the learning rate.

    Only seeds that all finished cells have are looked at; cells that lack seeds of the sweep are left out.
    """
    finished = [row for row in rows if row.seeds and not row.missing and any(map(is_activation, row.factors))]
    seeds = sorted(set.intersection(*(set(row.seeds) for row in finished))) if finished else []
    if len(seeds) < LEAST_SEEDS or len({row.metric for row in finished}) > 1:
        return []
    groups: dict[tuple[tuple[str, str], ...], dict[Stack, list[list[float]]]] = {}
    for row in finished:
        key = tuple((name, value) for name, value in row.factors.items() if name != RATE and not is_activation(name))
        values = dict(zip(row.seeds, bounded(row.values, row.chance), strict=True))
        groups.setdefault(key, {}).setdefault(layers_of(row.factors), []).append([values[seed] for seed in seeds])
    return [
        Setting(dict(key), tuple(stacks), tuple(np.array(scores, dtype=np.float64) for scores in stacks.values()))
        for key, stacks in groups.items()
    ]


def _can_be_asked(setting: Setting) -> bool:
    pure = sum(map(is_pure, setting.stacks))
    return pure >= LEAST_PURE and pure < len(setting.stacks)


def _families(settings: Sequence[Setting]) -> dict[str, list[Setting]]:
    """Return the settings with stacks of one family only, and those with all pure stacks and mixtures of families."""
    names = sorted({family for setting in settings for stack in setting.stacks for family in families(stack)})
    found = {f"within {name}": [s.only([families(stack) == (name,) for stack in s.stacks]) for s in settings] for name in names}
    found[ACROSS] = [s.only([is_pure(stack) or len(families(stack)) > 1 for stack in s.stacks]) for s in settings]
    return {name: kept for name, group in found.items() if (kept := [s for s in group if _can_be_asked(s)])}


def _effect(where: str, settings: Sequence[Setting]) -> MixingEffect:
    contests = [Contest(s.scores, np.array([is_pure(stack) for stack in s.stacks])) for s in settings]
    mean, top = typical(contests), best(contests)
    stacks = {stack for setting in settings for stack in setting.stacks}
    pure = sum(map(is_pure, stacks))
    return MixingEffect(
        where=where,
        pure=pure,
        mixed=len(stacks) - pure,
        pure_mean=mean.first,
        mixed_mean=mean.second,
        typical=mean.difference,
        typical_interval=mean.interval,
        pure_best=top.first,
        mixed_best=top.second,
        best=top.difference,
        best_interval=top.interval,
        verdict=verdict_of(mean.interval),
        best_verdict=verdict_of(top.interval),
    )


def verdict_of(interval: tuple[float, float] | None) -> MixingVerdict:
    """Return what may be said of an effect from its interval.

    No effect: the whole interval is within what nobody would change a network for (one point), wherever zero lies in it.

    >>> verdict_of((0.02, 0.05)), verdict_of((-0.002, 0.006)), verdict_of((-0.02, 0.03)), verdict_of(None)
    ('helps', 'no effect', 'cannot tell', 'cannot tell')
    """
    if interval is None:
        return "cannot tell"
    low, high = interval
    if low >= -NEGLIGIBLE and high <= NEGLIGIBLE:
        return "no effect"
    return "helps" if low > 0 else "harms" if high < 0 else "cannot tell"


def _name(setting: Setting) -> str:
    return ", ".join(f"{name} {value}" for name, value in setting.factors.items())


def _answer(overall: Sequence[MixingEffect], settings: int, seeds: int, rates: int) -> str:
    """Return the answer to the question in plain English."""
    whole = overall[0]
    opening = {
        "helps": "Mixing activations helps here",
        "harms": "Mixing activations harms here",
        "no effect": "Mixing activations has no effect here",
        "cannot tell": "Whether mixing activations helps cannot be told from this sweep",
    }[whole.verdict]
    rate = "each with its own best learning rate" if rates > 1 else "at the one learning rate of the sweep"
    mean = f"a mixed stack scores {_points(whole.typical, whole.typical_interval)} against a pure one, {rate}"
    many = min(whole.pure, whole.mixed)
    top = f"the best of {many} mixed ones scores {_points(whole.best, whole.best_interval)} against that of {many} pure ones"
    basis = f"over {settings} {'setting' if settings == 1 else 'settings'} and {seeds} seeds"
    text = f"{opening}: {mean}, {basis}. With equal search, {_SEARCH[whole.best_verdict]}: {top}."
    differ = [effect for effect in overall[1:] if effect.verdict not in (whole.verdict, "cannot tell")]
    notes = [f"{e.where} it {_VERBS[e.verdict]}: {_points(e.typical, e.typical_interval)}" for e in differ]
    return f"{text} But {'; '.join(notes)}." if notes else text


_SEARCH: Mapping[MixingVerdict, str] = {
    "helps": "the best mixed stack is better",
    "harms": "the best pure stack is better",
    "no effect": "neither has the better best stack",
    "cannot tell": "it cannot be told which has the better best stack",
}
_VERBS: Mapping[MixingVerdict, str] = {"helps": "helps", "harms": "harms", "no effect": "has no effect"}


def _points(effect: float, interval: tuple[float, float] | None) -> str:
    ends = "" if interval is None else f" (95 %: {100 * interval[0]:+.2f} to {100 * interval[1]:+.2f})"
    return f"{100 * effect:+.2f} points{ends}"
