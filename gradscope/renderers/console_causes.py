"""What interventions showed of a cause, for the console: a line for each change beside the placebo's."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from gradscope.cause_text import back, mean, percent, what_was_done
from gradscope.renderers.console_page import Page
from gradscope.renderers.wording import counted, listed
from gradscope.report import CauseFound

BACK_STYLES = {"both come back": "bold green", "loss comes back": "bold green"}


def cause_blocks(found: CauseFound, page: Page) -> Iterator[Text | Table]:
    """Yield what was tried with what came of it, and what the rule reads from the records."""
    if not found.interventions:
        yield page.text(found.reason, "dim")
        return
    seeds = f"{counted(len(found.seeds), 'seed')} ({listed(found.seeds)})"
    title = f"Tried at {found.site} for {found.steps} steps from step {found.begin}, {seeds}:"
    yield page.text(title, "dim")
    yield _table(found, page)
    yield page.text(". ".join(_legend(found)), "dim")
    if found.suspected and found.cause is not None:
        yield page.text(f"Read from the records: {found.suspected}", "dim")


def _legend(found: CauseFound) -> Iterator[str]:
    """Yield what the columns mean, as far as they are filled."""
    yield f"Gradient to: the share of {found.site} that it reaches"
    followed = [bool(one.loss) for one in found.interventions]
    if any(followed):
        yield "Loss: in training, at the end"
    if any(followed) and not all(followed):
        yield "No loss: the gradient did not come back, so the change was not followed up"
    if found.cause is not None and len({one.kind for one in found.interventions if one.works}) > 1:
        yield "Of several that work, the one that undoes least beside the failure names the cause"


def _table(found: CauseFound, page: Page) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column()
    for justify in ("right", "right", "left", "left"):
        table.add_column(justify=justify, no_wrap=True)
    table.add_row(*(Text(title, "dim") for title in ("", "gradient to", "loss", "lower in", "")))
    for i, one in enumerate(found.interventions):
        word = back(one)
        lower = f"{one.lower_in} of {counted(len(one.loss), 'seed')}" if i and one.loss else ""
        loss = f"{mean(one.loss):.3g}" if one.loss else ""
        table.add_row(page.text(what_was_done(one)), percent(one.reached), loss, lower, Text(word, BACK_STYLES.get(word, "")))
    return table
