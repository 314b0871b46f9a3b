"""From the arms of a trial to the effect of each fix, and what may be said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradscope.diagnosis import Diagnosis, diagnose
from gradscope.interval import CONFIDENCE, bounded, effect_interval
from gradscope.report import Control, FixOutcome, FixVerdict
from gradscope.trace import Trace
from gradscope.unseen import failures, most_failures, undone_by

CONTROL, RESEED, PLACEBO = "control", "reseed", "placebo"
RESEED_SUMMARY = "the control again with other seeds: what luck alone does"
# Differences of the metric that nobody would change a network for: one point of accuracy, 0.01 of R2.
NEGLIGIBLE = 0.01
EXCUSED = 0.02  # by noise: with few seeds, noise would excuse anything
APART = 0.1  # a pair that differs by so much shows that a fix does something, if only in some of the seeds


@dataclass(frozen=True)
class Arm:
    """One arm of a trial with its final metric per seed and its diagnosis."""

    name: str
    values: tuple[float, ...]
    diagnosis: Diagnosis
    seeds: tuple[int, ...] = ()

    @property
    def standing(self) -> list[str]:
        """The rules with an error finding in at least half of the seeds: what a fix has to clear; less may be luck."""
        return [rule for rule, seeds in self.diagnosis.errors.items() if 2 * len(seeds) >= len(self.values)]

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return float(np.mean(self.values)) if self.values else float("nan")

    @property
    def std(self) -> float:
        """Standard deviation over the seeds (of the sample), 0 for a single one."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else 0.0


def arm_of(name: str, traces: Sequence[Trace]) -> Arm:
    """Return an arm from its traces; the metric is that of the last evaluation."""
    values = tuple(float(t.evaluation_metric[-1]) if len(t.evaluation_metric) else float("nan") for t in traces)
    return Arm(name, values, diagnose(traces), tuple(trace.seed for trace in traces))


def control_of(arm: Arm, like: Trace) -> Control:
    """Return the control's part of the report."""
    return Control(metric=like.task.metric, mean=arm.mean, std=arm.std, values=list(arm.values), chance=like.task.chance)


@dataclass(frozen=True)
class Standard:
    """What an effect is held against: `chance` is the metric of guessing, `others` that of the control from further seeds."""

    chance: float
    others: tuple[float, ...] = ()
    confidence: float = CONFIDENCE
    excludes_zero: bool = False  # a step-down method has excluded it at this confidence, though the interval may not


def outcome(
    control: Arm, fix: Arm, *, chance: float, summary: str = "", cost: float | None = None, standard: Standard | None = None
) -> FixOutcome:
    """Return the effect of a fix: mean of the paired differences, interval, error findings cleared, verdict."""
    standard = standard or Standard(chance)
    before_values, after_values = paired(control, fix, chance)
    effect = float(np.mean(np.subtract(after_values, before_values)))
    found = effect_interval(
        before_values, after_values, floor=chance, confidence=standard.confidence, others=bounded(standard.others, chance)
    )
    if standard.excludes_zero and found is not None:
        found = (max(found[0], 0.0), found[1]) if effect > 0 else (found[0], min(found[1], 0.0))
    before, after = set(control.standing), set(fix.diagnosis.errors)
    cleared = sorted(before - after)
    return FixOutcome(
        fix=fix.name,
        summary=summary,
        mean=fix.mean,
        std=fix.std,
        effect=effect,
        interval=found,
        confidence=standard.confidence,
        values=list(fix.values),
        control_mean=float(np.mean(before_values)),
        better_in=int(np.sum(np.subtract(after_values, before_values) > 0)),
        cleared=cleared,
        remaining=sorted(after),
        verdict=verdict_of(control, fix, found, cleared=bool(cleared), was_sick=bool(before), chance=chance),
        failed=(failed := failures(fix.values, chance)),
        failed_up_to=most_failures(failed, len(fix.values), standard.confidence) if fix.values else None,
        undone_by=undone_by([*before_values, *bounded(standard.others, chance)], after_values, chance),
        cost=cost,
    )


