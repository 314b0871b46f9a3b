"""The loss and the metric that the Gradscope tab draws, in event files: a training that diverged is seen to.

TensorBoard's own dashboards get what is finite, every few steps. These are all numbers, at the steps that were recorded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]

from gradscope.renderers.tensorboard_form import EVALUATIONS, LOSS, Author, tensor_summary
from gradscope.renderers.tensorboard_tensors import ALL_SITES, LATER_SITES, is_written
from gradscope.trace import Trace


@dataclass(frozen=True)
class CurvesWritten:
    """How far a member's curves are written: up to which step, how many losses at recorded steps, how many evaluations."""

    step: int = -1
    losses: int = 0
    evaluations: int = 0


def curve_events(trace: Trace, author: Author, written: CurvesWritten) -> tuple[list[tuple[int, Summary]], CurvesWritten]:
    """Return (step, summary) of losses at recorded steps and of evaluations, and how far they are written with them.

    A loss is told once its step was recorded and another one can't come to lie before it.
    """
    until = min((int(steps[-1]) if len(steps) else -1) for steps in (trace.steps, trace.steps_of_loss))
    found = _losses_between(trace, written.step, until)
    events = [*_loss_events(found, author, written.losses), *_evaluation_events(trace, author, written.evaluations)]
    done = replace(
        written,
        step=max(until, written.step),
        losses=written.losses + len(found),
        evaluations=len(trace.evaluation_steps),
    )
    return events, done


def _losses_between(trace: Trace, after: int, until: int) -> list[tuple[int, float]]:
    recorded = trace.steps[(trace.steps > after) & (trace.steps <= until)]
    known = np.isin(trace.steps_of_loss, recorded)
    return list(zip(trace.steps_of_loss[known].tolist(), trace.loss[known].tolist(), strict=True))


def _loss_events(found: list[tuple[int, float]], author: Author, count: int) -> Iterator[tuple[int, Summary]]:
    for i, (step, loss) in enumerate(found, count):
        if is_written(i, ALL_SITES, LATER_SITES):
            yield step, tensor_summary(f"{LOSS}{author.number}", np.array(loss, "<f4"), None if i else author.about)


def _evaluation_events(trace: Trace, author: Author, count: int) -> Iterator[tuple[int, Summary]]:
    for i, step in enumerate(trace.evaluation_steps.tolist()[count:], count):
        values = np.array([trace.evaluation_metric[i], trace.evaluation_loss[i]], "<f4")
        yield step, tensor_summary(f"{EVALUATIONS}{author.number}", values, None if i else author.about)
