"""What stands in the share of seeds: a finding in one seed of five may be luck, one in three of five is not.

Where a healthy network shows a finding in one seed of twenty, it shows it in three of five in one check of 860, and where a
collapse comes in nineteen seeds of twenty, as few checks miss it: the binomial distribution, the same for both mistakes.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from gradscope.diagnosis import SEVERITIES, Diagnosis, diagnose
from gradscope.report import Finding, Severity, Verdict
from gradscope.rules import Rule
from gradscope.trace import Trace

SHARE = 0.6
"""Three seeds of five, two of three, both of two: always a majority, up to six seeds the smallest."""

Key = tuple[str, str | None]  # rule's slug, site


def seeds_needed(share: float, seeds: int) -> int:
    """Return how many seeds the share is, one at least.

    >>> [seeds_needed(0.6, seeds) for seeds in (1, 2, 3, 4, 5, 10)]
    [1, 2, 2, 3, 3, 6]
    """
    return max(1, math.ceil(share * seeds - 1e-9))


@dataclass(frozen=True)
class Standing:
    """The findings of one arm seed by seed."""

    seeds: tuple[int, ...]
    share: float
    whole: Diagnosis
    alone: tuple[Diagnosis, ...]  # in the order of the seeds

    @property
    def needed(self) -> int:
        """How many seeds make a finding stand."""
        return seeds_needed(self.share, len(self.seeds))

    def count(self, rule: str, *, at_least: Severity, origins: bool = False, apart_from: Collection[str | None] = ()) -> int:
        """Return in how many seeds a rule has a finding so severe, at any site; with `origins` only where it starts there.

        Findings at the sites `apart_from` do not count.
        """
        return sum(
            any(_matches(f, rule, at_least, origins) and f.site not in apart_from for f in one.findings) for one in self.alone
        )

    def stands(self, rule: str, *, at_least: Severity, origins: bool = False) -> bool:
        """Tell whether a rule's finding, so severe, stands in the share of seeds."""
        return self.count(rule, at_least=at_least, origins=origins) >= self.needed

    def undecided(self, rule: str) -> list[str]:
        """Return why the rule could not judge, one reason for each such seed."""
        return [item.reason for one in self.alone for item in one.undecided if item.rule == rule]

    def by_site(self) -> Mapping[Key, Mapping[Severity, int]]:
        """Return for each rule and site in how many seeds the finding is at least so severe."""
        found: dict[Key, dict[Severity, int]] = {}
        for finding in self._all():
            levels = found.setdefault((finding.rule, finding.site), dict.fromkeys(SEVERITIES, 0))
            for level in SEVERITIES[SEVERITIES.index(finding.severity) :]:
                levels[level] += 1
        return found

    @property
    def findings(self) -> list[Finding]:
        """What stands, with the numbers of all seeds; as severe as it is in the share of seeds.

        Where a rule's finding stands but at sites that differ from seed to seed, it is told for the site most seeds have.
        """
        sites = self.by_site()
        chosen: list[Finding] = []
        for finding in self.whole.findings:
            levels = sites.get((finding.rule, finding.site), {})
            severity = next((level for level in SEVERITIES if levels.get(level, 0) >= self.needed), None)
            if severity is None and finding is self.widest(finding.rule):
                severity = next((level for level in SEVERITIES if self.stands(finding.rule, at_least=level)), None)
            if severity is not None:
                chosen.append(finding.model_copy(update={"severity": severity}))
        return chosen

    def widest(self, rule: str) -> Finding | None:
        """Return the rule's finding that most seeds have, an origin before a victim."""
        found = [finding for finding in self.whole.findings if finding.rule == rule]
        return max(found, key=lambda finding: (len(finding.seeds), finding.role == "origin"), default=None)

    def source(self, rule: str, apart_from: Collection[str | None] = ()) -> Finding | None:
        """Return the rule's finding that most seeds have among its origins that stand, else the widest of all.

        Findings at the sites `apart_from` are left out.
        """
        found = [finding for finding in self.whole.findings if finding.rule == rule and finding.site not in apart_from]
        return max(found, key=lambda f: (f.role == "origin" and len(f.seeds) >= self.needed, len(f.seeds)), default=None)

    @property
    def verdict(self) -> Verdict:
        """Sick where an error stands, undecided where seeds that could not be judged might make one stand, else healthy."""
        errors = [self.count(rule, at_least="error") for rule in {finding.rule for finding in self.whole.findings}]
        most = max(errors, default=0)
        if most >= self.needed:
            return "sick"
        unclear = sum(one.verdict == "undecided" for one in self.alone)
        return "undecided" if unclear and most + unclear >= self.needed else "healthy"

    def _all(self) -> Iterable[Finding]:
        return (finding for one in self.alone for finding in one.findings)


def stand(traces: Sequence[Trace], rules: Sequence[type[Rule]], share: float = SHARE) -> Standing:
    """Judge the traces of one arm, one for each seed, together and each by itself."""
    alone = tuple(diagnose([trace], rules) for trace in traces)
    return Standing(tuple(trace.seed for trace in traces), share, diagnose(traces, rules), alone)


def _matches(finding: Finding, rule: str, at_least: Severity, origins: bool) -> bool:
    severe = SEVERITIES.index(finding.severity) <= SEVERITIES.index(at_least)
    return finding.rule == rule and severe and (finding.role == "origin" or not origins)