def paired(control: Arm, fix: Arm, chance: float) -> tuple[list[float], list[float]]:
    """Return the bounded metric of both arms, seed by seed where they share seeds, else in their order."""
    own, others = dict(zip(control.seeds, control.values, strict=False)), fix.seeds
    same = [own[seed] for seed in others] if others and all(seed in own for seed in others) else control.values
    return bounded(same[: len(fix.values)], chance), bounded(fix.values[: len(same)], chance)


def verdict_of(
    control: Arm,
    fix: Arm,
    interval: tuple[float, float] | None,
    *,
    cleared: bool,
    was_sick: bool,
    chance: float = 0.0,
) -> FixVerdict:
    """Say what follows from interval and findings.

    * works: on average it gains, failures that were not seen included (the interval lies above zero, or ends there), and an
      error finding of the control is gone (where one stood in half of its seeds);
    * harms: the interval lies below zero;
    * no effect: the interval holds zero, no finding is gone, no pair differs by ten points, and the mean difference is
      negligible, or within twice its own standard error, which excuses two points at most;
    * inconclusive: anything between, such as a fix that helps in two of five seeds, one that is better in all of them by less
      than the failures that they do not rule out would cost, and fewer than three seeds.
    """
    if interval is None:
        return "inconclusive"
    if interval[0] >= 0 and interval[1] > 0:
        return "works" if cleared or not was_sick else "inconclusive"
    if interval[1] <= 0 and interval[0] < 0:
        return "harms"
    before, after = paired(control, fix, chance)
    differences = np.subtract(after, before)
    small = abs(float(differences.mean())) <= _excused(differences) and float(np.abs(differences).max()) < APART
    return "no effect" if small and not cleared else "inconclusive"


def recommended(
    outcomes: Sequence[FixOutcome],
    values: Mapping[str, Sequence[float]],
    sizes: Mapping[str, int] | None = None,
    *,
    is_shaky: bool = False,
) -> str | None:
    """Return the smallest change among the fixes that work and are not worse than the best; without any, among the promising.

    Promising are those that clear an error finding and leave none, better in each seed and further from the control than luck
    puts them: what is not proved of them is only how seldom they fail (see `gradscope/unseen.py`), and the report says so.

    Not worse: on paired seeds it is not behind the best by more than what is negligible, or than twice the standard error,
    which excuses two points at most. Among several, those come first with which no error finding is left.

    Args:
        outcomes: of the fixes.
        values: bounded metric by fix, [seed], see `bounded`; where one has more seeds, the first are those that both have.
        sizes: of the changes, by fix; without one, the first of the outcomes is the smallest.
        is_shaky: whether the control has errors, but none that stands in half of its seeds: then there is none to clear.
    """
    order = sizes or {}
    fixes = [o for o in outcomes if o.fix not in (RESEED, PLACEBO)]
    working = [o for o in fixes if o.verdict == "works"] or [o for o in fixes if _is_promising(o, is_shaky=is_shaky)]
    if not working:
        return None
    working.sort(key=lambda o: order.get(o.fix, max(order.values(), default=0) + 1))  # stable: equal ones as they stand
    best = max(working, key=lambda o: float(np.mean(values[o.fix])))
    good = [candidate for candidate in working if not _is_behind(values[candidate.fix], values[best.fix])]
    return min(good, key=lambda o: bool(o.remaining)).fix  # the first of those with the least


def _is_promising(one: FixOutcome, *, is_shaky: bool) -> bool:
    is_better = bool(one.differs) and one.effect > 0 and one.better_in == len(one.values)
    return one.verdict == "inconclusive" and is_better and (is_shaky or bool(one.cleared)) and not one.remaining


def _is_behind(values: Sequence[float], best: Sequence[float]) -> bool:
    shared = min(len(values), len(best))
    behind = np.subtract(best[:shared], values[:shared])
    return bool(behind.mean() > _excused(behind))


def _excused(differences: NDArray[np.float64]) -> float:
    """Return up to which size a mean difference counts for nothing, of three pairs or more."""
    noise = 2 * float(np.std(differences, ddof=1)) / len(differences) ** 0.5
    return float(max(min(noise, EXCUSED), NEGLIGIBLE))
