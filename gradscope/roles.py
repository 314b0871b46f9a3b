"""Origin or victim: which of the observations in one trace started it, and which follow from another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gradscope.report import Role
from gradscope.rules import Observation, Rule


@dataclass(frozen=True)
class Seen:
    """An observation with the rule that made it."""

    rule: type[Rule]
    observation: Observation

    @property
    def is_error(self) -> bool:
        """Whether it is severe enough to explain others."""
        return self.observation.severity == "error"


def role_of(seen: Seen, others: Sequence[Seen]) -> Role:
    """Return whether `seen` is an origin or follows from one of `others` (all of the same trace).

    * A failure that spreads forward follows from one at an earlier site that was there no later; and from steps that had
      exploded before.
    * A gradient that is lost on its way back is lost first nearest to the loss; where a layer nearer to the loss, or the site
      itself, is dead or saturated, that is why.
    * What concerns the network as a whole follows from any error at a place.
    """
    causes = [other for other in others if other is not seen and _causes(other, seen)]
    return "victim" if causes else "origin"


def _causes(other: Seen, seen: Seen) -> bool:
    if seen.rule.flow == "network":
        return other.is_error and other.rule.flow != "network"
    if other.rule.flow == "network":
        return False
    before, after = other.observation, seen.observation
    if seen.rule.flow == "forward":
        if other.rule.flow == "backward":
            return other.rule.slug == "exploding-gradient" and other.is_error and before.first_step < after.first_step
        upstream = _site(before, 10**9) < _site(after, -1)
        same_kind = other.rule is seen.rule and before.severity != "note"
        return upstream and (other.is_error or same_kind) and before.first_step <= after.first_step
    nearer_to_loss = _site(before, -1) > _site(after, -1)
    if other.rule.flow == "backward":
        return other.rule is seen.rule and nearer_to_loss
    if seen.rule.slug == "exploding-gradient" or other.rule.slug == "common-mode":
        return False  # what is shut or flat lets less through, never more
    later = after.first_step == 0 < before.first_step  # what was there from the start does not follow from a later death
    stops = other.is_error or other.rule.slug == "dead-layer"  # which lets nothing through, even where a path leads around it
    return stops and _site(before, -1) >= _site(after, -1) and not later


def _site(observation: Observation, unknown: int) -> int:
    return unknown if observation.site is None else observation.site
