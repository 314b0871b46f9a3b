"""What a fix costs: its time per training step as a ratio to the control's, measured in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from gradscope.arms import ArmPlan, Batch, build_network, pack
from gradscope.data import Data
from gradscope.trained_arms import samples_of
from gradscope.training import BatchOrder, unwatched_step

ROUNDS, STEPS = 9, 4  # blocks in turns; the quickest of each arm is the one that nothing else on the machine disturbed


def measure_costs(
    arms: Sequence[ArmPlan],
    data: Data,
    device: torch.device,
    *,
    allow_code: bool,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, float]:
    """Return time per step of each arm over that of the first one: each arm's quickest block, of some that take turns.

    Nothing is returned if `should_stop` says so in between.
    """
    steppers = [
        _Stepper(pack([arm])[0], samples_of(arm.recipe, arms[0].recipe, data), device, allow_code=allow_code) for arm in arms
    ]
    rounds: list[list[float]] = []
    for _ in range(ROUNDS + 1):
        rounds.append([stepper.block() for stepper in steppers])
        if should_stop():
            return {}
    times = np.array(rounds)[1:].min(axis=0)  # the first round warms up
    ratios = times / times[0]
    return {arm.name: float(f"{ratio:.3g}") for arm, ratio in zip(arms, ratios, strict=True)}


class _Stepper:
    """Takes the steps that the arm is trained with, on one batch."""

    def __init__(self, batch: Batch, data: Data, device: torch.device, *, allow_code: bool) -> None:
        training = batch.recipe.training
        network = build_network(batch, data, device, allow_code=allow_code)
        self.device = device
        order = BatchOrder([m.seed for m in batch.members], len(data.x_train), training.batch_size, device)
        self.indices = next(order.epoch())
        self.step = unwatched_step(network, batch.members, data, training, (ROUNDS + 1) * STEPS)

    def block(self) -> float:
        """Return the seconds that a block of steps takes."""
        start = time.perf_counter()
        for _ in range(STEPS):
            self.step(self.indices)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()
        return time.perf_counter() - start
