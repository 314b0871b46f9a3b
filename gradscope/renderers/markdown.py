"""The diagnosis as Markdown, for TensorBoard's text panel: tables and headings, no HTML, no column alignment."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import final

from gradscope.cause_text import back, mean, percent, what_was_done
from gradscope.renderers.base import Renderer
from gradscope.renderers.picture import caption, finite, left_behind, missing
from gradscope.renderers.verdict import headline, remedy
from gradscope.renderers.wording import (
    basis,
    confidences,
    decimals,
    evidence,
    fixed,
    interval,
    is_watched,
    listed,
    number,
    origins,
    place,
    placebo_text,
    places,
    verdict_word,
    victims,
)
from gradscope.report import Finding, Report, Waterfall

HOLDS = {True: "holds", False: "does not hold", None: "cannot be told"}
SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")
MOST_STAGES = 60  # rows of the waterfall's table


@final
class MarkdownRenderer(Renderer):
    """Writes the same diagnosis as the console, as a Markdown text."""

    def render(self, report: Report) -> str:
        """Return the report as Markdown."""
        blocks = [f"# {report.verdict.upper()}: {plain(headline(report))}", *_body(report)]
        return "\n\n".join(blocks) + "\n"


def plain(text: str) -> str:
    r"""Return text on one line in which nothing is read as Markdown or HTML.

    >>> plain("[x] a_b|c")
    '\\[x\\] a\\_b\\|c'
    """
    visible = "".join(c if c.isprintable() else " " for c in text)
    return SPECIAL.sub(r"\\\1", visible)


def _body(report: Report) -> Iterator[str]:
    found = remedy(report)
    if found:
        yield f"**Fix:** {plain(found)}"
    if report.hint:
        yield "\n".join(f"    {line}" for line in report.hint.splitlines())
    if report.findings:
        yield "## Findings"
        yield from _findings(report)
    if report.hypotheses:
        yield "## Published explanations"
        rows = [[HOLDS[h.holds], h.name, h.text, evidence(h.evidence)] for h in report.hypotheses]
        yield _table(["", "explanation", "what was seen", "numbers"], rows)
    if report.fixes:
        yield "## Fixes"
        yield _fixes(report)
    if report.waterfalls:
        yield "## Gradient waterfall"
        seen = [w for w in report.waterfalls if any(finite(stage.remaining) is not None for stage in w.stages)]
        last = max(seen or report.waterfalls, key=lambda waterfall: waterfall.step)
        yield f"Step {last.step}: {plain(caption(last, at_input=not is_watched(report)))}"
        yield _waterfall(last)
    yield "## What this rests on"
    yield "\n".join(f"* {plain(f'{label}: {text}')}" for label, text in basis(report))


def _findings(report: Report) -> Iterator[str]:
    starts = origins(report)
    if starts:
        seeds = [] if is_watched(report) else ["seeds"]
        rows = [
            [
                f.code,
                f.rule,
                f.site or "",
                f.severity,
                *(listed(f.seeds) for _ in seeds),
                str(f.first_step),
                evidence(f.evidence),
            ]
            for f in starts
        ]
        yield _table(["origin", "rule", "site", "severity", *seeds, "first step", "evidence"], rows)
        yield "\n".join(f"* {plain(f'{place(f)}: {f.text}. Cause: {f.cause}')}" for f in starts)
        yield from _tried(starts)
    groups = victims(report)
    if groups:
        rows = [[g[0].code, g[0].rule, places(g, 12), g[0].severity] for g in groups]
        yield _table(["victim", "rule", "where", "severity"], rows)


def _tried(starts: Sequence[Finding]) -> Iterator[str]:
    """Yield a table of interventions for each place at which causes were tested."""
    for found in {f.tested.site: f.tested for f in starts if f.tested and f.tested.interventions}.values():
        yield f"### Cause at {plain(found.site)}: {plain(found.cause or f'not established, {found.reason}')}"
        rows = [
            [
                what_was_done(one),
                percent(one.reached),
                f"{mean(one.loss):.3g}" if one.loss else "",
                f"{one.lower_in} of {len(one.loss)}" if one.loss else "",
                back(one),
            ]
            for one in found.interventions
        ]
        title = f"{found.steps} steps from step {found.begin}"
        yield _table([title, "gradient to", "loss", "seeds with a lower loss", ""], rows)


def _fixes(report: Report) -> str:
    digits = decimals(report)
    control = report.control
    rows = [["control", fixed(control.mean, digits) if control else "", "", "", "", ""]]
    for fix in report.fixes:
        effect = fixed(fix.effect, digits, sign=True)
        cost = "" if fix.cost is None else f"{fix.cost:.2f}x"
        rows.append([fix.fix, fixed(fix.mean, digits), effect, interval(fix, digits), verdict_word(fix), cost])
    table = _table(["arm", control.metric if control else "mean", "effect", "interval", "verdict", "cost"], rows)
    placebo = placebo_text(report)
    lines = [plain(confidences(report)), *([] if placebo is None else [plain(f"placebo: {placebo}")])]
    return "\n\n".join([table, *lines])


def _waterfall(waterfall: Waterfall) -> str:
    rows = []
    for stage, left in list(zip(waterfall.stages, left_behind(waterfall), strict=True))[:MOST_STAGES]:
        passes = "-" if finite(stage.transmission) is None else number(stage.transmission)
        rows.append([stage.kind, stage.name, passes, missing(left) if left is None else number(left)])
    table = _table(["stage", "name", "passes", "left"], rows)
    more = len(waterfall.stages) - MOST_STAGES
    return f"{table}\n\n{more} further stages are in report.json." if more > 0 else table


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [" | ".join(titles), " | ".join("---" for _ in titles), *(" | ".join(map(plain, row)) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines)
