"""The gradient waterfall for the console: one line for each stage, from the loss to the input."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gradscope.renderers.console_page import Page
from gradscope.renderers.picture import Glyphs, bar, caption, finite, left_behind, lost_at, missing, scale, telling
from gradscope.renderers.short_names import shortened_stages
from gradscope.renderers.wording import counted, number
from gradscope.report import Stage, Waterfall

SIDE_BY_SIDE = 130  # from this width on, two steps stand beside each other
LONGEST_BAR = 32
LONGEST_NAME = 28  # where the page is just wide enough for the longest bar
FIXED = 35  # characters of a line that are neither the name nor the bar, "lost here" included
SHORTEST_BAR = 10


def chosen(waterfalls: Sequence[Waterfall]) -> list[Waterfall]:
    """Return the first and the last recorded step that have the same stages, of those in which a gradient was seen."""
    if not waterfalls:
        return []
    seen = [w for w in waterfalls if any(finite(stage.remaining) is not None for stage in w.stages)]
    ordered = sorted(seen or waterfalls, key=lambda waterfall: waterfall.step)
    first, last = ordered[0], ordered[-1]
    same = [stage.name for stage in first.stages] == [stage.name for stage in last.stages]
    return [first, last] if same and first.step < last.step else [last]


def waterfall_picture(waterfalls: Sequence[Waterfall], page: Page, *, at_input: bool = True) -> RenderableType:
    """Return the pictures of `waterfalls`, side by side where the page is wide enough, all on the scale of `bars_text`.

    `at_input`: the last stage is at the network's input, whatever its name.
    """
    width = page.width
    beside = width >= SIDE_BY_SIDE and len(waterfalls) > 1
    each = (width - 4) // 2 if beside else width
    shown = telling(waterfalls)
    decades = scale(waterfalls)
    pictures = [_picture(waterfall, shown, decades, each, page, at_input=at_input) for waterfall in waterfalls]
    if not beside:
        return Group(*[line for picture in pictures for line in (Text(), picture)][1:])
    grid = Table.grid(padding=(0, 4, 0, 0))
    for _ in pictures:
        grid.add_column(width=each)
    grid.add_row(*pictures)
    return grid


def bars_text(waterfalls: Sequence[Waterfall]) -> str:
    """Return between which values the bars run."""
    low, high = scale(waterfalls)
    return f"bars on a log scale from {10.0**low:g} to {10.0**high:g}"


def _picture(
    waterfall: Waterfall, shown: list[int], decades: tuple[int, int], width: int, page: Page, *, at_input: bool
) -> Group:
    glyphs = page.glyphs
    most = max(min(LONGEST_NAME, width - FIXED - SHORTEST_BAR), width - FIXED - LONGEST_BAR, 12)
    names = shortened_stages([page.clean(stage.name) for stage in waterfall.stages], most, glyphs.dots)
    name_width = max((cell_len(names[i]) for i in shown), default=0)
    length = max(1, min(LONGEST_BAR, width - FIXED - name_width))
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=6, no_wrap=True)
    grid.add_column(width=name_width, no_wrap=True)
    grid.add_column(width=7, no_wrap=True, justify="right")
    grid.add_column(no_wrap=True, overflow="ellipsis" if glyphs.dots == "…" else "crop")
    grid.add_row("", "", Text("passes", "dim"), Text("left", "dim"))
    grid.add_row("loss", "", "", f"{bar(1.0, decades, length, glyphs.gate)} 1")
    lost = lost_at(waterfall)
    left = left_behind(waterfall)
    before = -1
    for i in shown:
        if i > before + 1:
            grid.add_row("", "", *_folded(left, before + 1, i, glyphs))
        stage = waterfall.stages[i]
        style = "bold red" if i == lost else "cyan" if stage.kind == "weight" else ""
        name = Text(names[i])
        passes = number(finite(stage.transmission)) if finite(stage.transmission) is not None else "-"
        grid.add_row(stage.kind, name, passes, Text(_left(stage, left[i], decades, length, glyphs, lost=i == lost), style))
        before = i
    title = Text.assemble((f"step {waterfall.step}", "bold"), ": ", page.clean(caption(waterfall, at_input=at_input)))
    return Group(title, grid)


def _left(stage: Stage, left: float | None, decades: tuple[int, int], length: int, glyphs: Glyphs, *, lost: bool) -> str:
    if left is None or finite(stage.remaining) is None:
        return missing(left)
    drawn = bar(left, decades, length, glyphs.gate if stage.kind == "gate" else glyphs.weight)
    return " ".join(part for part in (drawn, number(left), f"{glyphs.lost} lost here" if lost else "") if part)


def _folded(left: Sequence[float | None], first: int, after: int, glyphs: Glyphs) -> tuple[str, str]:
    before, behind = left[first - 1] if first else 1.0, left[after - 1]
    passes = number(behind / before) if before and behind is not None else "-"
    return passes, f"{glyphs.dots} {counted(after - first, 'stage')} not shown"
