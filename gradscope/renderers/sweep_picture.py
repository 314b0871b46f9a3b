"""A sweep's heat map as SVG: every cell's mean written in it, coloured by it, a corner for the seeds that collapsed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from xml.sax.saxutils import escape

from gradscope.cell_factors import cell_text
from gradscope.renderers.heat_colors import VIRIDIS, Color, Scale, text_color
from gradscope.renderers.sweep_layout import HeatMap, Panel, heat_map
from gradscope.renderers.wording import counted
from gradscope.sweep_report import CellRow, SweepResult

PICTURE_FILE = "heatmap.svg"

MARGIN, GAP = 16, 24
HEIGHT, NARROWEST, WIDEST = 20, 46, 96  # of a cell, in pixels
LETTER, BOLD_LETTER, TITLE_LETTER = 6.4, 7.0, 9.2  # widths of a character at 11 px and in the title, a little above the mean
HEAD = 74  # title, what the marks mean, legend
TITLES = 44  # panel title, column title and columns above the cells
PAGE, LEAST_PAGE = 1500, 560  # panels stand side by side up to this width
CORNER = 9  # side of the corner of a cell all of whose seeds collapsed
CROSS = 6  # side of the cross in a cell some of whose seeds diverged
LEGEND = 220

STYLE = """
  svg { background: #fff; font: 11px system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; }
  text { fill: #1f2328; }
  .title { font-size: 15px; font-weight: 600; }
  .dim { fill: #59636e; }
  .value { text-anchor: middle; font-variant-numeric: tabular-nums; }
  .row { text-anchor: end; }
  .column { text-anchor: middle; }
  .none { fill: none; stroke: #afb8c1; stroke-dasharray: 2 2; }
  .cross { fill: none; stroke: #e5484d; stroke-width: 2; }
  .corner { fill: #e5484d; stroke: #fff; stroke-width: 1; }
  @media (prefers-color-scheme: dark) {
    svg { background: #0d1117; }
    text { fill: #e6edf3; }
    .dim { fill: #9198a1; }
    .none { stroke: #4b535d; }
  }
"""


def sweep_picture(result: SweepResult) -> str:
    """Return the heat map as a stand-alone SVG; it follows the reader's light or dark page."""
    found = heat_map(result)
    scale = Scale.of(row.mean for row in result.rows)
    frame = _Frame(found, _headline(result))
    width, height = frame.size()
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">',
        f"<title>{escape(_headline(result))}</title>",
        f"<style>{STYLE}</style>",
        *_head(result, scale),
    ]
    for i, panel in enumerate(found.panels):
        x, y = frame.place(i)
        parts.append(f'<g transform="translate({x} {y})">')
        parts += [*_titles(found, panel, frame, with_rows=i % frame.abreast == 0), *_cells(panel, frame, scale)]
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


class _Frame:
    """Where panels, labels and cells are, in pixels; the panels of one band share the labels of their rows."""

    def __init__(self, found: HeatMap, headline: str) -> None:
        longest = max(map(len, found.columns), default=0)
        self.cell = min(WIDEST, max(NARROWEST, round(longest * LETTER) + 8))
        self.labels = round(max(map(len, (*found.rows, found.row_title))) * LETTER) + 10
        titles = max([len(found.column_title) * LETTER, *(len(panel.title) * BOLD_LETTER for panel in found.panels)])
        self.width = max(self.cell * len(found.columns), round(titles))
        self.height = TITLES + HEIGHT * len(found.rows)
        self.panels = len(found.panels)
        self.least = max(LEAST_PAGE, 2 * MARGIN + round(len(headline) * TITLE_LETTER))
        self.abreast = max(1, min(self.panels, (PAGE - 2 * MARGIN - self.labels + GAP) // (self.width + GAP)))

    def place(self, panel: int) -> tuple[int, int]:
        """Return the upper left corner of a panel's cells and titles."""
        band, column = divmod(panel, self.abreast)
        return MARGIN + self.labels + column * (self.width + GAP), HEAD + band * (self.height + GAP)

    def size(self) -> tuple[int, int]:
        """Return width and height of the whole picture."""
        width = 2 * MARGIN + self.labels + self.abreast * (self.width + GAP) - GAP
        return max(width, self.least), HEAD + math.ceil(self.panels / self.abreast) * (self.height + GAP)


def _headline(result: SweepResult) -> str:
    seeds = max((len(row.seeds) for row in result.rows), default=0)
    if not seeds:
        return f"{result.recipe}: {counted(len(result.rows), 'cell')}, none of them trained yet"
    what = f"mean {result.metric} of {seeds} seeds" if seeds > 1 else result.metric
    return f"{result.recipe}: {what}, in per cent, {counted(len(result.rows), 'cell')}"


def _head(result: SweepResult, scale: Scale) -> Iterator[str]:
    yield f'<text class="title" x="{MARGIN}" y="26">{escape(_headline(result))}</text>'
    y = 40
    x = MARGIN
    if any(row.seeds for row in result.rows):  # else there is nothing that the colours would be of
        yield f'<g transform="translate({MARGIN} {y})">'
        yield from _legend(scale)
        yield "</g>"
        x += LEGEND + 40
    if any(row.collapsed for row in result.rows):
        yield f'<path class="corner" d="M{x} {y} h{CORNER} v{CORNER} z"/>'
        yield f'<text class="dim" x="{x + CORNER + 6}" y="{y + 9}">seeds that collapsed; full size: all of them</text>'
    if any(not row.seeds for row in result.rows):
        yield f'<rect class="none" x="{x}" y="{y + 14}" width="12" height="9"/>'
        yield f'<text class="dim" x="{x + CORNER + 6}" y="{y + 22}">not trained yet</text>'
        x += 120
    if any(row.diverged for row in result.rows):
        yield _cross(x, y + 14)
        yield f'<text class="dim" x="{x + CORNER + 6}" y="{y + 22}">seeds that diverged</text>'


def _legend(scale: Scale) -> Iterator[str]:
    yield '<linearGradient id="scale">'
    for i, color in enumerate(VIRIDIS):
        yield f'<stop offset="{i / (len(VIRIDIS) - 1):g}" stop-color="{_hex(color)}"/>'
    yield f'</linearGradient><rect width="{LEGEND}" height="9" fill="url(#scale)"/>'
    for tick in scale.ticks():
        at = scale.place(tick)
        anchor = "start" if at == 0 else "end" if at == 1 else "middle"
        yield f'<text class="dim" x="{at * LEGEND:.0f}" y="21" text-anchor="{anchor}">{_value(tick)}</text>'


def _titles(found: HeatMap, panel: Panel, frame: _Frame, *, with_rows: bool) -> Iterator[str]:
    if panel.title:
        yield f'<text y="10" font-weight="600">{escape(panel.title)}</text>'
    yield f'<text class="dim" y="24">{escape(found.column_title)}</text>'
    for i, name in enumerate(found.columns):
        yield f'<text class="column" x="{(i + 0.5) * frame.cell:g}" y="38">{escape(name)}</text>'
    if with_rows:
        yield f'<text class="dim row" x="-6" y="38">{escape(found.row_title)}</text>'
        for i, name in enumerate(found.rows):
            yield f'<text class="row" x="-6" y="{TITLES + i * HEIGHT + 14}">{escape(name)}</text>'


def _cells(panel: Panel, frame: _Frame, scale: Scale) -> Iterator[str]:
    for (row, column), cell in sorted(panel.cells.items(), key=lambda item: item[0]):
        x, y = column * frame.cell, TITLES + row * HEIGHT
        box = f'x="{x}" y="{y}" width="{frame.cell - 1}" height="{HEIGHT - 1}"'
        yield f"<g><title>{escape(_told(cell))}</title>"
        if not cell.seeds or not math.isfinite(cell.mean):
            yield f'<rect class="none" {box}/></g>'
            continue
        color = scale.color(cell.mean)
        ink = text_color(color)
        yield f'<rect {box} fill="{_hex(color)}"/>'
        yield f'<text class="value" x="{x + frame.cell / 2:g}" y="{y + 14}" style="fill:{ink}">{_value(cell.mean)}</text>'
        if cell.collapsed:
            side = round(CORNER * math.sqrt(cell.collapsed_frac), 1)  # the area is the share
            yield f'<path class="corner" d="M{x + frame.cell - 1 - side:g} {y} h{side} v{side} z"/>'
        if cell.diverged:
            yield _cross(x + 3, y + 3)
        yield "</g>"


def _cross(x: int, y: int) -> str:
    return f'<path class="cross" d="M{x} {y} l{CROSS} {CROSS} m0 {-CROSS} l{-CROSS} {CROSS}"/>'


def _told(cell: CellRow) -> str:
    """Return what is shown when the mouse is on a cell."""
    if not cell.seeds:
        return f"{cell_text(cell.factors)}: not trained yet"
    spread = f" +- {_value(cell.std)}" if math.isfinite(cell.std) else ""
    lines = [f"{cell_text(cell.factors)}: {_value(cell.mean)}{spread} over {counted(len(cell.seeds), 'seed')}"]
    if cell.missing:
        lines.append(f"{len(cell.missing)} not trained yet")
    if cell.collapsed:
        lines.append(f"collapsed: {len(cell.collapsed)} of {len(cell.seeds)}")
    if cell.diverged:
        lines.append(f"diverged, no finite numbers: {len(cell.diverged)} of {len(cell.seeds)}")
    lines += [
        f"{f.rule}{f' at {f.site}' if f.site else ''}, {len(f.seeds)} seeds" for f in cell.findings if f.severity == "error"
    ]
    return "\n".join(lines)


def _value(share: float) -> str:
    return f"{100 * share:.1f}"


def _hex(color: Color) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)
