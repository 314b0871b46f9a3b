"""What every format tells of a check: its problems, worst first, as text that is safe to print, with the place of each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Literal

from gradscope.check_result import CheckResult, Difference, Kind, Outcome, Place
from gradscope.report import Finding

Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")
OUTCOMES: tuple[Outcome, ...] = ("bad recipe", "not as expected", "could not judge", "as expected")  # worst first

BAD_RECIPE, NOT_AS_EXPECTED, COULD_NOT_JUDGE, _ = OUTCOMES
KINDS: tuple[Kind, ...] = (  # what says most first
    "new finding", "finding expected", "verdict", "finding gone", "undecided", "baseline missing", "number",
)  # fmt: skip
FAULT = re.compile(r"(?P<file>.+?):(?P<line>[1-9]\d*):(?P<column>[1-9]\d*): (?P<text>.+)")
LONGEST_TITLE = 100
LINE_OF_SITE = re.compile(r"(@[^@#]*):\d+")  # `block.relu@model.py:31#2`


@dataclass(frozen=True)
class Problem:
    """One thing to tell: an error fails the check, a warning or a note does not."""

    level: Level
    kind: str
    """The difference's; else the outcome."""
    title: str
    text: str
    place: Place
    code: str | None = None
    rule: str | None = None
    site: str | None = None
    statistic: str | None = None
    details: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The rule's code, else the kind with hyphens."""
        return self.code or self.kind.replace(" ", "-")

    @property
    def headed_text(self) -> str:
        """The text, with its title before it where it does not name the rule itself."""
        is_named = not self.rule or self.text == self.title or self.rule in self.text or (self.code or self.rule) in self.text
        return self.text if is_named else f"{self.title}: {self.text}"

    @property
    def key(self) -> str:
        """What names the problem and stays the same when lines move and numbers change."""
        site = LINE_OF_SITE.sub(r"\1", self.site or "")
        about = self.text if self.kind == BAD_RECIPE else ""
        return "\n".join((self.kind, self.code or self.rule or "", site, self.statistic or "", about))


def problems(result: CheckResult) -> list[Problem]:
    """Return what is to be told of one recipe, worst first; a check that failed has at least one error."""
    found = [*_faults(result), *_differences(result)]
    if result.outcome != "as expected" and not any(problem.level == "error" for problem in found):
        found.insert(0, _unexplained(result))
    return sorted(found, key=lambda problem: LEVELS.index(problem.level))  # stable: see _differences


def clean(text: str) -> str:
    r"""Return text on one line without what harms a terminal, XML or a stream in UTF-8.

    >>> clean("z\n\x1b[31m ≤ 0\udc80")
    'z ?[31m ≤ 0?'
    """
    return "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in text)


def tally(results: Sequence[CheckResult]) -> str:
    """Return how many recipes had which outcome, worst first.

    >>> tally([])
    'no recipe was checked'
    >>> tally([CheckResult(recipe="a", outcome="as expected"), CheckResult(recipe="b", outcome="bad recipe")])
    '2 recipes: 1 bad recipe, 1 as expected'
    """
    if not results:
        return "no recipe was checked"
    counts = {outcome: sum(result.outcome == outcome for result in results) for outcome in OUTCOMES}
    told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
    noun = "recipe" if len(results) == 1 else "recipes"
    return f"{len(results)} {noun}: {told}"


def conditions(result: CheckResult) -> str:
    """Return what the outcome rests on: the verdict, seeds and steps, how long it took."""
    seeds = f"{len(result.seeds)} {'seed' if len(result.seeds) == 1 else 'seeds'}" if result.seeds else ""
    steps = "before the first step" if result.is_fast else f"{result.steps} steps" if result.steps else ""
    parts = [result.verdict or "", seeds, steps, f"{result.seconds:.1f} s" if result.seconds else ""]
    if result.is_updated:
        parts.append(f"wrote {result.baseline}" if result.baseline else "wrote the baseline")
    return clean(", ".join(part for part in parts if part))


def _faults(result: CheckResult) -> Iterator[Problem]:
    """Yield one error for each line of the message of a bad recipe or of one that could not be judged."""
    if result.outcome not in (BAD_RECIPE, COULD_NOT_JUDGE):
        return
    for line in filter(None, map(str.strip, result.message.splitlines())):
        found = FAULT.fullmatch(line)
        if found:
            place, text = Place(file=found["file"], line=int(found["line"]), column=int(found["column"])), found["text"]
        else:
            place, text = Place(file=result.recipe), line.removeprefix(f"{result.recipe}: ")
        yield Problem("error", result.outcome, result.outcome, clean(text), place)


def _differences(result: CheckResult) -> Iterator[Problem]:
    told: set[tuple[str, str | None]] = set()
    advised = False
    for difference in sorted(result.differences, key=lambda difference: (not difference.fails, KINDS.index(difference.kind))):
        finding = _finding(difference, result)
        details: list[str] = []
        if finding and (finding.rule, finding.site) not in told:
            told.add((finding.rule, finding.site))
            details = [finding.text, finding.cause and f"Cause: {finding.cause}"]
        if difference.fails and not advised and (finding is None or finding.role == "origin"):
            details += _advice(result, finding)
            advised = True
        yield Problem(
            _level(difference),
            difference.kind,
            clean(_title(difference)),
            clean(difference.text) or clean(_title(difference)),
            difference.place,
            difference.code,
            difference.rule,
            difference.site,
            difference.statistic,
            tuple(clean(detail) for detail in details if detail and detail != difference.text),
        )


def _unexplained(result: CheckResult) -> Problem:
    return Problem(
        "error", result.outcome, result.outcome, f"{result.outcome}, and no reason was given", Place(file=result.recipe)
    )


def _level(difference: Difference) -> Level:
    if difference.fails:
        return "error"
    return "warning" if difference.severity in ("error", "warning") else "note"


def _title(difference: Difference) -> str:
    """Return what it is about in a few words, such as `GS103 output-collapse at 3.relu`."""
    rule = " ".join(filter(None, (difference.code, difference.rule)))
    what = " ".join(filter(None, (rule, difference.statistic if difference.kind == "number" else None)))
    title = f"{what or difference.kind} at {difference.site}" if difference.site else what or difference.kind
    return title if len(title) <= LONGEST_TITLE else f"{title[: LONGEST_TITLE - 3]}..."


def _finding(difference: Difference, result: CheckResult) -> Finding | None:
    """Return the finding that a difference is about; for a changed verdict, the one that it starts with."""
    if difference.kind == "new finding":
        same = [f for f in result.findings if difference.rule in (f.rule, None)]
        return next((f for f in same if f.site == difference.site), same[0] if same and difference.site is None else None)
    if difference.kind == "verdict":
        return next((f for f in result.findings if f.role == "origin" and f.severity == "error"), None)
    return None


def _advice(result: CheckResult, finding: Finding | None) -> Iterator[str]:
    if result.try_fix:
        yield f"To try: {result.try_fix}; `gradscope diagnose {quote(result.recipe)}` measures what it does"
    if finding and re.fullmatch(r"GS\d{3}", finding.code):  # rules of third parties have no page to show
        yield f"`gradscope explain {finding.code}` has the rule's page"
