"""Findings and hypotheses for the console: where it starts with its evidence, then what follows from it."""

from __future__ import annotations

from collections.abc import Iterator

from rich.padding import Padding
from rich.text import Text

from gradscope.renderers.console_causes import cause_blocks
from gradscope.renderers.console_page import Page
from gradscope.renderers.wording import counted, evidence, listed, origins, place, places, standing, victims
from gradscope.report import Finding, Hypothesis, Report, Severity

MOST_IN_DETAIL = 6  # origins with text and evidence; further ones get a line each group
MOST_SITES = 12  # victims of one rule that are named
SEVERITY_STYLES: dict[Severity, str] = {"error": "bold red", "warning": "yellow", "note": "dim"}
HOLDS = {True: ("holds", "bold"), False: ("does not hold", ""), None: ("cannot be told", "yellow")}


def finding_blocks(report: Report, page: Page) -> Iterator[Padding | Text]:
    """Yield one block for each origin, then one for the victims of each rule, indented under them."""
    starts = origins(report)
    causes: set[str] = set()
    for finding in starts[:MOST_IN_DETAIL]:
        is_new = finding.cause not in causes
        yield from _origin(finding, report, page, cause=_cause(finding) if is_new else "as above")
        if finding.tested and is_new:
            for block in cause_blocks(finding.tested, page):
                yield Padding(block, (0, 0, 0, 4))
        causes.add(finding.cause)
    rest = starts[MOST_IN_DETAIL:]
    if rest:
        yield page.text(f"{counted(len(rest), 'further origin')}: {listed([place(f) for f in rest], MOST_SITES)}")
    followers = victims(report)
    if followers:
        yield Text("What follows from it:" if starts else "Victims, with no origin found:", "dim")
    for group in followers:
        yield _indented(_victims(group, report, page), 2)


def hypothesis_blocks(hypotheses: list[Hypothesis], page: Page) -> Iterator[Padding | Text]:
    """Yield for each published hypothesis whether it holds, and the numbers that say so."""
    for hypothesis in hypotheses:
        word, style = HOLDS[hypothesis.holds]
        yield Text.assemble((word.upper(), style), "  ", (page.clean(hypothesis.name), "bold"))
        if hypothesis.text:
            yield _indented(page.text(hypothesis.text), 4)
        if hypothesis.evidence:
            yield _indented(page.text(evidence(hypothesis.evidence), "dim"), 4)


def _origin(finding: Finding, report: Report, page: Page, *, cause: str) -> Iterator[Padding | Text]:
    yield Text.assemble(
        ("ORIGIN ", "bold"),
        (f" {finding.code} ", "cyan"),
        (page.clean(place(finding)), "bold"),
        "  ",
        (finding.severity, SEVERITY_STYLES[finding.severity]),
        f", {standing(finding, report)}",
    )
    numbers = "Evidence (medians over the seeds): " if len(finding.seeds) > 1 else "Evidence: "  # the text is about one seed
    for label, text in (("", finding.text), ("Cause: ", finding.cause and cause), (numbers, evidence(finding.evidence))):
        if text:
            yield _indented(Text.assemble((label, "dim"), page.clean(text)), 4)


def _cause(finding: Finding) -> str:
    """Return the cause, without the numbers that stand below it anyway."""
    found = finding.tested
    if found and found.cause and found.interventions:
        return f"{found.cause}, by intervention: see below"
    return finding.cause.removeprefix("cause ")  # not established: the label has that word


def _victims(group: list[Finding], report: Report, page: Page) -> Text:
    first = group[0]
    seeds = sorted({seed for finding in group for seed in finding.seeds})
    step = min(finding.first_step for finding in group)
    whole = first.model_copy(update={"seeds": seeds, "first_step": step})
    return Text.assemble(
        ("victim ", "dim"),
        (f" {first.code} ", "cyan"),
        page.clean(f"{first.rule} {places(group, MOST_SITES)}"),
        "  ",
        (first.severity, SEVERITY_STYLES[first.severity]),
        f", {standing(whole, report)}",
    )


def _indented(text: Text, columns: int) -> Padding:
    return Padding(text, (0, 0, 0, columns))
