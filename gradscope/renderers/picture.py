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
    falls = _falls(waterfall)
    if not falls:
        return None
    worst = max(range(len(falls)), key=falls.__getitem__)
    if math.isinf(falls[worst]):
        return worst
    total = sum(falls)
    return worst if total > -math.log(FALL) and falls[worst] >= MOST_OF_IT * total else None


def caption(waterfall: Waterfall, *, at_input: bool = True) -> str:
    """Return in words what the picture of the waterfall shows.

    `at_input`: the last stage is at the network's input; else, where branches may lead around it, it is named.
    """
    left = left_behind(waterfall)
    known = [i for i, value in enumerate(left) if value is not None]
    if not known:
        return "no gradient was seen"
    last = known[-1]
    place = "the input" if at_input and last == len(left) - 1 else waterfall.stages[last].name
    lost = lost_at(waterfall)
    where = "" if lost is None else f"; lost at {waterfall.stages[lost].kind} {waterfall.stages[lost].name}"
    if lost == last and place == waterfall.stages[last].name:
        where = "; it is lost there"
    end = left[last] or 0.0
    if end and end < FALL and not where:
        where = f"; it fades little by little over {last + 1} stages"
    if last < len(left) - 1:
        where += "; nearer to the input none was seen"
    if end > 1:
        where = where.replace("; lost at", "; on the way most is lost at")
        return f"at {place} the gradient is {end:.2g} times that at the loss{where}"
    return f"{end:.2g} of the gradient is left at {place}{where}" if end else f"no gradient reaches {place}{where}"


def left_behind(waterfall: Waterfall) -> list[float | None]:
    """Return what is left behind each stage: 0 where nothing arrives any more, None where no gradient was seen."""
    found: list[float | None] = []
    for stage in waterfall.stages:
        value = finite(stage.remaining)
        found.append(0.0 if value is None and found and found[-1] == 0 else value)
    return found


def missing(left: float | None) -> str:
    """Return in words why a stage has no number, from what `left_behind` says of it."""
    return "no gradient seen" if left is None else "no gradient arrives"


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


def _falls(waterfall: Waterfall) -> list[float]:
    """Return for each stage by how much, in logs, the most that is left from it on is less than the most from the one before.

    Where each stage feeds the next, that is what it takes; a gate that is shut in one branch takes nothing as long as the
    gradient finds its way through another.
    """
    best: list[float | None] = []  # from the input on
    for value in reversed(left_behind(waterfall)):
        further = best[-1] if best else None
        best.append(further if value is None else value if further is None else max(value, further))
    falls, before = [], 1.0
    for most in reversed(best):
        if most is None or before == 0:
            falls.append(0.0)
            continue
        falls.append(math.inf if most == 0 else max(0.0, math.log(before / most)))
        before = most
    return falls


def _strength(stage: Stage) -> float:
    value = finite(stage.transmission)
    if value is None:
        return -1.0
    return math.inf if value <= 0 else abs(math.log(value))
