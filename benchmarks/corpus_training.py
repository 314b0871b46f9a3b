"""How a network of the corpora trains under `gradscope.watch`: as a user's own loop does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

import gradscope
from benchmarks.corpus_models import Chain
from benchmarks.corpus_tasks import Samples
from gradscope.report import Report

ROUND = 100  # steps between looks at the test set


@dataclass
class Setup:
    """All that a training is made of; a plant changes it before the training starts."""

    model: Chain
    samples: Samples
    optimizer: str = "sgd"
    lr: float = 0.05
    batch: int = 32
    options: dict[str, Any] = field(default_factory=dict)  # of the optimizer
    factors: dict[str, float] = field(default_factory=dict)  # of the learning rate, by stage
    left_out: tuple[str, ...] = ()  # stages that the optimizer is not given
    schedule: Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler] | None = None
    clip: float | None = None
    tells_accuracy: bool = False  # to gradscope; all tell the loss

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Return the optimizer, with a group of parameters for each stage."""
        groups = [
            {"params": list(stage.parameters()), "lr": self.lr * self.factors.get(name, 1.0)}
            for name, stage in self.model.named_children()
            if name not in self.left_out and any(True for _ in stage.parameters())
        ]
        kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "rmsprop": torch.optim.RMSprop,
                 "adagrad": torch.optim.Adagrad, "nadam": torch.optim.NAdam, "adamax": torch.optim.Adamax,
                 "radam": torch.optim.RAdam}  # fmt: skip
        return kinds[self.optimizer](groups, lr=self.lr, **self.options)


def train(setup: Setup, seed: int, steps: int, fewest: int, goal: float) -> tuple[Report, float, int]:
    """Train until the goal is beaten, not less than `fewest` and at most `steps` steps.

    Returns gradscope's report, the test accuracy and the steps taken.
    """
    order = torch.Generator().manual_seed(seed)
    optimizer = setup.make_optimizer()
    schedule = setup.schedule(optimizer) if setup.schedule else None
    score, done = 0.0, 0
    with gradscope.watch(setup.model, optimizer, on_finding="ignore") as scope:
        while done < steps:
            for _ in range(min(ROUND, steps - done)):
                scope.log(loss=_step(setup, optimizer, order))
                if schedule:
                    schedule.step()
                done += 1
            score = accuracy(setup.model, setup.samples)
            if setup.tells_accuracy:
                scope.log(accuracy=score)
            if score > goal and done >= fewest:
                break
    return scope.diagnosis.report, score, done


def _step(setup: Setup, optimizer: torch.optim.Optimizer, order: torch.Generator) -> torch.Tensor:
    chosen = torch.randint(len(setup.samples.x_train), (setup.batch,), generator=order)
    setup.model.train()
    loss = F.cross_entropy(setup.model(setup.samples.x_train[chosen]), setup.samples.y_train[chosen])
    optimizer.zero_grad()
    loss.backward()
    if setup.clip:
        nn.utils.clip_grad_norm_(setup.model.parameters(), setup.clip)
    optimizer.step()
    return loss.detach()


@torch.no_grad()
def accuracy(model: nn.Module, samples: Samples) -> float:
    """Return the share of test samples that the network names rightly; 0 where an output is not finite."""
    model.eval()
    output = model(samples.x_test)
    return float((output.argmax(dim=1) == samples.y_test).float().mean()) if torch.isfinite(output).all() else 0.0


def parts_of(model: nn.Module, stages: Sequence[str]) -> list[nn.Module]:
    """Return the modules with weights within the stages, in order.

    Raises:
        ValueError: there are none.
    """
    found = [m for name in stages for m in getattr(model, name).modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    if not found:
        raise ValueError(f"expected weights in {', '.join(stages)}, found none")
    return found
