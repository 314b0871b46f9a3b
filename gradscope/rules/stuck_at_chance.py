"""GS203 stuck-at-chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np

from gradscope.rules.base import CannotTell, Case, Judgement, Observation, Rule
from gradscope.rules.examples import example
from gradscope.rules.flow import steps_done
from gradscope.rules.wording import short
from gradscope.trace import Task, Trace

# Standard errors of an accuracy at chance on the test set: beyond three, guessing is ruled out at about one in a thousand.
ERRORS = 3.0
# R2 has no such error without a model of the data; a hundredth of the variance is next to nothing.
R2_MARGIN = 0.01
NO_METRIC = "no test metric is known of a loop of your own; compare it with what guessing gives"


@final
class StuckAtChance(Rule):
    """After at least one pass over the data the network does no better than guessing, or no better again.

    What it does:
        Compares the last test metric with chance: for accuracy what the most frequent class gives, plus three standard
        errors of the test set's size; for R2 zero plus 0.01.

    Why it is bad:
        Nothing was learnt. If no other rule names the reason, look at the data and the labels.

    When it is wrong:
        Tasks with a long plateau before anything is learnt: train longer.

    Fixes:
        Those of the finding it follows from; a higher learning rate where the loss falls steadily.

    Sources:
        The normal approximation of the binomial distribution.
    """

    slug, code, flow = "stuck-at-chance", "GS203", "network"
    steps_needed = None  # a plateau may end with the last epoch

    def judge(self, trace: Trace) -> Judgement:
        """Judge the metric after the first epoch."""
        task = trace.task
        if not task.test_samples and (not len(trace.evaluation_metric) or np.isnan(task.chance)):
            return CannotTell(NO_METRIC, optional=True)
        epoch = trace.evaluation_steps * (trace.samples.max() if len(trace.samples) else 0) >= max(task.train_samples, 1)
        values = trace.evaluation_metric[epoch]
        if not len(values) or not np.isfinite(values).any():
            return CannotTell(f"{task.metric} was not measured after a whole epoch")
        if not np.isfinite(task.chance) or task.chance >= 1:
            return CannotTell(f"{task.metric} cannot tell learning from guessing on this test set: it holds one class only")
        margin = ERRORS * (task.chance * (1 - task.chance) / max(task.test_samples, 1)) ** 0.5 if task.classes else R2_MARGIN
        best, last, limit = float(np.nanmax(values)), float(values[-1]), task.chance + margin
        if last > limit:
            return []
        learnt = np.flatnonzero(trace.evaluation_metric > limit)
        since = int(trace.evaluation_steps[learnt[-1] + 1]) if best > limit else 0
        return [
            Observation(
                site=None,
                first_step=since,
                severity="error",
                evidence={"last": short(last), "best": short(best), "chance": short(task.chance), "margin": short(margin)},
                cause=f"nothing was learnt in {steps_done(trace)} steps; where the loss still falls, train longer"
                if since == 0
                else f"what was learnt was lost between two evaluations, by step {since}",
                text=f"test {task.metric} {last:.3g}, at best {best:.3g}; "
                f"guessing gives {task.chance:.3g} (plus {margin:.2g} for the test set's size)",
            )
        ]

    @classmethod
    def cases(cls) -> Sequence[Case]:
        """What counts is the end, wherever the network has been before."""
        one_class = Task("accuracy", 1.0, 100, 10, 64, 20)
        regression = Task("r2", 0.0, 100, 0, 64, 20)
        spike = [0.1] * 10 + [0.3]
        return [
            Case("at chance", lambda: example(metric=0.11), "error"),
            Case("learnt", example, None),
            Case("a little better", lambda: example(metric=spike), None),
            Case(
                "learnt and lost again",
                lambda: example(metric=[0.1, 0.5, 0.9, 0.9, 0.9, 0.9, 0.9, 0.1, 0.1, 0.1, 0.1]),
                "error",
                None,
                14,
            ),
            Case("R2 of zero", lambda: example(metric=-0.1, task=regression), "error"),
            Case("R2 of a half", lambda: example(metric=0.5, task=regression), None),
            Case("one class only", lambda: example(metric=1.0, task=one_class), "undecided"),
            Case("a loop that tells no metric", lambda: example(metric=np.nan, task=Task(metric="")), "undecided"),
            Case("not one epoch", lambda: example(records=1, metric=0.1), "undecided"),
        ]
