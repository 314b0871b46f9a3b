"""A cause in words and numbers: what was changed and what happened."""

from __future__ import annotations

from collections.abc import Sequence

from gradscope.causes import Cause, Effect
from gradscope.intervention_plan import Arm, Place
from gradscope.report import CauseFound, Finding, Intervention
from gradscope.trace import Site

MOST_NAMED = 3  # sites
DONE = {
    "placebo": "no change (placebo)",
    "centre z": "centring z",
    "centre input": "centring the input",
    "open gate": "opening the gate",
    "rescale z": "scaling z to unit variance",
    "lower lr": "a tenth of the learning rate",
    "reset layer": "fresh weights",
}


def what_was_done(one: Intervention) -> str:
    """Return an intervention in words.

    >>> what_was_done(Intervention(kind="centre z", sites=["3.relu"]))
    'centring z at 3.relu'
    """
    text = DONE.get(one.kind, one.kind)
    if one.kind in ("placebo", "lower lr"):
        return text
    many = len(one.sites) > MOST_NAMED
    return f"{text} at " + (f"{one.sites[0]} to {one.sites[-1]}, {len(one.sites)} sites" if many else ", ".join(one.sites))


def what_happened(one: Intervention, placebo: Intervention) -> str:
    """Return what became of gradient and loss, means over the seeds."""
    text = f"gradient to {_percent(one.reached)}, loss {_mean(one.loss):.3g}"
    if one is placebo:
        return text
    return f"{text}, lower in {one.lower_in} of {len(one.loss)} seeds"


def summary(found: CauseFound) -> str:
    """Return in one sentence what shows the cause, or why none is shown."""
    if not found.interventions:
        return found.reason
    placebo = found.interventions[0]
    told = [one for one in found.interventions[1:] if one.works] or found.interventions[1:]
    parts = [f"{what_was_done(one)}: {what_happened(one, placebo)}" for one in (placebo, *told)]
    return f"{found.steps} steps from step {found.begin} at {found.site}: {'; '.join(parts)}"


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


def untested(finding: Finding, reason: str) -> Finding:
    """Return the finding with its rule's guess, marked as not tested."""
    found = CauseFound(cause=None, reason=f"not tested by intervention: {reason}", suspected=finding.cause)
    return finding.model_copy(update={"tested": found})


def cause_line(found: CauseFound) -> str:
    """Return the cause for a finding's `cause`."""
    if found.cause is None:
        return f"cause not established by intervention: {found.reason}. Suspected: {found.suspected}"
    return f"{found.cause} (by intervention: {summary(found)})"


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


def _percent(shares: Sequence[float]) -> str:
    return f"{100 * _mean(shares):.0f} %"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")
