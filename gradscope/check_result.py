"""What a check of one recipe says, as data: what stands now, what was expected, and what is different.

The names of the fields are the interface of `gradscope check --format json`. Nothing here needs torch or numpy.
"""

from __future__ import annotations

from typing import Literal

from gradscope.report import Finding, Number, Severity, Verdict
from gradscope.saved_data import SavedPart

Outcome = Literal["as expected", "not as expected", "could not judge", "bad recipe"]
"""Exit codes 0, 1, 3 and 2. Of several recipes: 2 where one is bad, else 1, else 3, else 0."""

Status = Literal["finding", "healthy", "undecided"]
Kind = Literal["verdict", "finding expected", "new finding", "finding gone", "number", "baseline missing", "undecided"]


class Place(SavedPart):
    """Where in a recipe something stands; line and column from 1."""

    file: str
    line: int = 1
    column: int = 1


class Difference(SavedPart):
    """One thing that is not as expected, or not as in the baseline; `text` says it in one line."""

    kind: Kind
    text: str
    place: Place
    fails: bool = True
    """Whether the check fails by it; else it is told only."""
    rule: str | None = None
    code: str | None = None
    severity: Severity | None = None
    site: str | None = None
    statistic: str | None = None
    before: Number | None = None
    after: Number | None = None
    tolerance: Number | None = None


class CheckedRule(SavedPart):
    """What one rule says: `share` is that of the seeds in which its finding stands."""

    rule: str
    code: str
    status: Status
    share: float = 0.0
    sites: list[str] = []
    is_expected: bool = False
    text: str = ""


class CheckResult(SavedPart):
    """A check of one recipe."""

    recipe: str
    """The file, as it was named."""
    name: str = ""
    outcome: Outcome
    message: str = ""
    """For a bad recipe or one that could not be judged: the lines that say why."""
    verdict: Verdict | None = None
    expected: list[str] = []
    differences: list[Difference] = []
    rules: list[CheckedRule] = []
    findings: list[Finding] = []
    """Those that stand in the stated share of seeds; place by `places`."""
    places: dict[str, Place] = {}
    """By site: the line of the recipe that its layer stands in."""
    try_fix: str | None = None
    """The fix that is most likely to help with the origin, to be proved by `gradscope diagnose`."""
    seeds: list[int] = []
    steps: int = 0
    seconds: float = 0.0
    is_fast: bool = False
    baseline: str | None = None
    """The baseline's file, where there is one; `is_updated` where it was written just now."""
    is_updated: bool = False
