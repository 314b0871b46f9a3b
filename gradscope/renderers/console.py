"""The report for someone at a terminal: the verdict first, then the evidence for it, then what to do next."""

from __future__ import annotations

import io
import os
import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import final

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.text import Text

from gradscope.renderers.base import Renderer
from gradscope.renderers.console_findings import finding_blocks, hypothesis_blocks
from gradscope.renderers.console_fixes import fix_notes, fix_table
from gradscope.renderers.console_page import Page
from gradscope.renderers.console_waterfall import bars_text, chosen, waterfall_picture
from gradscope.renderers.verdict import headline, remedy
from gradscope.renderers.wording import basis, confidences, counted, is_watched, origins, seeds_of
from gradscope.report import Report

INDENT = 2
PLAIN_WIDTH = 80  # where COLUMNS says 0, as it does under some terminals that do not know
OWN_CODE = re.compile(r"GS\d{3}")  # rules of third parties have no page to show
VERDICT_STYLES = {"sick": "bold red", "healthy": "bold green", "undecided": "bold yellow"}


@final
class ConsoleRenderer(Renderer):
    """Renders for a terminal of `width` columns, with ANSI colour or as plain text."""

    def __init__(self, width: int = 80, *, color: bool = False, run_folder: Path | None = None) -> None:
        self.width, self.color, self.run_folder = width, color, run_folder

    def render(self, report: Report) -> str:
        """Return the report as the lines of a terminal."""
        stream = io.StringIO()
        system = "truecolor" if self.color else None
        console = Console(file=stream, width=self.width, force_terminal=self.color, color_system=system)  # type: ignore[arg-type]
        print_report(report, console=console, run_folder=self.run_folder)
        return trimmed(stream.getvalue())


def stdout_console() -> Console:
    """Return a console for stdout: no ANSI codes without a terminal or under NO_COLOR, else what rich finds fit."""
    width = PLAIN_WIDTH if os.environ.get("COLUMNS") == "0" else None  # rich would print nothing at all
    return Console(color_system=None if os.environ.get("NO_COLOR") else "auto", width=width)


def print_report(report: Report, *, console: Console, run_folder: Path | None = None) -> None:
    """Print the whole report on `console`, in what its encoding can show; the commands at the end name `run_folder`."""
    page = Page.of(console, INDENT)
    for line in _verdict(report, page):
        console.print(line)
    for title, blocks in _sections(report, page):
        console.print()
        console.print(Text(title, "bold underline"))
        for block in blocks:
            console.print(Padding(block, (0, 0, 0, INDENT)))
    console.print()
    console.print(Text("GO ON WITH", "bold underline"))
    for command in _commands(report, run_folder):  # whole lines, to be copied: never folded
        console.print(page.text(f"{' ' * INDENT}{command}"), soft_wrap=True)


def trimmed(text: str) -> str:
    """Return the text without the blanks with which rich fills its lines; a coloured line may keep some."""
    return "\n".join(line.rstrip(" ") for line in text.split("\n"))


def _verdict(report: Report, page: Page) -> Iterator[RenderableType]:
    yield page.labelled(report.verdict.upper(), VERDICT_STYLES[report.verdict], page.text(headline(report), "bold"))
    found = remedy(report)
    if found:
        yield page.labelled("FIX ", "bold green" if report.recommended else "bold", page.text(found))
    if report.hint:
        yield page.labelled("CODE", "bold", page.text("in a loop of your own"))
        yield from (page.text(f"{' ' * 6}{line}") for line in report.hint.splitlines())
    met = report.expectation.met
    if met is not None:
        expected = f"the recipe expects {', '.join(report.expectation.expected) or 'healthy'}"
        yield page.labelled("AS EXPECTED" if met else "NOT AS EXPECTED", "" if met else "bold yellow", page.text(expected))


def _sections(report: Report, page: Page) -> Iterator[tuple[str, Iterable[RenderableType]]]:
    waterfalls = chosen(report.waterfalls)
    if waterfalls:
        title = "GRADIENT THAT IS LEFT on the way from the loss (above) to the input (below)"
        picture = waterfall_picture(waterfalls, page, at_input=not is_watched(report))
        yield title, [page.text(bars_text(waterfalls), "dim"), picture]
    if report.findings:
        yield "FINDINGS", finding_blocks(report, page)
    if report.hypotheses:
        yield "PUBLISHED EXPLANATIONS, tested on this network", hypothesis_blocks(report.hypotheses, page)
    if report.fixes:
        metric = report.control.metric if report.control else "metric"
        title = f"FIXES, {metric} on the test samples over {counted(seeds_of(report), 'seed')}"
        level = confidences(report)
        method = f"{level}: {report.setting.interval_method}" if report.setting.interval_method else level
        yield title, [fix_table(report, page), *fix_notes(report, page), page.text(method, "dim")]
    yield "WHAT THIS RESTS ON", _basis(report, page)


def _basis(report: Report, page: Page) -> Iterator[RenderableType]:
    for label, text in basis(report):
        yield page.labelled(label.ljust(9), "yellow" if label in ("undecided", "crashed") else "dim", page.text(text))


def _commands(report: Report, run_folder: Path | None) -> Iterator[str]:
    if run_folder is not None:
        run = shlex.quote(str(run_folder))
        yield f"gradscope report {run}"
        if report.recommended:
            yield shlex.join(["gradscope", "diagnose", str(run_folder / "fixed.yaml"), *report.setting.options])
        yield f"tensorboard --logdir {run}"
    codes = [finding.code for finding in [*origins(report), *report.findings] if OWN_CODE.fullmatch(finding.code)]
    yield f"gradscope explain {codes[0]}" if codes else "gradscope explain"  # which lists the rules
