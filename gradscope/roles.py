"""Origin or victim: which of the observations in one trace started it, and which follow from another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradscope.report import Role
from gradscope.rules import Observation, Rule
from gradscope.rules.unscaled_input import FAR


@dataclass(frozen=True)
class Seen:
    """An observation with the rule that made it."""

    rule: type[Rule]
    observation: Observation

    @property
    def is_error(self) -> bool:
        """Whether it is severe enough to explain others."""
        return self.observation.severity == "error"


Leads = NDArray[np.bool_]  # [site, site], see `site_order.leads_to`


def role_of(seen: Seen, others: Sequence[Seen], leads: Leads) -> Role:
    """Return whether `seen` is an origin or follows from one of `others` (all of the same trace).

    Earlier and nearer to the loss mean: on a path of the network's own graph. Sites of branches side by side are neither.

    * A failure that spreads forward follows from one at an earlier site that was there no later; and from steps that had
      exploded, or replaced the weights, before.
    * A gradient that is lost on its way back is lost first nearest to the loss; where a layer nearer to the loss, or the site
      itself, is dead or saturated, that is why.
    * What a network is fed explains what goes wrong at the first site; if it is large, also values, gradients and steps that
      are too large anywhere, and units that such steps, or a mean beside which samples are alike, shut. What has gone wrong
      at the first site explains the rest, or nothing does.
    * Steps are too large where the gradient had exploded by then, or all units of a layer say the same, so that their gradients
      add up; what weights do that stand still follows from nothing.
    * What concerns the network as a whole follows from any error at a place or in the weights: a loss that diverges from what
      was there by then.
    """
    if seen.rule.slug == "exploding-gradient":  # does not follow from steps that are themselves too large because of it
        others = [other for other in others if other.rule.slug != "oversized-updates" or not _follows(other, others, leads)]
    return "victim" if _follows(seen, others, leads) else "origin"


def _follows(seen: Seen, others: Sequence[Seen], leads: Leads) -> bool:
    return any(_causes(other, seen, leads) for other in others if other is not seen)


def _causes(other: Seen, seen: Seen, leads: Leads) -> bool:
    if seen.rule.flow == "network":
        return other.is_error and _explains_network(other, seen)
    if other.rule.flow == "network":
        is_divergence = other.rule.slug == "diverging-loss" and other.is_error
        return is_divergence and seen.rule.slug == "non-finite" and _is_before(other, seen)
    if seen.rule.slug == "unscaled-input":
        return False
    if other.rule.slug == "unscaled-input":
        return other.is_error and _follows_from_input(seen, other)
    if seen.rule.flow == "weights":
        is_why = other.rule.slug in ("exploding-gradient", "identical-units") and other.is_error
        return seen.rule.slug == "oversized-updates" and is_why and not _is_before(seen, other)
    if other.rule.flow == "weights":
        return other.rule.slug == "oversized-updates" and other.is_error and _is_before(other, seen)
    if seen.rule.flow == "forward":
        return _spreads_forward(other, seen, leads)
    return _spreads_back(other, seen, leads)


def _follows_from_input(seen: Seen, fed: Seen) -> bool:
    if seen.rule.slug in _NOT_OF_INPUT:
        return False
    here = seen.observation.site is not None and seen.observation.site == fed.observation.site
    mean, deviation, rms = (float(str(fed.observation.evidence.get(f"input_{name}", "nan"))) for name in ("mean", "std", "rms"))
    if rms <= 1:  # tiny: nothing grows because of it
        return here
    # units anywhere shut by steps as large as the input, or by a mean beside which all samples are alike
    shut = seen.rule.slug in _SHUT and (_is_before(fed, seen) or abs(mean) > FAR * deviation)
    return here or shut or seen.rule.slug in _OF_SIZE


def _explains_network(other: Seen, seen: Seen) -> bool:
    if seen.rule.slug == "diverging-loss":
        return other.rule.flow != "network" and not _is_before(seen, other)
    return other.rule.flow != "network" or other.rule.slug == "diverging-loss"


def _spreads_forward(other: Seen, seen: Seen, leads: Leads) -> bool:
    before, after = other.observation, seen.observation
    if other.rule.flow == "backward":
        return other.rule.slug == "exploding-gradient" and other.is_error and _is_before(other, seen)
    upstream = _leads(leads, before.site, after.site)
    same_kind = other.rule is seen.rule and before.severity != "note"
    return upstream and (other.is_error or same_kind) and before.first_step <= after.first_step


def _spreads_back(other: Seen, seen: Seen, leads: Leads) -> bool:
    before, after = other.observation, seen.observation
    if other.rule.flow == "backward":
        return other.rule is seen.rule and _leads(leads, after.site, before.site)
    if other.rule.slug == "identical-units":  # weights of zero pass nothing back, whichever layer has them
        return other.is_error and seen.rule.slug == "vanishing-gradient" and not _is_before(seen, other)
    if seen.rule.slug == "exploding-gradient" or other.rule.slug == "common-mode":
        return False  # what is shut or flat lets less through, never more
    later = after.first_step == 0 < before.first_step  # what was there from the start does not follow from a later death
    stops = other.is_error or other.rule.slug == "dead-layer"  # which lets nothing through, even where a path leads around it
    here = before.site is not None and before.site == after.site
    return stops and (here or _leads(leads, after.site, before.site)) and not later


# What no input brings about, whatever its scale.
_NOT_OF_INPUT = ("frozen-weights", "identical-units", "vanishing-gradient")
# What an input's size is carried on to, by layers that let it through. A relu that shuts at first does so at any size.
_OF_SIZE = ("saturation", "exploding-gradient", "oversized-updates", "non-finite")
_SHUT = ("dead-units", "dead-layer", "output-collapse")


def _is_before(one: Seen, other: Seen) -> bool:
    return one.observation.first_step < other.observation.first_step


def _leads(leads: Leads, start: int | None, end: int | None) -> bool:
    return start is not None and end is not None and bool(leads[start, end])
