"""Checks for someone at a terminal or reading a log: one line for what is as expected, and the reasons for what is not."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from shlex import quote

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.text import Text

from gradscope.check_result import CheckResult, Outcome
from gradscope.renderers.check_problems import Level, Problem, clean, conditions, problems, tally
from gradscope.renderers.console_page import Page

INDENT = 2
OUTCOME_STYLES: dict[Outcome, str] = {
    "bad recipe": "bold red", "not as expected": "bold red", "could not judge": "bold yellow", "as expected": "green",
}  # fmt: skip
LEVEL_STYLES: dict[Level, str] = {"error": "bold red", "warning": "yellow", "note": "dim"}
EXPECTED_KINDS = ("new finding", "finding expected")  # a baseline that contradicts `expect:` is not written
HINT = "gradscope check --update"
LABEL_WIDTH = max(map(len, OUTCOME_STYLES))


def render(results: Sequence[CheckResult], *, color: bool = False, ascii: bool = False, width: int = 80) -> str:
    """Return the checks as lines of a terminal of `width` columns; with `ascii`, other characters become question marks.

    Each problem starts with `file:line:column:`, which editors make a link of; what says where is never folded.
    """
    stream = io.StringIO()
    console = Console(
        file=stream, width=width, force_terminal=color, color_system="standard" if color else None,
        legacy_windows=False, _environ={},
    )  # fmt: skip  # the caller has asked the environment
    page = Page(width, "ascii" if ascii else "utf-8")
    for result in results:
        for line in _result(result, page):
            console.print(line, soft_wrap=isinstance(line, Text))
    if results:
        console.print()
    console.print(Text(tally(results), "bold"), soft_wrap=True)
    return "\n".join(line.rstrip(" ") for line in stream.getvalue().split("\n"))


def _result(result: CheckResult, page: Page) -> Iterator[RenderableType]:
    label = Text(result.outcome.upper().ljust(LABEL_WIDTH), OUTCOME_STYLES[result.outcome])
    about = conditions(result)
    yield Text.assemble(label, "  ", (page.clean(result.recipe), "bold"), (page.clean(f"  {about}" if about else ""), "dim"))
    found = problems(result)
    for problem in found:
        yield from _problem(problem, page)
    if result.baseline and result.outcome == "not as expected" and not result.is_updated:
        contradicted = any(problem.level == "error" and problem.kind in EXPECTED_KINDS for problem in found)
        hint = f"let `expect:` say so, then {HINT}" if contradicted else HINT
        yield Text.assemble(" " * INDENT, (page.clean(f"Where the change is meant: {hint} {quote(result.recipe)}"), "dim"))


def _problem(problem: Problem, page: Page) -> Iterator[RenderableType]:
    place = f"{clean(problem.place.file)}:{problem.place.line}:{problem.place.column}: "
    where = Text.assemble(" " * INDENT, (page.clean(place), "dim"), (f"{problem.level}: ", LEVEL_STYLES[problem.level]))
    yield where.append(page.clean(problem.headed_text))
    for detail in problem.details:
        yield Padding(page.text(detail), (0, 0, 0, 2 * INDENT))
