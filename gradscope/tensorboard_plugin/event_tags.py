"""What the tags of a member tell of themselves, and which of their events still count.

A folder may have been written more than once, and TensorBoard keeps what it has read: of the steps that a later author has
written, those of an earlier one are gone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from gradscope.renderers.tensorboard_form import EVALUATIONS, FORM, LOSS, SITES, UNITS
from gradscope.renderers.view_sites import SiteFacts

Told = Mapping[str, Any]
"""Of one tag, as JSON."""


@dataclass(frozen=True)
class TaggedSeries:
    """A member's tags with one and the same sites, and what they tell of themselves."""

    sites_tag: str
    units_tag: str
    arm: str
    seed: int
    metric: str
    sites: Sequence[SiteFacts]
    statistics: Sequence[str]
    unit_statistics: Sequence[str]
    kept: Sequence[int]  # units of each site
    last_step: int  # -1: none is left
    until: int | None  # the step from which on a later author's count


@dataclass(frozen=True)
class CurveTag:
    """A tag of losses or evaluations."""

    tag: str
    until: int | None


def tagged_series(tags: Mapping[str, Any]) -> list[TaggedSeries]:
    """Return what TensorBoard's list of a run's tags tells, in the order in which they were begun.

    What a newer gradscope has written in another form is left out.
    """
    return [_series(tags, number, told, _until(tags, told)) for number, told in _numbered(tags, SITES)]


def loss_tags(tags: Mapping[str, Any]) -> list[CurveTag]:
    """Return the tags of losses in the order in which they were begun."""
    return [CurveTag(LOSS + number, _until(tags, told)) for number, told in _numbered(tags, LOSS)]


def evaluation_tags(tags: Mapping[str, Any]) -> list[CurveTag]:
    """Return the tags of evaluations in the order in which they were begun."""
    return [CurveTag(EVALUATIONS + number, _until(tags, told)) for number, told in _numbered(tags, EVALUATIONS)]


def last_author(tags: Mapping[str, Any]) -> tuple[int, int]:
    """Return the number of the one who began last, and the first step of theirs."""
    return max(_authors(tags), default=(0, 0))


@lru_cache(maxsize=4096)  # as long as a run is looked at its tags tell the same
def told_in(content: bytes) -> Told:
    """Return what a tag tells."""
    told: Told = json.loads(content)
    return told


def is_ours(told: Told) -> bool:
    """Tell whether what a tag tells of itself is of the form that is read here."""
    return told.get("form") == FORM


def _numbered(tags: Mapping[str, Any], name: str) -> list[tuple[str, Told]]:
    """Return the numbers that follow a name in tags, as they stand there, with what the tags tell."""
    found = [match[1] for tag in tags if (match := re.fullmatch(rf"{name}(\d*)", tag))]
    told = [
        (number, json.loads(tags[name + number].plugin_content)) for number in sorted(found, key=lambda text: int(text or 0))
    ]
    return [(number, one) for number, one in told if is_ours(one)]


def _authors(tags: Mapping[str, Any]) -> set[tuple[int, int]]:
    told = [told for name in (SITES, LOSS, EVALUATIONS) for _, told in _numbered(tags, name)]
    return {(one.get("author", 0), one.get("first", 0)) for one in told}


def _until(tags: Mapping[str, Any], told: Told) -> int | None:
    return min((first for author, first in _authors(tags) if author > told.get("author", 0)), default=None)


def _series(tags: Mapping[str, Any], number: str, told: Told, until: int | None) -> TaggedSeries:
    of_units = told_in(tags[UNITS + number].plugin_content) if UNITS + number in tags else {"kept": [], "statistics": []}
    last = tags[SITES + number].max_step
    last = -1 if last is None else last  # TensorBoard has dropped all events of the tag
    return TaggedSeries(
        sites_tag=SITES + number,
        units_tag=UNITS + number,
        arm=told["arm"],
        seed=told["seed"],
        metric=told["metric"],
        sites=told["sites"],
        statistics=told["statistics"],
        unit_statistics=of_units["statistics"],
        kept=of_units["kept"],
        last_step=last if until is None else min(last, until - 1),
        until=until,
    )
