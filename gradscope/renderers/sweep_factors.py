"""A sweep's factors for someone at a terminal: what explains the metric's variance, and whether mixing activations helps."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from gradscope.factor_report import FactorEffect, Factors, Mixing, MixingEffect
from gradscope.renderers.console_page import Page, fits
from gradscope.renderers.wording import counted, fixed, longest_word

CERTAIN = 0.05  # of the corrected p value: what is printed bold
MOST_SETTINGS = 12
TITLES = ("", "share", "omega^2", "of ranks", "p (Holm)", "best and worst level")
MIXING_TITLES = ["mixed - pure, points", "stacks", "typical", "95 %", "best", "95 %"]
NARROW_WITHOUT = (5, 1)  # columns that a narrow page leaves out, the first one first; results.json has them
NUMBER, OMEGA = 8, 2  # the width of a column of numbers, and the one of them that a narrow page leaves out
VERDICT_STYLES = {"helps": "bold green", "harms": "bold red", "no effect": "", "cannot tell": "yellow"}


def factor_blocks(factors: Factors, page: Page) -> Iterator[RenderableType]:
    """Yield the table of factors and what it rests on."""
    table = Table.grid(padding=(0, 1, 0, 0))
    lines = [TITLES, *map(_cells, factors.effects), *((name, _per_cent(share)) for name, share in _rest(factors))]
    texts = (0, len(TITLES) - 1)
    least = [longest_word(line[i] for line in lines if i < len(line)) if i in texts else NUMBER for i in range(len(TITLES))]
    shown = [i for i in range(len(TITLES)) if i != OMEGA or fits(least, page)]
    for i in shown:
        enough = least[i] if i in texts and fits([least[j] for j in shown], page) else None
        table.add_column(justify="left" if i in texts else "right", no_wrap=i not in texts, overflow="fold", min_width=enough)
    table.add_row(*(Text(TITLES[i], "dim") for i in shown))
    for effect in factors.effects:
        style = "bold" if effect.p_holm is not None and effect.p_holm < CERTAIN else ""
        cells = _cells(effect)
        table.add_row(*(page.text(cells[i], style) for i in shown))
    for name, share in _rest(factors):
        table.add_row(page.text(name, "dim"), page.text(_per_cent(share)))
    yield table
    derived = [effect.name for effect in factors.effects if effect.derived]
    said = [f"in brackets what follows from the activations: {', '.join(derived)}"] if derived else []
    for text in [*said, *factors.assumptions]:
        yield page.labelled("-", "dim", page.text(text, "dim"))


def mixing_blocks(mixing: Mixing, page: Page) -> Iterator[RenderableType]:
    """Yield the answer, the comparisons that it stands on, and how they were made."""
    yield page.text(mixing.answer)
    if not mixing.overall:
        return
    effects = [*mixing.overall, *mixing.settings[:MOST_SETTINGS]]
    lines = [MIXING_TITLES, *(_mixing_cells(effect) for effect in effects)]
    widths = [longest_word(line[0] for line in lines), *(max(len(line[i]) for line in lines) for i in range(1, len(lines[0])))]
    shown = list(range(len(widths)))
    for i in NARROW_WITHOUT:
        if not fits([widths[j] for j in shown], page):
            shown.remove(i)
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(overflow="fold", min_width=widths[0] if fits([widths[j] for j in shown], page) else None)
    for _ in shown[1:]:
        table.add_column(justify="right", no_wrap=True, overflow="fold")
    table.add_row(*(Text(MIXING_TITLES[i], "dim") for i in shown))
    for effect, line in zip(effects, lines[1:], strict=True):
        styles = {2: VERDICT_STYLES[effect.verdict], 4: VERDICT_STYLES[effect.best_verdict]}
        table.add_row(*(page.text(line[i], styles.get(i, "")) for i in shown))
    yield table
    left = len(mixing.settings) - MOST_SETTINGS
    if left > 0:
        yield page.text(f"and {counted(left, 'more setting')} in results.json", "dim")
    first = effects[0]
    yield page.text(f"stacks {first.mixed}/{first.pure}: {first.mixed} mixed, {first.pure} pure; {mixing.method}", "dim")


def _mixing_cells(effect: MixingEffect) -> list[str]:
    return [
        effect.where,
        f"{effect.mixed}/{effect.pure}",
        f"{100 * effect.typical:+.2f}",
        _interval(effect.typical_interval),
        f"{100 * effect.best:+.2f}",
        _interval(effect.best_interval),
    ]


def _cells(effect: FactorEffect) -> list[str]:
    name = f"({effect.name})" if effect.derived else effect.name
    p_value = "" if effect.p_holm is None else f"{effect.p_holm:.4f}"
    ends = [f"{level.value} {fixed(level.mean, 3)}" for level in (effect.levels[0], effect.levels[-1])]
    return [
        name,
        *map(_per_cent, (effect.eta_squared, effect.omega_squared, effect.rank_eta_squared)),
        p_value,
        ", ".join(ends),
    ]


def _rest(factors: Factors) -> list[tuple[str, float]]:
    """Return what no single factor explains; interactions only of as many factors as there are, seeds where some repeat."""
    own = sum(not effect.derived for effect in factors.effects)
    rest = [("pairs of factors", factors.pairs), ("more than two", factors.higher)][: max(0, own - 1)]
    if math.isnan(factors.pairs):
        rest = [("interactions", factors.interactions)]
    return rest + ([] if math.isnan(factors.seeds) else [("seeds", factors.seeds)])


def _per_cent(share: float) -> str:
    return "" if share != share else f"{fixed(100 * share, 1)} %"


def _interval(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else "[{:+.2f}, {:+.2f}]".format(*(100 * end for end in interval))
