"""From the arms of a trial to the effect of each fix, and what may be said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gradscope.diagnosis import Diagnosis, diagnose
from gradscope.interval import CONFIDENCE, bounded, effect_interval
from gradscope.report import Control, FixOutcome, FixVerdict
from gradscope.trace import Trace

CONTROL, RESEED = "control", "reseed"
RESEED_SUMMARY = "the control again with other seeds: what luck alone does"
# Differences of the metric that nobody would change a network for: one point of accuracy, 0.01 of R2.
NEGLIGIBLE = 0.01


@dataclass(frozen=True)
class Arm:
    """One arm of a trial with its final metric per seed and its diagnosis."""

    name: str
    values: tuple[float, ...]
    diagnosis: Diagnosis

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
    return Arm(name, values, diagnose(traces))


def control_of(arm: Arm, like: Trace) -> Control:
    """Return the control's part of the report."""
    return Control(metric=like.task.metric, mean=arm.mean, std=arm.std, values=list(arm.values), chance=like.task.chance)


def outcome(control: Arm, fix: Arm, *, chance: float, summary: str = "", cost: float | None = None) -> FixOutcome:
    """Return the effect of a fix: mean of the paired differences, interval, error findings cleared, verdict."""
    before_values, after_values = bounded(control.values, chance), bounded(fix.values, chance)
    effect = float(np.mean(np.subtract(after_values, before_values)))
    found = effect_interval(before_values, after_values, floor=chance)
    before, after = set(control.standing), set(fix.diagnosis.errors)
    cleared = sorted(before - after)
    return FixOutcome(
        fix=fix.name,
        summary=summary,
        mean=fix.mean,
        std=fix.std,
        effect=effect,
        interval=found,
        confidence=CONFIDENCE,
        values=list(fix.values),
        cleared=cleared,
        remaining=sorted(after),
        verdict=verdict_of(control, fix, found, cleared=bool(cleared), was_sick=bool(before), chance=chance),
        cost=cost,
    )


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

    * works: the interval lies above zero, and an error finding of the control is gone (where one stood in half of its seeds);
    * harms: the interval lies below zero;
    * no effect: the interval holds zero, no finding is gone, and the differences are negligible or within twice their own
      standard error;
    * inconclusive: anything between, and fewer than three seeds.
    """
    if interval is None:
        return "inconclusive"
    if interval[0] > 0:
        return "works" if cleared or not was_sick else "inconclusive"
    if interval[1] < 0:
        return "harms"
    differences = np.subtract(bounded(fix.values, chance), bounded(control.values, chance))
    noise = 2 * float(np.std(differences, ddof=1)) / len(differences) ** 0.5
    small = abs(float(differences.mean())) <= max(noise, NEGLIGIBLE)
    return "no effect" if small and not cleared else "inconclusive"


def recommended(outcomes: Sequence[FixOutcome], values: Mapping[str, Sequence[float]]) -> str | None:
    """Return the first fix (they stand in order, the smallest change first) that works and is not worse than the best.

    Not worse: on paired seeds it is not behind the best by more than what is negligible or twice the standard error.
    """
    working = [o for o in outcomes if o.verdict == "works" and o.fix != RESEED]
    if not working:
        return None
    best = max(working, key=lambda o: o.mean)
    for candidate in working:
        behind = np.subtract(values[best.fix], values[candidate.fix])
        noise = 2 * float(np.std(behind, ddof=1)) / len(behind) ** 0.5
        if float(behind.mean()) <= max(noise, NEGLIGIBLE):
            return candidate.fix
    return best.fix
