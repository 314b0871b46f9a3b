"""One population of a sweep: trained under a recorder, judged, and brought down to what a sweep keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import SupportsFloat

import numpy as np
import torch
from torch import nn

from gradscope.arms import Batch, build_network
from gradscope.cell import Planned, PopulationTask, Precision
from gradscope.cell_run import CellRun, Epoch, RunFinding
from gradscope.data import Data
from gradscope.diagnosis import diagnose
from gradscope.member_traces import MemberName
from gradscope.stack import Population, StackMember
from gradscope.trace import SITE_STATISTICS, UNIT_STATISTICS, Trace
from gradscope.trained_arms import schedule_of
from gradscope.training import Watching, task_of, train

METRIC_DIGITS, LOSS_DIGITS, START_DIGITS = 7, 6, 5
"""A metric tells ten million test samples apart; the others have float32's precision at best."""


@dataclass(frozen=True)
class SweepTraining:
    """How a sweep's networks are trained, beside their recipes; `advance` counts steps of single networks."""

    device: torch.device
    steps: int | None = None  # at most so many
    precision: Precision = "float32"
    allow_code: bool = False
    advance: Callable[[int], None] = lambda member_steps: None
    should_stop: Callable[[], bool] = lambda: False


class Interrupted(Exception):
    """The training was asked to stop; nothing of the population is kept."""


def train_task(task: PopulationTask, data: Data, how: SweepTraining) -> list[CellRun]:
    """Train the task's networks in lock-step; return what came of each, in their order.

    Args:
        task: networks of equal data, widths, training and schedule.
        data: on the device; flattened.
        how: device, limits, who looks on.

    Raises:
        Interrupted: `should_stop` said so before the end.
        CodeError: an activation of the user's own failed.
    """
    first = task.members[0].recipe
    names = [MemberName(f"cell{member.cell}", member.seed) for member in task.members]
    stacks = [StackMember(member.recipe.stack, member.seed) for member in task.members if member.recipe.stack]
    network = build_network(Batch(tuple(names), first, tuple(stacks)), data, how.device, allow_code=how.allow_code)
    shares = _WeightShares()
    watching = Watching(
        schedule=schedule_of(first),
        advance=lambda steps: how.advance(steps * len(names)),
        evaluated=shares.add,
        should_stop=how.should_stop,
    )
    trained = train(network, names, data, first.training, task_of(data, first.training, how.steps), watching, how.precision)
    if trained.interrupted:
        raise Interrupted
    return [
        _cell_run(member, trace, [share[i] for share in shares.found])
        for i, (member, trace) in enumerate(zip(task.members, trained.traces, strict=True))
    ]


class _WeightShares:
    """The share of weights <= 0 of each linear layer at each evaluation: [member][layer] per evaluation."""

    def __init__(self) -> None:
        self.found: list[list[list[float]]] = []

    def add(self, steps: int, network: nn.Module) -> None:
        assert isinstance(network, Population)
        weights = [weight for weight, _ in network.linear_parameters()]
        shares = torch.stack([(weight <= 0).flatten(1).float().mean(dim=1) for weight in weights], dim=1)
        self.found.append(shares.tolist())


def _cell_run(member: Planned, trace: Trace, shares: Sequence[list[float]]) -> CellRun:
    diagnosis = diagnose([trace])
    return CellRun(
        key=member.key,
        seed=member.seed,
        metric=trace.task.metric,
        value=_rounded(trace.evaluation_metric[-1], METRIC_DIGITS),
        chance=trace.task.chance,
        test_samples=trace.task.test_samples,
        steps=len(trace.loss),
        verdict=diagnosis.verdict,
        epochs=_epochs(trace, shares),
        findings=[
            RunFinding(rule=f.rule, code=f.code, site=f.site, severity=f.severity, first_step=f.first_step)
            for f in diagnosis.findings
        ],
        start=_start(trace),
    )


def _epochs(trace: Trace, shares: Sequence[list[float]]) -> list[Epoch]:
    ends = [int(step) for step in trace.evaluation_steps]
    return [
        Epoch(
            step=ends[i],
            metric=_rounded(trace.evaluation_metric[i], METRIC_DIGITS),
            test_loss=_rounded(trace.evaluation_loss[i], LOSS_DIGITS),
            train_loss=_rounded(np.mean(trace.loss[ends[i - 1] : ends[i]], dtype=np.float64), LOSS_DIGITS),
            nonpositive_weight_frac=[_rounded(share, LOSS_DIGITS) for share in shares[i]],
        )
        for i in range(1, len(ends))
    ]


def _start(trace: Trace) -> dict[str, dict[str, float]]:
    """Return the statistics of step 0 by site; of those per unit, the median over units."""
    if not len(trace.steps) or trace.steps[0] != 0:
        return {}
    return {
        site.name: {name: _rounded(np.median(trace.unit_statistics[name][i][0])) for name in UNIT_STATISTICS}
        | {name: _rounded(trace.site_statistics[name][0, i]) for name in SITE_STATISTICS}
        for i, site in enumerate(trace.sites)
    }


def _rounded(value: SupportsFloat, digits: int = START_DIGITS) -> float:
    """Return a number in as many significant digits as anyone reads, which keeps a journal small."""
    return float(f"{float(value):.{digits}g}")
