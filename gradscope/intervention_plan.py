"""What is changed to find a cause: which interventions, at which layers, from which step. Known before anything trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gradscope.report import Finding, Hypothesis, Report
from gradscope.trace import Site, Trace

Kind = Literal["placebo", "centre z", "centre input", "open gate", "rescale z", "lower lr", "much lower lr", "reset layer"]

AT_ORIGIN: tuple[Kind, ...] = ("lower lr", "much lower lr", "centre z", "centre input", "rescale z", "open gate", "reset layer")
"""In the order in which they count where several work: see `causes`."""
EVERYWHERE: tuple[Kind, ...] = ("centre z", "rescale z", "open gate")
"""What is also done at all places of the failure at once, where it stands at several: one gate among many may not do."""

STEPS = 800
"""Steps of an intervention: first a quarter of them for all, in whose second half (100 batches) the gradient is looked at.

Those that bring it back go on, and in the last quarter the loss is looked at. What was shut learns late: in the published
network all changes look alike after 300 steps. That network chose this number; whoever judges by it how well causes are found
there has to know.
"""
FEWEST_STEPS = 8  # of which the second eighth, in which the gradient is looked at, holds a step
MOST_PLACES = 3  # origins that are tested, the worst first; each costs some hundred steps of about fifty networks
MOST_SEEDS = 9
RATES: Mapping[Kind, float] = {"lower lr": 0.1, "much lower lr": 0.01}
"""By what the learning rate is multiplied: a tenth of one that is a hundred times too large is still too large."""

BACKWARD = ("vanishing-gradient", "exploding-gradient")
"""Rules of a gradient that is lost, or grows, bit by bit on its way: the way is the place, from the site to the output."""
GROWING = ("exploding-gradient", "non-finite", "oversized-updates", "diverging-loss")
"""Rules of what is too large: gradients, steps, losses. Where the gradient is in its bounds the loss alone has to come back."""


@dataclass(frozen=True)
class Arm:
    """One intervention: what is changed and in which layers, counted from 0. The placebo changes nothing."""

    kind: Kind
    layers: tuple[int, ...] = ()

    @property
    def label(self) -> str:
        """The kind and the layers, counted from 1.

        >>> Arm("centre z", (0, 2)).label
        'centre z 1 3'
        """
        return " ".join([self.kind, *(str(layer + 1) for layer in self.layers)])


PLACEBO = Arm("placebo")


@dataclass(frozen=True)
class Place:
    """Where and from when interventions are tried, and for which seeds."""

    site: str
    layer: int
    begin: int  # the state before this step is restored
    seeds: tuple[int, ...]
    arms: tuple[Arm, ...]  # the placebo first
    is_output: bool = False
    shuts: bool = False  # as relu does; else the gates saturate
    is_whole: bool = False  # the failure is the whole network's, which need not be one of the gradient
    grows: bool = False  # the failure is a gradient that grows; else it is one that is lost
    elsewhere: Mapping[Arm, str] = field(default_factory=dict, hash=False)  # arms at other layers: what each would prove


@dataclass(frozen=True, eq=False)
class Measured:
    """What one arm came to at a place."""

    arm: Arm
    reached: NDArray[np.float64]  # [seed] share of the place that the gradient reaches, before the first quarter ends
    losses: NDArray[np.float64]  # [seed, step] training loss, of a quarter of the steps where it did not go on
    spread: NDArray[np.float64]  # [seed] standard deviation of z at the first step


def layer_of(site: str) -> int:
    """Return the layer of a stack's site, counted from 0.

    >>> layer_of("3.relu")
    2
    """
    return int(site.partition(".")[0]) - 1


def tested_findings(report: Report) -> list[Finding]:
    """Return the findings whose cause is asked for: what errors start with, be it milder there than where it leads to."""
    errors = {finding.rule for finding in report.findings if finding.severity == "error"}
    return [f for f in report.findings if f.role == "origin" and f.rule in errors and f.severity != "note"]


def places_of(report: Report, traces: Sequence[Trace]) -> list[tuple[Place, list[Finding]]]:
    """Return where to intervene, each place with the findings that it is to explain, the worst first.

    Args:
        report: of a stack.
        traces: the control's, one per seed.
    """
    groups: dict[tuple[str, bool], list[Finding]] = {}
    for finding in tested_findings(report):
        site = finding.site or narrowest(traces)
        if site is not None:
            groups.setdefault((site, finding.rule in GROWING), []).append(finding)
    chosen = list(groups.items())[:MOST_PLACES]
    begins = [_before(min(f.first_step for f in found), traces[0]) for _, found in chosen]
    return [
        (_place(site, found, report, traces, _together(begin, begins)), found)
        for begin, ((site, _), found) in zip(begins, chosen, strict=True)
    ]


def arms_at(origin: int, others: Sequence[int], elsewhere: Sequence[Arm] = ()) -> tuple[Arm, ...]:
    """Return the placebo, everything at the origin, some of it wherever the failure stands, and what others suspect.

    >>> [arm.layers for arm in arms_at(2, [], [Arm("open gate", (1,))])][-2:]
    [(2,), (1,)]
    """
    arms = [PLACEBO, *(Arm(kind, (origin,)) for kind in AT_ORIGIN)]
    whole = tuple(sorted({origin, *others}))
    if len(whole) > 1:
        arms += [Arm(kind, whole) for kind in EVERYWHERE]
    return tuple(dict.fromkeys([*arms, *elsewhere]))


def suspected(hypotheses: Sequence[Hypothesis], sites: Sequence[Site], origin: str) -> dict[Arm, str]:
    """Return the interventions that the two published explanations call for, away from the origin, with what they would prove.

    If saturated sigmoids were to blame, opening the most saturated hidden layer's gates would help; if closed last
    pre-activations, centring these.
    """
    found: dict[Arm, str] = {}
    for site in sites:
        if site.is_output and site.name != origin:
            held = "closed" if site.shuts.any() else "saturated"
            found[Arm("centre z", (layer_of(site.name),))] = f"common-mode {held} last pre-activations"
    for hypothesis in hypotheses:
        shares = {site: value for site, value in hypothesis.evidence.items() if isinstance(value, float)}
        worst = max(shares, key=lambda site: shares[site], default=origin)
        if hypothesis.name == "saturated sigmoids" and worst != origin:
            found[Arm("open gate", (layer_of(worst),))] = f"saturated gates at {worst}"
    return found


def _together(begin: int, begins: Sequence[int]) -> int:
    """Return the first of the steps that lie little before this one: failures so near to one another may have one cause."""
    return min(other for other in begins if begin - STEPS // 8 < other <= begin)


def _place(name: str, findings: Sequence[Finding], report: Report, traces: Sequence[Trace], begin: int) -> Place:
    sites = traces[0].sites
    site = next(site for site in sites if site.name == name)
    elsewhere = suspected(report.hypotheses, sites, name)
    seeds = sorted({seed for finding in findings for seed in finding.seeds})
    ordered = [trace.seed for trace in traces if trace.seed in seeds]
    return Place(
        site=name,
        layer=layer_of(name),
        begin=begin,
        seeds=tuple(ordered[:MOST_SEEDS]),
        arms=arms_at(layer_of(name), sorted(_others(findings, report, sites)), list(elsewhere)),
        is_output=site.is_output,
        shuts=bool(site.shuts.any()),
        is_whole=all(finding.site is None for finding in findings),
        grows=any(finding.rule in GROWING for finding in findings),
        elsewhere=elsewhere,
    )


def _others(findings: Sequence[Finding], report: Report, sites: Sequence[Site]) -> set[int]:
    """Return the other layers at which the failure stands: where the same rule finds it, and those on the gradient's way."""
    rules = {finding.rule for finding in findings}
    found = {layer_of(f.site) for f in report.findings if f.rule in rules and f.site is not None}
    if rules & set(BACKWARD):
        first = min(layer_of(f.site) for f in findings if f.site is not None)
        found |= {layer_of(site.name) for site in sites if layer_of(site.name) >= first}
    return found


def _before(first_step: int, trace: Trace) -> int:
    """Return the last recorded step at which the failure did not stand; step 0 where it stood from the start."""
    earlier = trace.steps[trace.steps < first_step]
    return int(earlier[-1]) if len(earlier) else 0


def narrowest(traces: Sequence[Trace]) -> str | None:
    """Return the site whose gate lets the least gradient through, in the median record of all seeds."""
    gates = np.concatenate([trace.site_statistics["gate_transmission"] for trace in traces]) if traces else np.empty((0, 0))
    known = [i for i in range(gates.shape[1]) if np.isfinite(gates[:, i]).any()]
    if not known:
        return None
    return traces[0].sites[min(known, key=lambda i: float(np.nanmedian(gates[:, i])))].name
