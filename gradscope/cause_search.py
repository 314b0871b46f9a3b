"""Finds the cause of each failure of a trial by intervention, and writes it into the report's findings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from gradscope.cause_text import INTERRUPTED, cause_line, untested
from gradscope.causes import Cause, Effect, cause_of
from gradscope.data import Data
from gradscope.intervention_plan import FEWEST_STEPS, STEPS, Arm, Measured, Place, narrowest, places_of, tested_findings
from gradscope.intervention_training import InterventionTraining
from gradscope.objective import CLASS_LOSSES, losses
from gradscope.recipe import Recipe
from gradscope.report import CauseFound, Finding, Intervention, Report
from gradscope.trace import Site, Trace


@dataclass(frozen=True)
class Search:
    """How causes are searched for, beside recipe and data."""

    device: torch.device
    allow_code: bool = False
    steps: int = STEPS
    should_stop: Callable[[], bool] = lambda: False
    advance: Callable[[int], None] = lambda steps: None
    more_planned: Callable[[int], None] = lambda steps: None  # told of steps before they are taken


def with_causes(report: Report, recipe: Recipe, data: Data, traces: Sequence[Trace], search: Search) -> Report:
    """Return the report with the cause of each error that a failure starts with; the rest of it is left as it is.

    A cause is named where it is established. A model of the user's own, and an origin beyond the first few, is not tested.

    Args:
        report: of the trial.
        recipe: the control's.
        data: on the device; flattened for a stack.
        traces: the control's.
        search: device and limits.

    Raises:
        CodeError: code of the user's own failed.
    """
    asked = tested_findings(report)
    if not asked:
        return report
    if recipe.stack is None:
        return without_causes(report, "only a stack's layers can be changed one by one")
    if search.steps < FEWEST_STEPS:
        return without_causes(report, f"{search.steps} steps are too few, {FEWEST_STEPS} are needed")
    training = InterventionTraining(
        recipe,
        data,
        search.device,
        allow_code=search.allow_code,
        steps=search.steps,
        should_stop=search.should_stop,
        advance=search.advance,
        more_planned=search.more_planned,
    )
    found: dict[int, Finding] = {}
    guessing = guessing_loss(recipe.training.loss, data)
    for place, findings in places_of(report, traces):
        measured = training.try_at(place)
        if not measured:
            break
        cause, same = cause_of(place, measured, guessing), repeats(measured[0], place, traces)
        for one in findings:
            found[id(one)] = explained(one, place, cause, traces[0].sites, search.steps, is_control=same)
    for finding in asked:
        found.setdefault(id(finding), untested(finding, _why_untested(finding, traces, search)))
    return report.model_copy(update={"findings": [found.get(id(finding), finding) for finding in report.findings]})


def _why_untested(finding: Finding, traces: Sequence[Trace], search: Search) -> str:
    if search.should_stop():
        return INTERRUPTED
    if finding.site is None and narrowest(traces) is None:
        return "no site's gate was recorded, so no place is known to begin at"
    return "others come first"


def without_causes(report: Report, reason: str) -> Report:
    """Return the report with each finding that would have been tested marked as not tested, for this reason."""
    asked = {id(finding) for finding in tested_findings(report)}
    findings = [untested(finding, reason) if id(finding) in asked else finding for finding in report.findings]
    return report.model_copy(update={"findings": findings})


def repeats(placebo: Measured, place: Place, traces: Sequence[Trace]) -> bool:
    """Tell whether the placebo did what the control did, every loss to the bit, as far as the control went."""
    control = {trace.seed: trace.loss[place.begin :] for trace in traces}
    pairs = [(placebo.losses[i], control[seed]) for i, seed in enumerate(place.seeds)]
    return all(np.array_equal(a[: len(b)].astype(np.float32), b[: len(a)], equal_nan=True) for a, b in pairs)


def guessing_loss(kind: str, data: Data) -> float:
    """Return the training loss of the best constant answer, in the units of the loss."""
    y = data.y_train
    if data.classes:
        shares = torch.bincount(y, minlength=data.outputs).double() / len(y)
        answer = shares.log() if kind in CLASS_LOSSES else shares
    else:
        answer = y.double().mean(dim=0)
    if kind == "bce-with-logits":
        answer = torch.logit(answer, eps=1e-12)
    answer = answer.clamp(min=-1e3)  # of a class that never occurs
    target = y if not y.is_floating_point() else y.double()
    return float(losses(kind, answer.expand(1, len(y), -1), target.unsqueeze(0)))


def explained(finding: Finding, place: Place, cause: Cause, sites: Sequence[Site], steps: int, *, is_control: bool) -> Finding:
    """Return the finding with its cause, as far as it is established."""
    names = {int(site.name.partition(".")[0]) - 1: site.name for site in sites}
    found = CauseFound(
        cause=cause.name,
        reason=cause.reason,
        site=place.site,
        begin=place.begin,
        steps=steps,
        seeds=list(place.seeds),
        interventions=[_intervention(effect, names) for effect in cause.effects],
        suspected=finding.cause,
        placebo_is_control=is_control,
    )
    return finding.model_copy(update={"cause": cause_line(found), "tested": found})


def _intervention(effect: Effect, names: dict[int, str]) -> Intervention:
    return Intervention(
        kind=effect.arm.kind,
        sites=_sites(effect.arm, names),
        reached=[float(f"{value:.4g}") for value in effect.reached],
        loss=[float(f"{value:.4g}") for value in effect.loss],
        lower_in=effect.lower_in,
        p=float(f"{effect.p:.3g}"),
        brings_gradient=effect.brings_gradient,
        brings_loss=effect.brings_loss,
        works=effect.works,
    )


def _sites(arm: Arm, names: dict[int, str]) -> list[str]:
    return [names.get(layer, f"layer {layer + 1}") for layer in arm.layers]
