"""What was tried to find a cause, as rows of a table, from the JSON of a finding: reports of before that have none of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gradscope.renderers.view_report import Json
from gradscope.renderers.wording import listed, number

HEADS = ["", "gradient to", "loss", "lower in", "what came back"]
MOST_SITES = 3  # named in a row


def cause_title(tested: Json) -> str:
    """Return where a cause was looked for, and for how long."""
    seeds = f", seeds {listed(tested['seeds'])}" if tested.get("seeds") else ""
    return f"Tried at {tested['site']} for {tested['steps']} steps from step {tested['begin']}{seeds}"


def cause_rows(tested: Json) -> list[list[str]]:
    """Return a row of texts for each change; the first one is a change that changes nothing."""
    return [_row(one, is_first=i == 0) for i, one in enumerate(tested["interventions"])]


def _row(one: Json, *, is_first: bool) -> list[str]:
    where = f" at {listed(one['sites'], MOST_SITES)}" if one.get("sites") else ""
    losses = one.get("loss") or []
    reached = _mean(one.get("reached") or [])
    return [
        f"{one['kind']}{where}",
        "" if reached is None else f"{100 * reached:.0f} %",
        number(_mean(losses)) if losses else "",
        "" if is_first or not losses else f"{one['lower_in']} of {len(losses)}",
        _back(one),
    ]


def _back(one: Json) -> str:
    if one.get("works"):
        return "both"
    if one.get("brings_gradient"):
        return "gradient and loss" if one.get("brings_loss") else "gradient"
    return "nothing"


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return sum(known) / len(known) if known else None
