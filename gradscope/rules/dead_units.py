"""GS101 dead-units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np

from gradscope.report import Severity
from gradscope.rules.base import CannotTell, Case, Judgement, Observation, Rule
from gradscope.rules.examples import UNITS, example
from gradscope.rules.learning import ALL_THE_SAME, learns_well
from gradscope.rules.window import shut_since, too_short
from gradscope.rules.wording import percent, short, why_shut
from gradscope.trace import Trace

# Share of a hidden layer's units. A tenth is seen in networks that learn well; "as much as 40 % of your network can be dead"
# is the figure that Stanford's CS231n notes warn of; beyond four fifths the layer is a bottleneck whatever its width says.
NOTE_FRAC, WARNING_FRAC, ERROR_FRAC = 0.1, 0.4, 0.8


@final
class DeadUnits(Rule):
    """Some units of a hidden layer are shut for every sample.

    What it does:
        Counts the units of a hidden site whose non-linearity is shut (slope 0, output 0) for every one of the last 300
        samples or more. 300 unseen openings bound the share of samples that open the unit by 1 %. Four fifths of them are an
        error, unless the network learns all the same: nine tenths of the way from guessing to a perfect test metric or, without
        one, nine tenths of the loss gone.

    Why it is bad:
        A shut unit passes nothing on and receives no gradient, so it cannot come back: the layer is narrower than it looks.

    When it is wrong:
        Wide layers lose some units without harm: up to 40 % this is a note. A unit that opens for one sample in a thousand
        counts as dead here. Sparse networks that are meant to be so.

    Fixes:
        batchnorm-all, a lower learning rate, leaky_relu, kaiming-normal initialisation.

    Sources:
        Lu et al. 2019, Dying ReLU and Initialization; Hanley and Lippman-Hand 1983 (rule of three); Stanford CS231n notes.
    """

    slug, code, flow = "dead-units", "GS101", "forward"
    steps_needed = 500  # relus that steps too large kill are dead within a dozen steps or a few

    def judge(self, trace: Trace) -> Judgement:
        """Judge each hidden site with units that can shut."""
        if reason := too_short(trace):
            return CannotTell(reason)
        found = (self._site(trace, i) for i, site in enumerate(trace.sites) if site.shuts.any() and not site.is_output)
        return [observation for observation in found if observation]

    @staticmethod
    def _site(trace: Trace, i: int) -> Observation | None:
        since = shut_since(trace, i)
        dead = int((since >= 0).sum())
        share = dead / len(since)
        if share < NOTE_FRAC or dead == len(since):  # a layer that is dead as a whole is GS102's
            return None
        enough = int(np.ceil(NOTE_FRAC * len(since)))
        first = int(np.sort(since[since >= 0])[enough - 1])
        severity: Severity = "warning" if share >= WARNING_FRAC else "note"
        harmless = learns_well(trace, first)
        also = ALL_THE_SAME if harmless else ""
        if share >= ERROR_FRAC and not harmless:
            severity = "error"
        name = trace.sites[i].name
        return Observation(
            site=i,
            first_step=first,
            severity=severity,
            evidence={"dead_frac": short(share), "dead_units": dead, "units": len(since)},
            cause=why_shut(trace, i, first),
            text=f"{dead} of {len(since)} units of {name} ({percent(share)}) are shut for every sample{also}",
        )

    @classmethod
    def cases(cls) -> Sequence[Case]:
        """Sparse is healthy; shut for good is not."""
        shut = {"closed_frac": 1.0, "nonpositive_frac": 1.0}

        def with_dead(units: int, metric: float = 0.8) -> Trace:
            values = {name: [1.0] * units + [0.6] * (UNITS - units) for name in shut}
            return example(metric=metric, site={(name, 0): value for name, value in values.items()})

        sparse = {("closed_frac", 0): 0.95, ("nonpositive_frac", 0): 0.95}
        return [
            Case("ninety-five per cent zeros", lambda: example(site=sparse), None),
            Case("two units of ten", lambda: with_dead(2), "note", 0, 0),
            Case("half of the units", lambda: with_dead(5), "warning", 0, 0),
            Case("nine units of ten", lambda: with_dead(9), "error", 0, 0),
            Case("nine units of ten, learns well", lambda: with_dead(9, 0.97), "warning", 0, 0),
            Case("ninety-six samples", lambda: example(records=3), "undecided"),
        ]
