"""A cause in words and numbers: what was changed and what happened."""

from __future__ import annotations

from collections.abc import Sequence

from gradscope.report import CauseFound, Finding, Intervention

MOST_NAMED = 3  # sites
INTERRUPTED = "interrupted"
DONE = {
    "placebo": "no change (placebo)",
    "centre z": "centring z",
    "centre input": "centring the input",
    "open gate": "opening the gate",
    "rescale z": "unit variance of z",
    "lower lr": "learning rate x 0.1",
    "much lower lr": "learning rate x 0.01",
    "reset layer": "fresh weights",
}


def what_was_done(one: Intervention) -> str:
    """Return an intervention in words.

    >>> what_was_done(Intervention(kind="centre z", sites=["3.relu"]))
    'centring z at 3.relu'
    """
    text = DONE.get(one.kind, one.kind)
    if one.kind in ("placebo", "lower lr", "much lower lr"):
        return text
    many = len(one.sites) > MOST_NAMED
    return f"{text} at " + (f"{one.sites[0]} to {one.sites[-1]}, {len(one.sites)} sites" if many else ", ".join(one.sites))


def what_happened(one: Intervention, placebo: Intervention) -> str:
    """Return what became of gradient and loss, means over the seeds."""
    text = f"gradient to {percent(one.reached)}"
    if not one.loss:
        return text
    text += f", loss {mean(one.loss):.3g}"
    return text if one is placebo else f"{text}, lower in {one.lower_in} of {len(one.loss)} seeds"


def back(one: Intervention) -> str:
    """Return what an intervention brought back, beside the placebo."""
    if one.works:
        return "both come back" if one.brings_gradient else "loss comes back"
    return "gradient only" if one.brings_gradient else "loss only" if one.brings_loss else ""


def summary(found: CauseFound) -> str:
    """Return in one sentence what shows the cause: the placebo, the change that counts, and those tried at other places."""
    placebo, *others = found.interventions
    here = [one for one in others if found.site in one.sites]
    told = [*[one for one in here if one.works][:1], *(one for one in others if one not in here)]
    parts = [f"{what_was_done(one)}: {what_happened(one, placebo)}" for one in (placebo, *told)]
    return f"{found.steps} steps from step {found.begin}, {len(found.seeds)} seeds: {'; '.join(parts)}"


def untested(finding: Finding, reason: str) -> Finding:
    """Return the finding with its rule's guess, marked as not tested."""
    found = CauseFound(cause=None, reason=f"not tested by intervention: {reason}", suspected=finding.cause)
    return finding.model_copy(update={"tested": found})


def is_cut_short(findings: Sequence[Finding]) -> bool:
    """Tell whether the search for their causes was interrupted."""
    return any(f.tested is not None and f.tested.reason.endswith(f": {INTERRUPTED}") for f in findings)


def cause_line(found: CauseFound) -> str:
    """Return the cause for a finding's `cause`."""
    if found.cause is None:
        return f"cause not established by intervention: {found.reason}. Suspected: {found.suspected}"
    return f"{found.cause} (by intervention: {summary(found)})"


def percent(shares: Sequence[float]) -> str:
    """Return the mean of shares as per cent, NaN for none."""
    return f"{100 * mean(shares):.0f} %"


def mean(values: Sequence[float]) -> float:
    """Return the mean, NaN of nothing."""
    return sum(values) / len(values) if values else float("nan")
