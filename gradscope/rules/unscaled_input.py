"""GS301 unscaled-input."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import final

import numpy as np

from gradscope.report import Severity
from gradscope.rules.base import CannotTell, Case, Judgement, Observation, Rule
from gradscope.rules.examples import example, untested
from gradscope.rules.learning import has_learnt, metric_gain
from gradscope.rules.wording import short
from gradscope.trace import Trace

# The curvature of the loss along the first layer's weights grows with the mean square of the input, and the best learning rate
# falls with it: ten times the scale is a hundred times the step, a tenth a hundredth. A mean of ten spreads stretches the
# valley by 1 + 10**2. (LeCun et al. 1998, section 5.1: eigenvalues of the input's second moments.)
FAR = 10.0


@final
class UnscaledInput(Rule):
    """What the network is fed is far from mean 0 and standard deviation 1.

    What it does:
        Takes mean and standard deviation over all values of the first tensor that the network is called with, if it holds
        numbers (of words there is no scale), at the first recorded steps. Far is a root mean square above 10 or below a tenth,
        or a mean above ten standard deviations. By itself it is a note; a warning if nothing tells whether the network
        learns (of large inputs a falling loss does not: it starts high), an error if it does not. It stands at the first site.

    Why it is bad:
        Initialisations and learning rates are made for inputs of that scale: larger ones overshoot, saturate or shut the first
        layer, smaller ones hardly move it, and a large mean makes all samples look alike.

    When it is wrong:
        Networks that scale their input themselves, by a norm layer or a division; inputs with a few values per sample that
        are meant to be large. Features of very different scales are only seen as a whole.

    Fixes:
        Scaled inputs: subtract the training set's mean, divide by its standard deviation; a norm layer on the input.

    Sources:
        LeCun et al. 1998, Efficient BackProp, sections 4.3 and 5.1; Glorot and Bengio 2010; He et al. 2015 (the initialisations
        assume inputs of unit variance).
    """

    slug, code, flow = "unscaled-input", "GS301", "forward"
    steps_needed = 200  # the input shows at once; whether the network learns needs some steps

    def judge(self, trace: Trace) -> Judgement:
        """Judge the first recorded inputs."""
        if not len(trace.steps):
            return CannotTell("the input was not recorded at any step")
        if not trace.network_statistics:
            return CannotTell("the input's scale was not recorded by the gradscope that wrote this trace", optional=True)
        means, deviations = trace.network_statistics["input_mean"], trace.network_statistics["input_std"]
        seen = np.isfinite(means) & np.isfinite(deviations)
        if not seen.any():  # words, or parts that are called one by one: nothing of which a scale is known
            return []
        mean, deviation = float(np.median(means[seen])), float(np.median(deviations[seen]))
        size = math.hypot(mean, deviation)
        offset = abs(mean) / deviation if deviation > 0 else math.inf
        is_far = size > FAR or 0 < size < 1 / FAR or (offset > FAR and size > 0)
        return [self._scale(trace, mean, deviation, size)] if is_far else []

    @staticmethod
    def _scale(trace: Trace, mean: float, deviation: float, size: float) -> Observation:
        learnt = has_learnt(trace)
        severity: Severity = "note" if learnt else "warning" if learnt is None else "error"
        if size > FAR and metric_gain(trace) is None and learnt:  # it may have fallen from what such an input threw it up to
            severity = "warning"
        cause = "nearly the same number is added to every input: the samples differ little beside it"
        if size > FAR:
            cause = f"the first layer's steps are about {short(size**2):g} times as large as for inputs of unit scale"
        if size < 1 / FAR:
            cause = f"the first layer's steps are about {short(size**-2):g} times as small as for inputs of unit scale"
        return Observation(
            site=0 if trace.sites else None,
            first_step=0,
            severity=severity,
            evidence={"input_mean": short(mean), "input_std": short(deviation), "input_rms": short(size)},
            cause=cause,
            text=f"the network's input has mean {mean:.3g} and standard deviation {deviation:.3g}; 0 and 1 are what "
            "initialisation and learning rate are made for",
        )

    @classmethod
    def cases(cls) -> Sequence[Case]:
        """Pixels between 0 and 1 are near enough."""
        words = {"input_mean": np.nan, "input_std": np.nan}
        falling = np.linspace(9.0, 0.1, 40)
        large = {"input_mean": 33.0, "input_std": 78.0}

        def fed(mean: float, deviation: float, metric: float = 0.1) -> Trace:
            return example(records=40, loss=2.3, metric=metric, network={"input_mean": mean, "input_std": deviation})

        return [
            Case("bytes, does not learn", lambda: fed(33.0, 78.0), "error", 0, 0),
            Case("bytes, learns", lambda: fed(33.0, 78.0, 0.9), "note", 0, 0),
            Case("bytes, the loss falls", lambda: untested(example(records=40, loss=falling, network=large)), "warning", 0, 0),
            Case("bytes, too early to tell", lambda: untested(example(records=3, network=large)), "warning", 0, 0),
            Case("tiny", lambda: fed(0.0, 0.001), "error", 0, 0),
            Case("a large mean", lambda: fed(5.0, 0.1), "error", 0, 0),
            Case("pixels between 0 and 1", lambda: fed(0.13, 0.31), None),
            Case("nothing but zeros", lambda: fed(0.0, 0.0), None),
            Case("words", lambda: example(network=words), None),
            Case("ordinary", example, None),
            Case("a trace of before it was recorded", lambda: replace(example(), network_statistics={}), "undecided"),
            Case("nothing recorded", lambda: example(records=0), "undecided"),
        ]
