"""From what interventions did to the cause: which of them bring back first the gradient and then the loss, and what that says.

No number here is fitted to a network (how long an intervention lasts is: see `intervention_plan.STEPS`). The gradient is back
where more than half of what the placebo misses is, in nearly all seeds (four of five); the loss where it is lower than the
placebo's in nearly all seeds, and by more than chance would have at 5 % over all that were followed up at a place together
(paired tests, corrected by Holm's method).

Steps that are too large, and a loss that diverges, need not take the gradient out of its bounds. Where the placebo's is in them
there is none to bring back, and the loss alone has to tell: it is back where more than twice as much is learnt as by the
placebo, again in nearly all seeds and beyond chance. That is said so.

| what works alone | what it leaves as it is | so the cause is |
|---|---|---|
| lower lr | the network, its state | steps too large: they shut or saturate it, whatever else would undo that |
| centre z, centre input | size and gates | common-mode pre-activations: what is the same for all samples holds the gates |
| rescale z | the sign of every z, mean over spread | pre-activations too large (or too small: spread below 1, gradient lost) |
| open gate | the forward pass, to the bit | the gates as such, provided that centring does not open them |
| reset layer | how weights are drawn | the draw was unlucky (from step 0), or training had damaged the weights (later) |

Where several work, the first line counts: each line's change is smaller, or undoes more specifically, than those below it.
Centring comes before rescaling because unit variance shrinks the common part as well, not the other way round; and an open gate
lets the gradient through whatever shuts it, so it decides only where nothing else works. The placebo must bring back nothing:
it is what the others are measured against. One thing comes before lower rates: where z spreads over more than ten before the
first step, no step has made it so, and a rate low enough for such values only hides them. Which change lowers the loss most
says little: an open gate, which lets through what no closed one would, often beats the change that undoes the reason for its
being closed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradscope.holm import holm
from gradscope.intervention_plan import Arm, Kind, Measured, Place
from gradscope.student import paired_p

LEVEL = 0.05
MINIMUM_SEEDS = 3  # with two, a spread says nothing
HALF = 0.5
SPREAD = 10.0  # ten times the unit variance that initialisations are made for


@dataclass(frozen=True)
class Effect:
    """What one intervention did beside the placebo; `p` is corrected for all at the place that were followed up."""

    arm: Arm
    reached: tuple[float, ...]  # [seed]
    loss: tuple[float, ...]  # [seed] mean of the last quarter, see `end_loss`; empty where the intervention did not go on
    lower_in: int  # seeds
    p: float
    brings_gradient: bool
    brings_loss: bool
    is_by_loss: bool = False  # no gradient was lost that it could bring back

    @property
    def works(self) -> bool:
        """Whether it brings back first the gradient, if that was lost, and then the loss."""
        return self.brings_loss and (self.brings_gradient or self.is_by_loss)


@dataclass(frozen=True)
class Cause:
    """The cause by intervention; without a name it is not established, for the reason given."""

    name: str | None
    reason: str
    effects: tuple[Effect, ...]  # the placebo first


def nearly_all(seeds: int) -> int:
    """Return how many of the seeds must agree: four of five, rounded up.

    >>> [nearly_all(seeds) for seeds in (3, 4, 5, 9)]
    [3, 4, 4, 8]
    """
    return -(-4 * seeds // 5)


def cause_of(place: Place, measured: Sequence[Measured], guessing: float) -> Cause:
    """Return the cause of a failure.

    Args:
        place: where the interventions were tried; those elsewhere name a cause only where none here works.
        measured: one per arm, the placebo first.
        guessing: loss of the best constant answer.
    """
    effects = effects_of(place, measured, guessing)
    reason = _why_not(place, measured[0])
    if reason:
        return Cause(None, reason, effects)
    name = _name(place, effects, float(np.mean(measured[0].spread)))
    return Cause(name, "" if name else _what_missed(effects), effects)


def worth_going_on(place: Place, measured: Sequence[Measured]) -> list[Arm]:
    """Return the arms whose loss is worth looking at: those that bring the gradient back, placebo, and what others suspect.

    All where only the loss can tell; none where there is no cause to find.
    """
    placebo, *others = measured
    by_loss = _is_by_loss(place, placebo)
    back = [one.arm for one in others if by_loss or _brings_gradient(place, one, placebo)]
    if not back or _why_not(place, placebo):
        return []
    return [one.arm for one in measured if one is placebo or one.arm in back or one.arm in place.elsewhere]


def _why_not(place: Place, placebo: Measured) -> str:
    """Return why no cause can be named whatever the interventions do; empty where one can."""
    seeds = len(place.seeds)
    if seeds < MINIMUM_SEEDS:
        tried = "1 seed" if seeds == 1 else f"{seeds} seeds"
        return f"tried in {tried}, at least {MINIMUM_SEEDS} seeds are needed to tell an effect from noise"
    if not place.grows and not _is_lost(place, placebo):
        share = f"{100 * float(placebo.reached.mean()):.0f} %"
        return f"no gradient is lost that could be brought back: it reaches {share} of {place.site} without any change"
    return ""


def _is_lost(place: Place, placebo: Measured) -> bool:
    """Tell whether a gradient is lost without any change, in nearly all seeds: else there is none to bring back.

    Of a layer that shuts a single unit counts. Of values that saturate some always do: lost is more than half of them, from
    which on a layer counts as saturated. What grew is lost where it is out of its bounds.
    """
    missing = 1 - placebo.reached
    least = HALF if place.is_whole or not place.shuts else 0.0
    lost = placebo.reached == 0 if place.grows else missing > least
    return int(lost.sum()) >= nearly_all(len(lost))


def _is_by_loss(place: Place, placebo: Measured) -> bool:
    return place.grows and not _is_lost(place, placebo)


def effects_of(place: Place, measured: Sequence[Measured], guessing: float) -> tuple[Effect, ...]:
    """Return each arm's effect beside the placebo, the first one."""
    placebo = measured[0]
    compared = [one for one in measured if one.losses.shape == placebo.losses.shape]
    losses = [end_loss(one.losses, guessing) for one in compared]
    corrected = [1.0, *holm([paired_p(losses[0] - loss) for loss in losses[1:]])]
    after = {one.arm: (loss, p) for one, loss, p in zip(compared, losses, corrected, strict=True)}
    by_loss = _is_by_loss(place, placebo)
    found = []
    for one in measured:
        loss, p = after.get(one.arm, (np.empty(0), math.nan))
        lower_in = int((loss < losses[0]).sum()) if len(loss) else 0
        back_in = int((guessing - losses[0] < HALF * (guessing - loss)).sum()) if by_loss and len(loss) else lower_in
        found.append(
            Effect(
                arm=one.arm,
                reached=tuple(map(float, one.reached)),
                loss=tuple(map(float, loss)),
                lower_in=lower_in,
                p=p,
                brings_gradient=not by_loss and _brings_gradient(place, one, placebo),
                brings_loss=p <= LEVEL and back_in >= nearly_all(len(loss)),
                is_by_loss=by_loss,
            )
        )
    return tuple(found)


