"""What a fix costs: its time per training step as a ratio to the control's, measured in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from gradscope.arms import ArmPlan, Batch, build_network, pack
from gradscope.data import Data
from gradscope.objective import losses
from gradscope.training import BatchOrder, make_optimizer

ROUNDS, STEPS = 7, 4  # blocks in turns: slow moments of the machine hit all arms alike; the median drops the worst


def measure_costs(
    arms: Sequence[ArmPlan],
    data: Data,
    device: torch.device,
    *,
    allow_code: bool,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, float]:
    """Return time per step of each arm over that of the first one: the median over blocks that take turns.

    Nothing is returned if `should_stop` says so in between.
    """
    steppers = [_Stepper(pack([arm])[0], data, device, allow_code=allow_code) for arm in arms]
    rounds: list[list[float]] = []
    for _ in range(ROUNDS + 1):
        rounds.append([stepper.block() for stepper in steppers])
        if should_stop():
            return {}
    times = np.array(rounds)[1:]  # the first warms up
    ratios = np.median(times / times[:, :1], axis=0)
    return {arm.name: float(f"{ratio:.3g}") for arm, ratio in zip(arms, ratios, strict=True)}


class _Stepper:
    def __init__(self, batch: Batch, data: Data, device: torch.device, *, allow_code: bool) -> None:
        training = batch.recipe.training
        self.network = build_network(batch, data, device, allow_code=allow_code)
        self.optimizer = make_optimizer(self.network, training)
        order = BatchOrder([m.seed for m in batch.members], len(data.x_train), training.batch_size, device)
        indices = next(order.epoch())
        rows = indices if batch.stacks else indices[0]
        self.x, self.y, self.loss = data.x_train[rows], data.y_train[indices], training.loss
        self.is_population, self.device = bool(batch.stacks), device

    def block(self) -> float:
        """Return the seconds that a block of steps takes."""
        start = time.perf_counter()
        for _ in range(STEPS):
            output = self.network(self.x)
            self.optimizer.zero_grad()
            losses(self.loss, output if self.is_population else output.unsqueeze(0), self.y).sum().backward()
            self.optimizer.step()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()
        return time.perf_counter() - start
