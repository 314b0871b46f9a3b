"""GS202 oversized-updates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from gradscope.report import Severity
from gradscope.rules.base import CannotTell, Case, Judgement, Observation, Rule
from gradscope.rules.examples import example, untested
from gradscope.rules.flow import weight_columns
from gradscope.rules.learning import has_learnt
from gradscope.rules.wording import percent, short
from gradscope.trace import FloatArray, Trace

WINDOW = 10  # records: an optimizer that rescales each weight's step begins with a few large ones and is healthy
# Steps in one direction add up, steps in random ones as the root of their number: ten steps replace a weight if each is a tenth
# of its size, or, whatever their directions, a third (1 / sqrt(10)). Healthy trainings take steps of about a thousandth.
LARGE, REPLACES = 1 / WINDOW, WINDOW**-0.5
NEVER = np.iinfo(np.int64).max
AT_ONCE = 1.0  # and a single step as large as the weights replaces them by itself, as for GS106


@final
class OversizedUpdates(Rule):
    """The optimizer's steps are so large that they replace the weights instead of changing them.

    What it does:
        Takes the size of each step over the size of the weights it changes (biases, and weights that start at zero, apart) and
        looks for ten records in a row whose median is a third or more, and for single steps as large as the weights. It is an
        error if the network does not learn: half of the way from guessing to a perfect test metric, or half of the loss gone.
        If it learns, or that is not known, only the ten records count, and only if the steps are still above a tenth in the
        later half of the training: a warning.

    Why it is bad:
        What one batch taught is overwritten by the next; the loss jumps about or diverges, and relus die.

    When it is wrong:
        Weights that start far smaller than they are to become, and grow. In few steps no network has learnt: a warning.

    Fixes:
        A lower learning rate, learning-rate warm-up, gradient clipping, scaled inputs.

    Sources:
        Bottou 2012, Stochastic Gradient Descent Tricks, and Karpathy 2015, CS231n notes: about a thousandth; You, Gitman and
        Ginsburg 2017, Large Batch Training of Convolutional Networks; Bernstein et al. 2020, On the Distance between Two Neural
        Networks (a relative step near 1 breaks the linear picture that gradient descent rests on).
    """

    slug, code, flow = "oversized-updates", "GS202", "weights"
    steps_needed = 200  # the first steps show it; later ones, as a rate that is raised, are found by `expect: healthy`

    def judge(self, trace: Trace) -> Judgement:
        """Judge the weights' steps."""
        if not len(trace.steps):
            return CannotTell("update_to_weight was not recorded at any step")
        if np.isnan(trace.parameter_statistics["grad_rms"][:, weight_columns(trace)]).all():
            return CannotTell("no weight was seen to take a step", optional=True)
        columns = _columns(trace)
        if len(trace.steps) < WINDOW:
            return CannotTell(f"update_to_weight was recorded in {len(trace.steps)} steps, {WINDOW} are needed", optional=True)
        updates = trace.parameter_statistics["update_to_weight"][:, columns]
        medians = _window_medians(updates)
        found = medians >= REPLACES  # [window, weight], a window being numbered by its first record
        if has_learnt(trace) is False:
            at_once = _first(updates >= AT_ONCE)
            return _observed(trace, columns, updates, medians, np.minimum(_onset(found, updates), at_once), "error")
        later = 2 * trace.steps[WINDOW - 1 :] >= trace.steps[-1]
        found &= (medians[later] >= LARGE).all(axis=0)  # what was only large at first has done no harm
        return _observed(trace, columns, updates, medians, _onset(found, updates), "warning")

    @classmethod
    def cases(cls) -> Sequence[Case]:
        """A few large steps at first are healthy, and so is a weight that starts at zero."""
        still = 2.3
        falling = np.linspace(2.3, 0.1, 40)
        one = np.where(np.arange(40) == 7, 5.0, 1e-3)
        fading = 2.0 / np.arange(1, 41) ** 1.5

        def with_steps(size: float | FloatArray, loss: FloatArray | float | None, metric: float = 0.1) -> Trace:
            return example(records=40, loss=loss, metric=metric, parameter={("update_to_weight", 1): size})

        return [
            Case("replaces the weights", lambda: with_steps(0.5, still), "error", None, 0),
            Case("large, but learns", lambda: with_steps(0.5, falling, 0.9), "warning", None, 0),
            Case("large, no loss logged", lambda: untested(with_steps(0.5, None)), "warning", None, 0),
            Case("large at first", lambda: with_steps(fading, falling, 0.9), None),
            Case("a tenth, does not learn", lambda: with_steps(0.1, still), None),
            Case("one step, does not learn", lambda: with_steps(one, still), "error", None, 7),
            Case("one step, learns", lambda: with_steps(one, falling, 0.9), None),
            Case("starts at zero", lambda: with_steps(np.append([np.inf], np.full(39, 0.5)), still), None),
            Case("ordinary", example, None),
            Case("nine records", lambda: example(records=9), "undecided"),
            Case("nothing recorded", lambda: example(records=0), "undecided"),
        ]


