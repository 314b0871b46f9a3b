"""What a failed check says in a test's output: the diagnosis in a few lines, the first of which is enough to know."""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.check_result import CheckResult, Difference
from gradscope.renderers.check_problems import KINDS, clean
from gradscope.renderers.wording import counted, evidence, listed, place
from gradscope.report import Finding
from gradscope.rules import RULES

MOST_DIFFERENCES = 12
UPDATE = "where the change is meant: pytest --gradscope-update"


def message(result: CheckResult) -> str:
    """Return the lines for a check that is not as expected; the first one stands in pytest's summary, too."""
    return "\n".join([clean(f"gradscope: {_headline(result)}"), *(f"  {clean(line)}" for line in _details(result))])


def why_not_judged(result: CheckResult) -> str:
    """Return one line for a check that could not judge."""
    lines = filter(None, map(str.strip, result.message.splitlines()))
    if result.outcome == "bad recipe":
        return clean(f"gradscope_check: {'; '.join(lines)}")
    told = "; ".join(line.removeprefix(f"{result.recipe}: could not judge: ") for line in lines)
    return clean(f"gradscope_check: could not judge: {told}")


def _headline(result: CheckResult) -> str:
    failing = _failing(result)
    absent = [one.rule for one in failing if one.kind == "finding expected" and one.rule]
    if absent:
        return f"{listed(absent)} was expected and not found; the verdict is {result.verdict}"
    new = [one for one in failing if one.kind == "new finding"]
    if new:
        first = next((finding for finding in _chain(result, "origin") if finding.rule in {one.rule for one in new}), None)
        what = place(first) if first else f"{new[0].rule} at {new[0].site}"
        return f"{what}{_more(len(new), 'finding')}; expected {listed(result.expected) or 'no error'}"
    return f"{failing[0].text}{_more(len(failing), 'difference')}" if failing else result.outcome


def _more(count: int, noun: str) -> str:
    return f", {counted(count - 1, f'more {noun}')}" if count > 1 else ""


def _failing(result: CheckResult) -> list[Difference]:
    return sorted((one for one in result.differences if one.fails), key=lambda one: KINDS.index(one.kind))


def _chain(result: CheckResult, role: str) -> list[Finding]:
    """Return the origins, or the victims, above notes, which explain no failure; they are sorted worst first."""
    return [finding for finding in result.findings if finding.role == role and finding.severity != "note"]


def _details(result: CheckResult) -> Iterator[str]:
    origins = _chain(result, "origin")
    for finding in origins[:1]:
        yield f"origin: {finding.code} {place(finding)}, {_standing(finding, result)}: {finding.text}"
        yield f"cause: {finding.cause}"
        yield f"evidence: {evidence(finding.evidence)}"
    if origins[1:]:
        yield f"also: {listed([place(finding) for finding in origins[1:]], 3)}"
    if victims := _chain(result, "victim"):
        yield f"victims: {listed([place(finding) for finding in victims], 4)}"
    yield from _changes(result, {(finding.rule, finding.site) for finding in origins})
    if origins:
        yield f"to try: {_remedies(origins[0])}"
        yield f"more: gradscope explain {origins[0].code}"
    seeds = f"{counted(len(result.seeds), 'seed')} ({listed(result.seeds)})"
    yield f"trained: {counted(result.steps, 'step')}, {seeds}, {result.seconds:.1f} s"


def _changes(result: CheckResult, told: set[tuple[str, str | None]]) -> Iterator[str]:
    """Yield what is not as expected, but for findings that stand above; with a baseline, all that differs from it."""
    failing = [one for one in _failing(result) if result.baseline or (one.rule, one.site) not in told]
    yield from (one.text for one in failing[:MOST_DIFFERENCES])
    if failing[MOST_DIFFERENCES:]:
        yield f"and {counted(len(failing) - MOST_DIFFERENCES, 'difference')} more"
    if result.baseline:
        yield f"baseline: {result.baseline}; {UPDATE}"


def _standing(finding: Finding, result: CheckResult) -> str:
    since = f"from step {finding.first_step}"
    seeds = len(result.seeds)
    return since if seeds == 1 else f"in {len(finding.seeds)} of {counted(seeds, 'seed')}, {since}"


def _remedies(finding: Finding) -> str:
    named = next((rule.remedies() for rule in RULES if rule.code == finding.code), "")
    return f"{named[:1].lower()}{named[1:]}" if named else "see the rule's page"
