"""GS104 saturation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import final

import numpy as np
from numpy.typing import NDArray

from gradscope.report import Severity
from gradscope.rules.base import CannotTell, Case, Judgement, Observation, Rule
from gradscope.rules.examples import example, untested
from gradscope.rules.flow import without_gradient
from gradscope.rules.learning import ALL_THE_SAME, has_learnt, learns_well
from gradscope.rules.window import window_start
from gradscope.rules.wording import percent, short
from gradscope.trace import FloatArray, Trace

# Share of all values (samples and units) of a site whose slope is below 5 % of the largest. Half: the median gate is nearly
# shut. Nine in ten: the layer passes about a twentieth of the gradient or less.
WARNING_FRAC, ERROR_FRAC = 0.5, 0.9
# An output that saturates while the loss falls is doing what the loss asks for.
LOSS_FELL = 0.9


@final
class Saturation(Rule):
    """Most values of a bounded non-linearity lie where it is flat.

    What it does:
        At sites whose non-linearity is flat far out on both sides (sigmoid, tanh, softsign, hard variants: found by probing
        the function, not by its name), takes the share of values whose slope is below 5 % of the largest slope. Units that
        are shut at zero output are left to the dead-* rules.

    Why it is bad:
        What is flat passes no gradient: the layers before it learn slowly or not at all.

    When it is wrong:
        Outputs trained to their bounds: at the output site it is a finding only while nothing is learnt (the loss has not
        fallen, the metric has not come half of the way), and a note where no loss was logged. Where no gradient is meant to
        pass (a frozen part) it is none. Binary-like codes that are wanted.

    Fixes:
        Smaller initial weights (xavier-normal), batchnorm-all, scaled inputs, tanh or relu instead of sigmoid.

    Sources:
        Glorot and Bengio 2010, section 3; Rakitianskaia and Engelbrecht 2015, Measuring Saturation in Neural Networks.
    """

    slug, code, flow = "saturation", "GS104", "forward"
    steps_needed = 200  # initial weights that are too large show at once; a spell of the first steps is outvoted by then

    def judge(self, trace: Trace) -> Judgement:
        """Judge each site that can saturate."""
        if not len(trace.steps):
            return CannotTell("saturated_frac was not recorded at any step")
        frozen = without_gradient(trace)
        found = (self._site(trace, i) for i, site in enumerate(trace.sites) if site.saturates.any() and not frozen[i])
        return [observation for observation in found if observation]

    @staticmethod
    def _site(trace: Trace, i: int) -> Observation | None:
        shares = saturated_share(trace, i)
        finite = np.isfinite(shares)
        last = shares[window_start(trace) :]
        share = float(np.nanmedian(last)) if np.isfinite(last).any() else float("nan")
        if not share >= WARNING_FRAC or (trace.sites[i].is_output and _is_asked_for(trace)):
            return None
        below = np.flatnonzero(~(shares >= WARNING_FRAC) & finite)
        below = below[below < window_start(trace)]
        first = int(trace.steps[min(below[-1] + 1, len(trace.steps) - 1)]) if len(below) else int(trace.steps[0])
        unknown = trace.sites[i].is_output and not len(trace.loss)  # whether the loss asks for it: one that falls would tell
        harmless = learns_well(trace, first)
        severity: Severity = "note" if unknown else "error" if share >= ERROR_FRAC and not harmless else "warning"
        gate = trace.site_statistics["gate_transmission"][:, i]
        passed = float(np.nanmedian(gate)) if np.isfinite(gate).any() else float("nan")
        name = trace.sites[i].name
        since = "since the initialisation" if first == 0 else f"since step {first}"
        lets = f"; the layer lets {percent(passed)} of the gradient through" if np.isfinite(passed) else ""
        also = "; log the loss to tell whether it asks for that" if unknown else ALL_THE_SAME if harmless else ""
        return Observation(
            site=i,
            first_step=first,
            severity=severity,
            evidence={
                "saturated_frac": short(share),
                "at_first_record": short(float(shares[0])),
                "gate_transmission": short(passed),
            },
            cause=f"the pre-activations of {name} are too large {since}: they lie where the non-linearity is flat",
            text=f"{percent(share)} of {name}'s values are saturated{lets}{also}",
        )

    @classmethod
    def cases(cls) -> Sequence[Case]:
        """A tanh output at its bounds is healthy once the network learns, and a flat layer that costs nothing is no error."""
        kinds = ("shuts", "saturates", "saturates")
        falling = np.linspace(2.0, 0.1, 20)
        frozen = {("saturated_frac", 1): 0.95} | {(name, 1): np.nan for name in ("grad_rms", "gate_transmission")}
        flat, at_end = ({("saturated_frac", i): 0.95} for i in (1, 2))
        gone = np.geomspace(2.3, 0.05, 40)
        down, wrong = np.geomspace(90.0, 2.3, 40), np.geomspace(1.3, 0.9, 40)
        rising = np.repeat(np.linspace(0.0, 0.95, 20)[:, None], 10, axis=1)
        return [
            Case("flat from the start", lambda: example(kinds, site=flat), "error", 1, 0),
            Case("six values of ten", lambda: example(kinds, site={("saturated_frac", 1): 0.6}), "warning", 1, 0),
            Case("grows", lambda: example(kinds, site={("saturated_frac", 1): rising}), "warning", 1, 10),
            Case("output, loss falls", lambda: example(kinds, loss=falling, site=at_end), None),
            Case("output, loss stands", lambda: example(kinds, loss=2.3, metric=0.1, site=at_end), "error", 2, 0),
            Case("output, loss stands, metric is good", lambda: example(kinds, loss=1.6, metric=0.94, site=at_end), None),
            Case("output, no loss logged", lambda: untested(example(kinds, loss=None, site=at_end)), "note", 2, 0),
            Case("flat, no loss logged", lambda: example(kinds, loss=None, site=flat), "error", 1, 0),
            Case("flat, learns well", lambda: example(kinds, metric=0.97, site=flat), "warning", 1, 0),
            Case("flat, learns half", lambda: example(kinds, metric=0.6, site=flat), "error", 1, 0),
            Case("flat, the loss is gone", lambda: _falling(kinds, gone, gone, flat), "warning", 1, 0),
            Case("flat, down from a high start", lambda: _falling(kinds, down, wrong, flat), "error", 1, 0),
            Case("flat in a frozen part", lambda: example(kinds, site=frozen), None),
            Case("relu's flat side is none", lambda: example(site=flat), None),
            Case("ordinary", lambda: example(kinds), None),
            Case("nothing recorded", lambda: example(kinds, records=0), "undecided"),
        ]


def _falling(kinds: Sequence[str], loss: FloatArray, wrong: FloatArray, site: Mapping[tuple[str, int], float]) -> Trace:
    """Return a trace of a loop that logs its loss alone; `wrong` is the gradient at the output."""
    return replace(untested(example(kinds, records=len(loss), loss=loss, site=site)), output_grad_norm=wrong)


def saturated_share(trace: Trace, i: int) -> NDArray[np.floating]:
    """Return the share of saturated values of a site's saturating units, [record]; shut units (slope and output 0) left out."""
    shut = (trace.unit_statistics["closed_frac"][i] == 1) & (trace.unit_statistics["nonpositive_frac"][i] == 1)
    left_out = ~trace.sites[i].saturates | (shut & trace.sites[i].shuts)
    values = np.where(left_out, np.nan, trace.unit_statistics["saturated_frac"][i])
    counted = np.isfinite(values).sum(axis=1)
    return np.where(counted > 0, np.nansum(values, axis=1) / np.maximum(counted, 1), np.nan)


def _is_asked_for(trace: Trace) -> bool:
    """Tell whether the network learns, by the metric or as the loss falls: then its output is where it is to be."""
    if has_learnt(trace):
        return True
    if not len(trace.loss):
        return False
    tenth = max(1, len(trace.loss) // 10)
    first, last = np.median(trace.loss[:tenth]), np.median(trace.loss[-tenth:])
    return bool(last < LOSS_FELL * first)
