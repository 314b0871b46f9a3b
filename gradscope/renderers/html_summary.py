"""The diagnosis as plain HTML, without a script: in a notebook, and in report.html for where scripts may not run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

from gradscope.renderers.html_causes import HEADS, cause_rows, cause_title
from gradscope.renderers.picture import caption, finite, left_behind, missing
from gradscope.renderers.verdict import headline, remedy
from gradscope.renderers.wording import (
    basis,
    decimals,
    evidence,
    fixed,
    interval,
    is_watched,
    listed,
    number,
    origins,
    place,
    verdict_word,
    victims,
)
from gradscope.report import CauseFound, Finding, Report, Waterfall

# Colours that can be read on white and on black, and a word beside each: a notebook may be either.
COLORS = {"sick": "#c2410c", "healthy": "#15803d", "undecided": "#6b7280"}
CELL = "padding:2px 12px 2px 0;text-align:left;vertical-align:top;border:0"
BAR = "display:inline-block;height:.7em;background:#3b82c4"
BAR_WIDTH = 160  # pixels of a bar that is whole
DECADES = 6  # that a bar spans: what is a millionth or less has none
MOST_FINDINGS, MOST_CAUSES = 40, 3
MOST_STAGES = 60  # rows of the waterfall


def html_summary(report: Report) -> str:
    """Return the diagnosis as a fragment of HTML, with its style in place."""
    return "\n".join(
        [
            '<div class="gradscope-summary" style="font-family:system-ui,sans-serif;line-height:1.4;max-width:70em">',
            *_parts(report),
            "</div>\n",
        ]
    )


def _parts(report: Report) -> Iterator[str]:
    color = COLORS[report.verdict]
    yield f'<p><b style="color:{color}">{report.verdict.upper()}</b> {escape(headline(report))}</p>'
    cure = remedy(report)
    if cure:
        yield f"<p><b>Fix:</b> {escape(cure)}</p>"
    if report.findings:
        yield from _findings(report)
    if report.fixes:
        yield _fixes(report)
    seen = [w for w in report.waterfalls if any(finite(stage.remaining) is not None for stage in w.stages)]
    if seen:
        yield _waterfall(max(seen, key=lambda waterfall: waterfall.step), at_input=not is_watched(report))
    rows = [[label, escape(text)] for label, text in basis(report)]
    yield _table("What this rests on", [], rows)


def _findings(report: Report) -> Iterator[str]:
    """Yield the findings, where failures start first, and of those the cause."""
    starts = origins(report)
    ordered = [*starts, *(finding for group in victims(report) for finding in group)]
    yield _table("Findings", ["code", "finding", "role", "since step", "evidence"], map(_finding, ordered[:MOST_FINDINGS]))
    if len(ordered) > MOST_FINDINGS:
        yield f"<p>{len(ordered) - MOST_FINDINGS} further findings are in report.json.</p>"
    tested: list[CauseFound] = []
    for finding in (starts or ordered)[:MOST_CAUSES]:
        yield f"<p>{escape(place(finding))}: {escape(finding.text)}. Cause: {escape(finding.cause)}</p>"
        found = finding.tested
        if found is not None and found not in tested:  # several findings at one place share a cause
            tested.append(found)
            yield _tested(found)


def _tested(found: CauseFound) -> str:
    """Return what interventions showed of a cause; the reason where none was made."""
    if not found.interventions:
        return f"<p>{escape(found.reason)}</p>"
    return _table(cause_title(found), HEADS, [[escape(text) for text in row] for row in cause_rows(found)])


def _finding(finding: Finding) -> list[str]:
    texts = [finding.code, place(finding), finding.role, str(finding.first_step), evidence(finding.evidence)]
    return [escape(text) for text in texts]


def _fixes(report: Report) -> str:
    digits, control = decimals(report), report.control
    rows = [["control", fixed(control.mean, digits) if control else "", "", "", ""]]
    for fix in [*report.fixes, *([report.placebo] if report.placebo else [])]:
        advised = "recommended" if fix.verdict == "works" else "to try"
        name = f"{fix.fix} ({advised})" if fix.fix == report.recommended else fix.fix
        cleared = f"; cleared {listed(fix.cleared)}" if fix.cleared else ""
        effect = fixed(fix.effect, digits, sign=True)
        rows.append([name, fixed(fix.mean, digits), effect, interval(fix, digits), verdict_word(fix) + cleared])
    titles = [
        "arm",
        control.metric if control else "mean",
        "effect",
        f"{100 * report.fixes[0].confidence:g} % interval",
        "verdict",
    ]
    return _table("Fixes", titles, [[escape(text) for text in row] for row in rows])


def _waterfall(waterfall: Waterfall, *, at_input: bool) -> str:
    rows = []
    for stage, left in list(zip(waterfall.stages, left_behind(waterfall), strict=True))[:MOST_STAGES]:
        passes = "-" if finite(stage.transmission) is None else number(stage.transmission)
        text = missing(left) if left is None else number(left)
        rows.append(
            [stage.kind, escape(stage.name), passes, f'<span style="{BAR};width:{_bar(left)}px"></span> {escape(text)}']
        )
    title = f"Gradient waterfall at step {waterfall.step}: {caption(waterfall, at_input=at_input)}"
    return _table(title, ["stage", "name", "passes", "left (log scale)"], rows)


def _bar(left: float | None) -> int:
    """Return the bar's width in pixels: whole at 1, none at a millionth."""
    if left is None or left <= 0:
        return 0
    return round(BAR_WIDTH * min(1.0, max(0.0, 1 + math.log10(left) / DECADES)))


def _table(title: str, titles: Sequence[str], rows: Iterator[list[str]] | Sequence[Sequence[str]]) -> str:
    """Return a table; the cells are HTML already, the titles are not."""
    head = "".join(f'<th style="{CELL}">{escape(name)}</th>' for name in titles)
    body = "\n".join("<tr>" + "".join(f'<td style="{CELL}">{cell}</td>' for cell in row) + "</tr>" for row in rows)
    heading = f"<p><b>{escape(title)}</b></p>"
    return f'{heading}\n<table style="border-collapse:collapse;font-size:.92em">\n<tr>{head}</tr>\n{body}\n</table>'
