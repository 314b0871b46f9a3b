"""A member's loss and metric: our own tensors at the steps that were recorded, TensorBoard's scalars between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gradscope.renderers.view_member import Curves
from gradscope.tensorboard_plugin.event_tags import CurveTag, evaluation_tags, last_author, loss_tags
from gradscope.tensorboard_plugin.event_tensors import Events, Read, Stack, in_steps, joined

TRAIN = "loss/train"  # the scalars; they are all finite
MICROSECONDS = 1e6  # in a second


def curves_in(tags: Mapping[str, Any], read: Read, scalars: Events, metric: str) -> Curves:
    """Return a member's curves.

    Args:
        tags: TensorBoard's list of the member's tags.
        read: their events.
        scalars: the training losses that TensorBoard's own dashboards have.
        metric: its name.
    """
    recorded = _joined(loss_tags(tags), read, ())
    evaluations = _joined(evaluation_tags(tags), read, (2,))
    number, first = last_author(tags)
    between = [one for one in in_steps(scalars) if one.step < first or one.wall_time * MICROSECONDS >= number]
    losses = {one.step: one.value for one in between} | dict(
        zip(recorded.steps.tolist(), recorded.values.tolist(), strict=True)
    )
    steps = sorted(losses)
    return Curves(
        metric_name=metric,
        loss_steps=np.array(steps, np.int64),
        loss=np.array([losses[step] for step in steps], np.float32),
        metric_steps=evaluations.steps,
        metric=evaluations.values[:, 0],
        test_loss=evaluations.values[:, 1],
        recorded=recorded.steps,
    )


def _joined(tags: Sequence[CurveTag], read: Read, shape: tuple[int, ...]) -> Stack:
    nothing = Stack(np.empty(0, np.int64), np.empty((0, *shape), np.float32))
    return joined([nothing, *(read(one.tag, shape).before(one.until) for one in tags)])
