"""How long a check trains: as short as the rules that are asked can be relied on, and never longer than the recipe says."""

from __future__ import annotations

from collections.abc import Sequence

from gradscope.rules import Rule
from gradscope.rules.window import WINDOW_RECORDS, WINDOW_SAMPLES
from gradscope.schedule import Schedule

FAST_STEPS = 1
"""Step 0 alone: a forward and a backward pass."""


def steps_for(rules: Sequence[type[Rule]], planned: int, batch_size: int, schedule: Schedule) -> int:
    """Return the training steps that these rules need, at most the planned ones.

    Rules that need more than step 0 need a whole window of samples that were looked at, however small the batches.

    Args:
        rules: those to rely on.
        planned: the steps of the whole training.
        batch_size: samples of a step.
        schedule: which steps are looked at.
    """
    needed = [planned if rule.steps_needed is None else rule.steps_needed for rule in rules]
    most = min(max(needed, default=planned), planned)
    return most if most <= FAST_STEPS else min(max(most, _window_steps(planned, batch_size, schedule)), planned)


def _window_steps(planned: int, batch_size: int, schedule: Schedule) -> int:
    records = 0
    for step in range(planned):
        records += schedule(step)
        if records >= WINDOW_RECORDS and records * batch_size >= WINDOW_SAMPLES:
            return step + 1
    return planned


def reliable(rules: Sequence[type[Rule]], steps: int, planned: int) -> list[type[Rule]]:
    """Return the rules whose every answer may be relied on after so many steps."""
    return [rule for rule in rules if steps >= planned or (rule.steps_needed is not None and rule.steps_needed <= steps)]
