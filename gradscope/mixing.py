"""Does mixing activations in one network help? Pure stacks against mixed ones, over shapes and optimizers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gradscope.effects import NEGLIGIBLE
from gradscope.factor_report import Mixing, MixingEffect, MixingVerdict
from gradscope.fair_choice import Contest, best, typical
from gradscope.mixing_settings import Setting, asks, can_be_asked, settings_of
from gradscope.observations import families, is_pure
from gradscope.sweep_report import CellRow

ALL, ACROSS = "all", "across families"
AT_BEST_RATE = "each seed is scored at the learning rate that did best in the others; stacks that lack a rate are left out; "
METHOD = (
    "the best pure stack is the one that did best in the other seeds, and meets the best of as many mixed ones, averaged over "
    "all ways to draw them; linear stacks are left out; 95 % intervals by Student's t over the seeds (three at least), no "
    "narrower than the spread of all stacks allows"
)


def mixing_of(rows: Sequence[CellRow]) -> Mixing | None:
    """Return the answer of a sweep to whether mixing helps.

    Returns:
        The answer, without numbers where too few stacks are trained at all learning rates; None where the grid does not ask: it
        has no two pure stacks and a mixed one in one setting, or fewer than two seeds.
    """
    found = settings_of(rows)
    settings = [setting for setting in found if can_be_asked(setting.stacks)]
    left_out = sum(setting.left_out for setting in found)
    if not settings:
        return _unanswered(left_out) if left_out and asks(rows) else None
    groups = {ALL: settings} | _families(settings)
    overall = [_effect(name, of_group) for name, of_group in groups.items()]
    single = [_effect(_name(setting), [setting]) for setting in settings] if len(settings) > 1 else []
    rates, seeds = max(setting.scores.shape[1] for setting in settings), settings[0].scores.shape[2]
    note = f" {_lacking(left_out)} and {'is' if left_out == 1 else 'are'} left out." if left_out else ""
    return Mixing(
        answer=_answer(overall, len(settings), seeds, rates) + note,
        overall=overall,
        settings=single,
        seeds=seeds,
        rates=rates,
        method=AT_BEST_RATE + METHOD if rates > 1 else METHOD,
    )


def _unanswered(left_out: int) -> Mixing:
    answer = f"{_UNTOLD}: {_lacking(left_out)}, and too few are left to compare."
    return Mixing(answer=answer, overall=[], settings=[], seeds=0, rates=0, method=METHOD)


def _lacking(stacks: int) -> str:
    return f"{stacks} {'stack is' if stacks == 1 else 'stacks are'} not trained at every learning rate"


def _families(settings: Sequence[Setting]) -> dict[str, list[Setting]]:
    """Return the settings with stacks of one family only, and those with all pure stacks and mixtures of families."""
    names = sorted({family for setting in settings for stack in setting.stacks for family in families(stack)})
    found = {f"within {name}": [s.only([families(stack) == (name,) for stack in s.stacks]) for s in settings] for name in names}
    found[ACROSS] = [s.only([is_pure(stack) or len(families(stack)) > 1 for stack in s.stacks]) for s in settings]
    return {name: kept for name, group in found.items() if (kept := [s for s in group if can_be_asked(s.stacks)])}


def _effect(where: str, settings: Sequence[Setting]) -> MixingEffect:
    contests = [Contest(s.stacks, s.scores, np.array([is_pure(stack) for stack in s.stacks])) for s in settings]
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
        "cannot tell": _UNTOLD,
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


_UNTOLD = "Whether mixing activations helps cannot be told from this sweep"
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
