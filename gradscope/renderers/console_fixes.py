"""The trial for the console: the control and every fix in one table, intervals drawn against zero."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from gradscope.renderers.console_page import Page
from gradscope.renderers.picture import effect_axis, whisker
from gradscope.renderers.wording import (
    better_in,
    decimals,
    fixed,
    interval,
    left_open,
    listed,
    placebo_text,
    remains,
    verdict_word,
)
from gradscope.report import FixOutcome, FixVerdict, Report

RESEED = "reseed"
LONGEST_WHISKER = 40
LONGEST_NAME, LONGEST_NAME_ON_A_WIDE_PAGE = 16, 24  # longer names are folded onto a second line
WIDE = 100  # characters
VERDICT_STYLES: dict[FixVerdict, str] = {"works": "bold green", "no effect": "", "harms": "bold red", "inconclusive": "yellow"}


def fix_table(report: Report, page: Page) -> Table:
    """Return the table: control first, then each fix with effect, interval as numbers and as a picture, verdict and cost."""
    digits = decimals(report)
    axis = effect_axis(report.fixes)
    intervals = [interval(fix, digits) for fix in report.fixes]
    longest_name = LONGEST_NAME if page.width < WIDE else LONGEST_NAME_ON_A_WIDE_PAGE
    name_width = min(longest_name, max(len(fix.fix) for fix in report.fixes))
    numbers = (digits + 4) + (digits + 4) + max(map(len, intervals)) + max(len(verdict_word(fix)) for fix in report.fixes) + 5
    length = max(11, min(LONGEST_WHISKER, page.width - name_width - numbers - 6))
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(width=max(name_width, len("control")), overflow="fold")
    for _ in range(2):
        table.add_column(justify="right", no_wrap=True, min_width=digits + 4)
    table.add_column(width=length, no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, justify="right")
    table.add_row(*(Text(title, "dim") for title in ("", "mean", "effect", _axis_title(axis, length, digits), "", "", "cost")))
    mean = fixed(report.control.mean, digits) if report.control else ""
    table.add_row("control", Text(mean), "", Text(whisker(None, axis, length, page.glyphs), "dim"), "", "", "1.00x")
    for fix, text in zip(report.fixes, intervals, strict=True):
        table.add_row(
            page.text(fix.fix, "bold" if fix.fix == report.recommended else ""),
            Text(fixed(fix.mean, digits)),
            Text(fixed(fix.effect, digits, sign=True)),
            Text(whisker(fix, axis, length, page.glyphs), VERDICT_STYLES[fix.verdict]),
            Text(text),  # a plain string in brackets would be read as markup
            Text(verdict_word(fix), VERDICT_STYLES[fix.verdict]),
            "" if fix.cost is None else f"{fix.cost:.2f}x",
        )
    return table


def fix_notes(report: Report, page: Page) -> Iterator[Text]:
    """Yield for each fix what it changes, which findings went away and which stayed."""
    for fix in report.fixes:
        seeds = better_in(fix, report) if fix.better_in is not None and fix.fix != RESEED else ""  # whose seeds are others
        parts = [fix.summary, seeds, _beside(fix, report), _after(fix), left_open(fix)]
        text = "; ".join(part for part in parts if part)
        if text:
            yield Text.assemble((page.clean(fix.fix), "bold"), f": {page.clean(text)}")
    if (placebo := placebo_text(report)) is not None:
        yield Text.assemble(("placebo", "bold"), f": {page.clean(placebo)}")


def _beside(fix: FixOutcome, report: Report) -> str:
    """Return the control's mean in a fix's own seeds, where the control went on to more of them: its row is of all."""
    if report.control is None or fix.control_mean is None or len(fix.values) >= len(report.control.values) or fix.fix == RESEED:
        return ""
    return f"the control's mean in these is {fixed(fix.control_mean, decimals(report))}"


def _after(fix: FixOutcome) -> str:
    cleared = f"cleared {listed(fix.cleared)}" if fix.cleared else ""
    return "; ".join(part for part in (cleared, remains(fix.remaining)) if part)


def _axis_title(axis: tuple[float, float], width: int, digits: int) -> str:
    low, high = (fixed(end, digits, sign=True) if end else "0" for end in axis)
    zero = round(-axis[0] / (axis[1] - axis[0]) * (width - 1))
    between = " " * max(1, width - len(low) - len(high))
    line = f"{low}{between}{high}"[:width]
    free = len(low) < zero < width - len(high) - 1
    return f"{line[:zero]}0{line[zero + 1 :]}" if free else line