def end_loss(losses: NDArray[np.float64], guessing: float) -> NDArray[np.float64]:
    """Return the mean loss of the last quarter, [seed]; above that of guessing nothing has been learnt, however far above."""
    last = losses[:, -(losses.shape[1] // 4) :]
    return np.asarray(np.where(np.isfinite(last), np.minimum(last, guessing), guessing).mean(axis=1))


def _brings_gradient(place: Place, one: Measured, placebo: Measured) -> bool:
    """Tell whether more than half of what the placebo misses is back; of a gradient that grew, whether any is in its bounds."""
    missing = 1 - placebo.reached
    back = one.reached > 0 if place.grows else (missing > 0) & (one.reached - placebo.reached > HALF * missing)
    return int(back.sum()) >= nearly_all(len(back))


def _what_missed(effects: Sequence[Effect]) -> str:
    if effects[0].is_by_loss and any(effect.works for effect in effects):
        return "no gradient was lost, and the loss came back only by opening gates that are open"
    if effects[0].is_by_loss:
        return "no gradient was lost, and no change brought the loss back"
    if any(effect.works for effect in effects):
        return "the gradient comes back by centring as well as by opening the gate, the loss beyond noise by opening it only"
    if any(effect.brings_gradient for effect in effects):
        return "no change brought back first the gradient and then the loss"
    return "no change brought the gradient back"


def _name(place: Place, effects: Sequence[Effect], spread: float) -> str | None:
    working = [effect.arm for effect in effects[1:] if effect.works]
    here = {arm.kind for arm in working if place.layer in arm.layers}
    last = "last " if place.is_output else ""
    held = "closed" if place.shuts else "saturated"
    names: dict[Kind, str] = {
        "lower lr": "steps too large",
        "much lower lr": "steps too large",
        "centre z": f"common-mode {held} {last}pre-activations",
        "centre input": f"common-mode {held} {last}pre-activations",
        "rescale z": f"{last}pre-activations too {'large' if spread > 1 else 'small'}",
        "open gate": f"{held} {last}gates",
        "reset layer": "weights damaged by training" if place.begin else "unlucky initial weights",
    }
    centring = {effect.arm.kind for effect in effects if effect.brings_gradient and place.layer in effect.arm.layers}
    # Centring opens the gates, too: where it does they are not all that is wrong. Where no gradient is lost they are open.
    if effects[0].is_by_loss or centring & {"centre z", "centre input"}:
        here.discard("open gate")
    if place.grows and spread <= 1:  # enlarging z makes nothing smaller: what helps is that steps no longer change z's size
        names["rescale z"] = "steps too large"
    if place.begin == 0 and spread > SPREAD:
        first: dict[Kind, str] = {"rescale z": names["rescale z"]}
        names = first | names
    for kind, name in names.items():
        if kind in here:
            return name
    return next((place.elsewhere[arm] for arm in working if arm in place.elsewhere), None)
