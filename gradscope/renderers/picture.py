"""Pictures made of characters: the gradient waterfall's bars and an interval's whisker, in Unicode or plain ASCII."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gradscope.report import FixOutcome, Stage, Waterfall

MOST_STAGES = 24  # a picture longer than a screen is no picture: of more stages, `KEPT` are shown and the rest folded
KEPT = 14
ENDS = 2  # stages kept at either end of a folded picture
STANDS_OUT = 3.0  # times the median stage's change, in logs
SMALLEST = 1e-12  # the log scale ends there
MOST_OF_IT = 0.5  # a stage is where the gradient is lost if it takes this share of the whole fall, in logs
FALL = 0.1  # an end-to-end share above this is no fall to speak of


@dataclass(frozen=True)
class Glyphs:
    """The characters of the pictures."""

    gate: str
    weight: str
    lost: str
    low: str
    high: str
    line: str
    point: str
    zero: str
    dots: str


UNICODE = Glyphs("█", "▒", "◄", "├", "┤", "─", "●", "│", "…")
ASCII = Glyphs("#", "=", "<-", "[", "]", "-", "o", "|", "...")


def finite(value: float | None) -> float | None:
    """Return the value, or None for NaN and infinities."""
    return value if value is not None and math.isfinite(value) else None


def lost_at(waterfall: Waterfall) -> int | None:
    """Return the stage that lets nothing through or takes most of a fall by itself; None where there is no such stage."""
    falls = [_fall(stage) for stage in waterfall.stages]
    if not falls:
        return None
    worst = max(range(len(falls)), key=falls.__getitem__)
    if math.isinf(falls[worst]):
        return worst
    total = sum(falls)
    return worst if total > -math.log(FALL) and falls[worst] >= MOST_OF_IT * total else None


def caption(waterfall: Waterfall) -> str:
    """Return in words what the picture of the waterfall shows."""
    if all(finite(stage.remaining) is None for stage in waterfall.stages):
        return "no gradient arrives at the first stage"
    left = [finite(stage.remaining) for stage in waterfall.stages]
    end = 0.0 if None in left else left[-1] or 0.0
    lost = lost_at(waterfall)
    where = "" if lost is None else f"; lost at {waterfall.stages[lost].kind} {waterfall.stages[lost].name}"
    if end == 0:
        return f"no gradient reaches the input{where}"
    if not where and end < FALL:
        where = f"; it fades little by little over {len(left)} stages"
    return f"{end:.2g} of the gradient is left at the input{where}"


def scale(waterfalls: Sequence[Waterfall]) -> tuple[int, int]:
    """Return the decades, as powers of ten, between which the bars of all `waterfalls` are drawn."""
    found = [finite(stage.remaining) for waterfall in waterfalls for stage in waterfall.stages]
    seen = [value for value in found if value] or [1.0]
    low = math.floor(math.log10(max(SMALLEST, min(seen))))
    high = math.ceil(math.log10(max(1.0, *seen, 1.0)))
    return min(low, high - 2), high


def bar(value: float, decades: tuple[int, int], width: int, glyph: str) -> str:
    """Return a bar for `value` on a log scale; at least one character for any value above zero."""
    if value <= 0:
        return ""
    low, high = decades
    share = (math.log10(value) - low) / (high - low)
    return glyph * min(width, max(1, round(share * width)))


def telling(waterfalls: Sequence[Waterfall]) -> list[int]:
    """Return the stages to show: all, or both ends, those that stand out at any of the steps, and some evenly between."""
    count = len(waterfalls[0].stages)
    if count <= MOST_STAGES:
        return list(range(count))
    kept = {*range(ENDS), *range(count - ENDS, count)}
    strength = [max(_strength(waterfall.stages[i]) for waterfall in waterfalls) for i in range(count)]
    enough = STANDS_OUT * max(0.0, sorted(strength)[count // 2])
    ranked = sorted((i for i in range(count) if i not in kept and strength[i] > enough), key=lambda i: -strength[i])
    kept |= set(ranked[: KEPT - len(kept)])
    free = KEPT - len(kept)
    return sorted(kept | {round(i * count / (free + 1)) for i in range(1, free + 1)})


def effect_axis(fixes: Sequence[FixOutcome]) -> tuple[float, float]:
    """Return the range that holds zero, every effect and every interval."""
    ends = [value for fix in fixes for value in (fix.effect, *(fix.interval or ())) if math.isfinite(value)]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    return (low, high) if high > low else (-1.0, 1.0)


def whisker(fix: FixOutcome | None, axis: tuple[float, float], width: int, glyphs: Glyphs) -> str:
    """Return an interval as a line with ends, the effect as a point on it, beside the mark of zero; None draws zero alone."""
    low, high = axis

    def cell(value: float) -> int:
        return round((value - low) / (high - low) * (width - 1))

    cells = [" "] * width
    interval = fix.interval if fix is not None and all(map(math.isfinite, fix.interval or ())) else None
    if interval is not None:
        left, right = map(cell, interval)
        cells[left : right + 1] = glyphs.line * (right + 1 - left)
        cells[left], cells[right] = glyphs.low, glyphs.high
    cells[cell(0.0)] = glyphs.zero
    if fix is not None and math.isfinite(fix.effect):
        cells[cell(fix.effect)] = glyphs.point
    return "".join(cells)


def _fall(stage: Stage) -> float:
    value = finite(stage.transmission)
    if value is None:
        return 0.0
    return math.inf if value <= 0 else max(0.0, -math.log(value))


def _strength(stage: Stage) -> float:
    value = finite(stage.transmission)
    if value is None:
        return -1.0
    return math.inf if value <= 0 else abs(math.log(value))
