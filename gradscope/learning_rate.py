"""The learning rate of each step."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from gradscope.fused_update import LinearUpdate


def warmed_up(lr: float, step: int, steps: int) -> float:
    """Return the learning rate of a step, counted from 0: it rises in equal parts over `steps`, the last of which has it whole.

    As Goyal et al. 2017, section 2.2, and `torch.optim.lr_scheduler.LinearLR(start_factor=1 / steps, total_iters=steps - 1)`.

    >>> [round(warmed_up(0.1, step, 4), 3) for step in range(6)], warmed_up(0.1, 0, 0)
    ([0.025, 0.05, 0.075, 0.1, 0.1, 0.1], 0.1)
    """
    return lr * (step + 1) / steps if step + 1 < steps else lr


def set_learning_rate(optimizer: torch.optim.Optimizer, updates: Sequence[LinearUpdate], lr: float) -> None:
    """Let the next step be taken with this learning rate, by the optimizer and by the updates beside it."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    for update in updates:
        update.lr = lr
