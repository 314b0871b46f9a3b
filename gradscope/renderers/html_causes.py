"""What was tried to find a cause, as rows of a table: a line for each change beside one that changes nothing."""

from __future__ import annotations

from gradscope.cause_text import back, mean, percent, what_was_done
from gradscope.renderers.wording import counted, listed
from gradscope.report import CauseFound, Intervention

HEADS = ["", "gradient to", "loss", "lower in", "what came back"]


def cause_title(found: CauseFound) -> str:
    """Return where a cause was looked for, and for how long."""
    seeds = f"{counted(len(found.seeds), 'seed')} ({listed(found.seeds)})"
    return f"Tried at {found.site} for {counted(found.steps, 'step')} from step {found.begin}, {seeds}"


def cause_rows(found: CauseFound) -> list[list[str]]:
    """Return a row of texts for each change; the first one is the placebo."""
    return [_row(one, is_first=i == 0) for i, one in enumerate(found.interventions)]


def _row(one: Intervention, *, is_first: bool) -> list[str]:
    lower = f"{one.lower_in} of {len(one.loss)}" if one.loss and not is_first else ""
    loss = f"{mean(one.loss):.3g}" if one.loss else ""
    return [what_was_done(one), percent(one.reached), loss, lower, back(one) or "nothing"]