def _observed(
    trace: Trace,
    columns: list[int],
    updates: FloatArray,
    medians: FloatArray,
    onset: NDArray[np.integer],
    severity: Severity,
) -> list[Observation]:
    """Return what was found of the weights that have an onset, nothing if none has; it names the weight that was first.

    Weights that are thrown away blow up the gradients of all others, whose steps may then be the larger ones. Of those that
    begin in one record it is the one with the largest step there.
    """
    weights = onset < NEVER
    if not weights.any():
        return []
    first = int(onset.min())
    begins = int(np.argmax(np.where(onset == first, updates[first], -1)))
    name, step = trace.parameters[columns[begins]], int(trace.steps[first])
    median, largest = float(medians[:, begins].max()), float(np.nanmax(updates[:, weights]))
    count, many = int(weights.sum()), len(columns)
    text = f"from step {step}, first at {name}, steps are up to {largest:.2g} times as large as the weights that they change"
    if median >= LARGE:
        text += f", and there of {percent(min(median, 99.0))} of their size in {WINDOW} records (median)"
    return [
        Observation(
            site=None,
            first_step=step,
            severity=severity,
            evidence={
                "update_to_weight": short(median),
                "largest_update_to_weight": short(largest),
                "weights": count,
                "parameter": name,
            },
            cause="the learning rate is too large for these weights and gradients",
            text=f"{text}; too large at {count} of {many} weights",
        )
    ]


def _onset(windows: NDArray[np.bool_], updates: FloatArray) -> NDArray[np.integer]:
    """Return the record from which on each weight's steps are large, [weight]: the first one in its first marked window."""
    begins = _first(windows)
    return _first((updates >= REPLACES) & (np.arange(len(updates))[:, None] >= begins))


def _first(hit: NDArray[np.bool_]) -> NDArray[np.integer]:
    """Return the first record in which each weight is marked, [weight], or `NEVER`; `hit` is [record, weight]."""
    return np.where(hit.any(axis=0), hit.argmax(axis=0), NEVER)


def _columns(trace: Trace) -> list[int]:
    """Return the weights that were seen and did not start at zero."""
    updates = trace.parameter_statistics["update_to_weight"]
    known = ((i, updates[:, i][~np.isnan(updates[:, i])]) for i in weight_columns(trace))
    return [i for i, seen in known if len(seen) and not np.isinf(seen[0])]


def _window_medians(updates: FloatArray) -> FloatArray:
    """Return the median of each window of records, [window, weight]; 0 where a weight was not seen."""
    windows = np.lib.stride_tricks.sliding_window_view(np.where(np.isnan(updates), 0, updates), WINDOW, axis=0)
    return np.asarray(np.median(windows, axis=2))
