"""GS105 vanishing-gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np

from gradscope.report import Severity
from gradscope.rules.base import CannotTell, Case, Judgement, Observation, Rule
from gradscope.rules.examples import example
from gradscope.rules.flow import MEASURED, first_weight_share, has_way_around, movement, remaining, why_unknown
from gradscope.rules.learning import ALL_THE_SAME, learns_well
from gradscope.rules.site_order import leads_to
from gradscope.rules.wording import percent, short
from gradscope.trace import Trace

# Share of the gradient at the network's output that is left at a site: three orders of magnitude. Networks of a few layers
# that learn keep 0.01 to 10; absolute norms say nothing, shipped tools put their limits anywhere from 1e-4 to 1e-12.
LEFT_FRAC = 1e-3
# What counts is whether the weights still move: below 1 % of their size over the whole training they are frozen.
MOVEMENT = 0.01
NARROW = 0.05  # a gate that lets less through is no gate among others: a sigmoid lets up to a quarter through


@final
class VanishingGradient(Rule):
    """The gradient shrinks on its way from the loss until the first layers stand still.

    What it does:
        Measures at each site how much of the gradient at the network's output is left (the gradient waterfall) and looks for
        those with less than a thousandth in the median record. It is an error if the slowest weight matrix would move by
        less than 1 % of its size over the training at the observed rate, or (where no rate was seen) if nothing at all is
        left; else a warning. Also a warning in a branch around which the gradient finds its way to earlier sites, and where
        the network learns all the same: nine tenths of the way from guessing to a perfect test metric or, without one, nine
        tenths of the loss gone.

    Why it is bad:
        Layers that do not move stay random: the network learns from random features, or not at all.

    When it is wrong:
        Optimizers that rescale each weight's step (Adam) train through a thousandfold loss: then it is a warning.

    Fixes:
        batchnorm-all, relu or tanh instead of sigmoid, kaiming-normal or xavier-normal initialisation, fewer layers.

    Sources:
        Hochreiter 1991; Bengio, Simard and Frasconi 1994; Glorot and Bengio 2010.
    """

    slug, code, flow = "vanishing-gradient", "GS105", "backward"
    steps_needed = 200  # it is the initialisation that shows it; the median record is no longer one of the first ten

    def judge(self, trace: Trace) -> Judgement:
        """Judge every site by what is left of the gradient there."""
        left = remaining(trace)
        known = np.isfinite(left)
        if not known.any():
            return CannotTell(why_unknown(trace))
        # a site that no gradient is meant to reach (frozen weights before it) has no share of it and is passed over
        median = np.array([np.median(left[known[:, i], i]) if known[:, i].any() else np.inf for i in range(len(trace.sites))])
        leads = leads_to(trace)
        return [self._loss(trace, i, left, median, leads[i]) for i in range(len(trace.sites)) if median[i] < LEFT_FRAC]

    @staticmethod
    def _loss(
        trace: Trace,
        i: int,
        left: np.ndarray[tuple[int, ...], np.dtype[np.floating]],
        median: np.ndarray[tuple[int, ...], np.dtype[np.floating]],
        behind: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
    ) -> Observation:
        moved = movement(trace, reached=bool(median[i] > 0))
        frozen = median[i] == 0 if moved is None else moved < MOVEMENT
        gates = trace.site_statistics["gate_transmission"][:, behind | (np.arange(len(behind)) == i)]
        gates = np.nanmedian(gates[:, np.isfinite(gates).any(axis=0)], axis=0)  # a gate that no gradient reaches has no number
        above = np.flatnonzero(~(left[:, i] < LEFT_FRAC) & np.isfinite(left[:, i]))
        first = int(trace.steps[min(above[-1] + 1, len(trace.steps) - 1)]) if len(above) else int(trace.steps[0])
        harmless = learns_well(trace, first)
        severity: Severity = "error" if frozen and not harmless and not _is_off_the_way(trace, i, median) else "warning"
        name = trace.sites[i].name
        still = "" if moved is None else f"; the slowest weights would move by {percent(moved)} of their size in the training"
        smallest = float(np.nanmin(gates)) if np.isfinite(gates).any() else float("nan")
        cause = f"each gate on the way lets {percent(smallest)} or more through, and the weights between them shrink it further"
        if smallest < NARROW:
            cause = f"the narrowest gate on the way lets {percent(smallest)} through"
        if np.isnan(smallest):
            cause = "what lies between here and the loss shrinks it; no gate on the way was seen"
        if median[i] == 0:
            cause = "no gradient at all passes a gate between here and the loss"
        return Observation(
            site=i,
            first_step=first,
            severity=severity,
            evidence={
                "remaining_frac": short(float(median[i])),
                "smallest_gate_transmission": short(smallest),
                "weight_movement": None if moved is None else short(moved),
            },
            cause=cause,
            text=f"{median[i]:.1e} of the gradient at the output is left at {name}{still}" + ALL_THE_SAME * harmless,
        )

    @classmethod
    def cases(cls) -> Sequence[Case]:
        """Small gradients are healthy where the weights move."""
        kinds = ("saturates",) * 8
        deep = {("gate_transmission", i): 0.24 for i in range(8)}
        still = {("update_to_weight", 0): 1e-7, ("grad_to_weight", 0): 1e-9}
        cut: dict[tuple[str, int], float] = {("gate_transmission", 2): 0.0, ("weight_transmission", 1): float("nan")}
        branch = {("remaining", 1): 0.0, ("gate_transmission", 1): 0.0}
        unmoved = {("update_to_weight", i): float("nan") for i in range(8)} | {("grad_to_weight", 0): 1e-9}
        trunk = {("update_to_weight", 0): 1e-7}
        little, none = {("remaining", 0): 1e-5}, {("remaining", 0): 0.0}
        return [
            Case("eight sigmoids", lambda: example(kinds, site=deep, parameter=still), "error", 4, 0),
            Case("eight sigmoids, learns", lambda: example(kinds, metric=0.97, site=deep, parameter=still), "warning", 4, 0),
            Case("eight sigmoids that move", lambda: example(kinds, site=deep), "warning", 4, 0),
            Case("three layers", example, None),
            Case("shut gate behind", lambda: example(site=cut, parameter=still), "error", 2, 0),
            Case("a shut gate in a branch", lambda: example(site=cut | {("remaining", i): 0.3 for i in range(3)}), None),
            Case("nothing is left in a branch", lambda: example(site=branch, parameter=still), "warning", 1, 0),
            Case("little is left", lambda: example(site=little, parameter=still), "error", 0, 0),
            Case("little is left in branches alone", lambda: example(site=little, parameter=trunk), "warning", 0, 0),
            Case("little is left, movement not seen", lambda: example(site=little, parameter=unmoved), "warning", 0, 0),
            Case("nothing is left, movement not seen", lambda: example(site=none, parameter=unmoved), "error", 0, 0),
            Case("no gradient at the output", _unseen_output, "undecided"),
            Case("nothing recorded", lambda: example(records=0), "undecided"),
        ]


def _is_off_the_way(trace: Trace, i: int, median: np.ndarray[tuple[int, ...], np.dtype[np.floating]]) -> bool:
    """Tell whether the gradient comes to earlier sites or weights all the same, or a path leads around a shut site."""
    if MEASURED not in trace.site_statistics:
        return False
    share = first_weight_share(trace)
    if share is not None and share >= LEFT_FRAC:
        return True
    earlier = median[:i]
    if (np.isfinite(earlier) & (earlier >= LEFT_FRAC)).any():
        return True
    gate = trace.site_statistics["gate_transmission"][:, i]
    return bool(np.isfinite(gate).any() and np.nanmedian(gate) == 0 and has_way_around(trace, i))


def _unseen_output() -> Trace:
    trace = example(site={("remaining", i): float("nan") for i in range(3)})
    trace.output_grad_norm[:] = np.nan
    return trace
