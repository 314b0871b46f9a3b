"""A member's loss and metric, from the scalars that its run has for TensorBoard's own dashboards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gradscope.renderers.tensorboard_scalars import WATCHED, metric_tag
from gradscope.renderers.view_member import Curves

TRAIN, TEST = "loss/train", "loss/test"

Points = Sequence[tuple[int, float]]


def tags_of_curves(arm: str, metric: str) -> list[str]:
    """Return the tags of the scalars."""
    return [TRAIN, TEST, _metric_tag(arm, metric)]


def curves_in(points: Mapping[str, Points], arm: str, metric: str) -> Curves:
    """Return the curves from (step, value) by tag; what was not finite is not in event files."""
    of_metric, of_loss = dict(points.get(_metric_tag(arm, metric), ())), dict(points.get(TEST, ()))
    steps = sorted(of_metric | of_loss)
    losses = points.get(TRAIN, ())
    return Curves(
        metric_name=metric,
        loss_steps=np.array([step for step, _ in losses], np.int64),
        loss=np.array([loss for _, loss in losses], np.float32),
        metric_steps=np.array(steps, np.int64),
        metric=np.array([of_metric.get(step, np.nan) for step in steps], np.float32),
        test_loss=np.array([of_loss.get(step, np.nan) for step in steps], np.float32),
    )


def _metric_tag(arm: str, metric: str) -> str:
    return f"metric/{metric}" if arm == WATCHED else metric_tag(metric)
