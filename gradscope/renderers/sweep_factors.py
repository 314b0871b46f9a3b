"""A sweep's factors for someone at a terminal: what explains the metric's variance, and whether mixing activations helps."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from gradscope.factor_report import FactorEffect, Factors, Mixing
from gradscope.renderers.console_page import Page
from gradscope.renderers.wording import counted, fixed

CERTAIN = 0.05  # of the corrected p value: what is printed bold
MOST_SETTINGS = 12
TITLES = ("", "share", "omega^2", "of ranks", "p (Holm)", "best and worst level")
VERDICT_STYLES = {"helps": "bold green", "harms": "bold red", "no effect": "", "cannot tell": "yellow"}


def factor_blocks(factors: Factors, page: Page) -> Iterator[RenderableType]:
    """Yield the table of factors and what it rests on."""
    table = Table.grid(padding=(0, 1, 0, 0))
    for title in TITLES:
        is_text = title in (TITLES[0], TITLES[-1])
        table.add_column(justify="left" if is_text else "right", no_wrap=not is_text, overflow="fold")
    table.add_row(*(Text(title, "dim") for title in TITLES))
    for effect in factors.effects:
        style = "bold" if effect.p_holm is not None and effect.p_holm < CERTAIN else ""
        table.add_row(*(page.text(cell, style) for cell in _cells(effect)))
    for name, share in _rest(factors):
        table.add_row(page.text(name, "dim"), page.text(_per_cent(share)), "", "", "", "")
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
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(overflow="fold")
    for _ in range(5):
        table.add_column(justify="right", no_wrap=True, overflow="fold")
    table.add_row(*(Text(title, "dim") for title in ("mixed - pure, points", "stacks", "typical", "95 %", "best", "95 %")))
    for effect in [*mixing.overall, *mixing.settings[:MOST_SETTINGS]]:
        table.add_row(
            page.text(effect.where),
            f"{effect.mixed}/{effect.pure}",
            page.text(f"{100 * effect.typical:+.2f}", VERDICT_STYLES[effect.verdict]),
            page.text(_interval(effect.typical_interval)),
            page.text(f"{100 * effect.best:+.2f}", VERDICT_STYLES[effect.best_verdict]),
            page.text(_interval(effect.best_interval)),
        )
    yield table
    left = len(mixing.settings) - MOST_SETTINGS
    if left > 0:
        yield page.text(f"and {counted(left, 'more setting')} in results.json", "dim")
    yield page.text(mixing.method, "dim")


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
