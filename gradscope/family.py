"""The fixes of a trial judged together: corrected for their number by Holm's method, over one look or two.

All intervals hold at once with 95 %: each is made at the share of the error that its look may spend, divided by the number of
fixes (Bonferroni). Whether an effect differs from zero is decided by Holm's step-down method (1979) at each look, which is
never less powerful; where it excludes zero and the wider interval does not, the interval is cut there. At the last look Holm's
method counts every fix that was not proved before, stopped ones included, so that what was stopped cannot make others look
better.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from gradscope.effects import NEGLIGIBLE, Arm, Standard, outcome, paired
from gradscope.holm import holm
from gradscope.interval import bounded, effect_p_value
from gradscope.looks import Look, is_dominated, is_hopeless
from gradscope.mean_test import different_means_chance
from gradscope.report import FixOutcome

Test = Callable[..., float]
"""Of the runs of control and fix: the p value, as of `effect_p_value`."""


@dataclass(frozen=True)
class Judged:
    """A fix's corrected p value, and the look that it belongs to."""

    p: float
    look: Look

    @property
    def differs(self) -> bool:
        """Whether an effect of zero is excluded."""
        return self.p <= self.look.alpha


@dataclass(frozen=True)
class Family:
    """The arms of a trial that are judged together."""

    control: Arm
    fixes: Sequence[Arm]
    looks: Sequence[Look]
    chance: float
    others: tuple[float, ...] = ()  # the control from seeds of its own

    def judged(self) -> list[Judged]:
        """Return for each fix what its last look says of its gain on average."""
        return self._judged_by(effect_p_value)

    def told_apart(self) -> list[bool]:
        """Return for each fix whether its runs differ from the control's by more than luck, if it changed nothing, would."""
        return [one.differs for one in self._judged_by(_luck)]

    def _judged_by(self, test: Test) -> list[Judged]:
        first = self.looks[0]
        found = [Judged(p, first) for p in holm([self._p(test, fix, first.seeds) for fix in self.fixes])]
        further = [i for i, fix in enumerate(self.fixes) if not found[i].differs and len(fix.values) > first.seeds]
        if len(self.looks) > 1 and further:
            open_ones = [i for i, judged in enumerate(found) if not judged.differs]
            values = [self._p(test, self.fixes[i], None) if i in further else 1.0 for i in open_ones]
            for i, p in zip(open_ones, holm(values), strict=True):
                if i in further:
                    found[i] = Judged(p, self.looks[-1])
        return found

    def outcomes(self, summaries: Mapping[str, str], costs: Mapping[str, float]) -> list[FixOutcome]:
        """Return the effect of each fix."""
        found = []
        for fix, judged, apart in zip(self.fixes, self.judged(), self.told_apart(), strict=True):
            standard = Standard(self.chance, self.others, 1 - judged.look.alpha / len(self.fixes), excludes_zero=judged.differs)
            one = outcome(
                self.control, fix, chance=self.chance, summary=summaries.get(fix.name, ""), cost=costs.get(fix.name),
                standard=standard,
            )  # fmt: skip
            found.append(one.model_copy(update={"p": float(f"{judged.p:.3g}"), "differs": apart}))
        return found

    def worth_more_seeds(self) -> list[str]:
        """Return the fixes that seem to help, are not proved, and can still win: neither hopeless nor dominated."""
        if len(self.looks) < 2:
            return []
        judged = self.judged()
        outcomes = self.outcomes({}, {})
        proved = [
            paired(self.control, fix, self.chance)[1]
            for fix, o in zip(self.fixes, outcomes, strict=True)
            if o.verdict == "works"
        ]
        found, others = [], bounded(self.others, self.chance)
        for fix, one, o in zip(self.fixes, judged, outcomes, strict=True):
            before, after = paired(self.control, fix, self.chance)
            is_open = not one.differs and o.effect > NEGLIGIBLE
            if (
                is_open
                and not is_dominated(after, proved)
                and not is_hopeless(before, after, self.looks[-1], len(self.fixes), self.chance, others)
            ):
                found.append(fix.name)
        return found

    def _p(self, test: Test, fix: Arm, seeds: int | None) -> float:
        short = replace(fix, values=fix.values[:seeds], seeds=fix.seeds[:seeds])
        before, after = paired(self.control, short, self.chance)
        return test(before, after, floor=self.chance, others=bounded(self.others, self.chance))


def _luck(control: Sequence[float], fix: Sequence[float], *, floor: float, others: Sequence[float] = ()) -> float:
    return different_means_chance([*control, *others], fix)
