"""From the tensors in event files to a member's records. What of a run was written twice counts as written last."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradscope.renderers.tensorboard_tensors import FORM, SITES, UNITS
from gradscope.renderers.view_member import MemberRecords, UnitRecords, sampled_units
from gradscope.renderers.view_sites import SiteFacts
from gradscope.trace import FloatArray, IntArray

NUMBERED = re.compile(rf"{SITES}(\d*)")
EVERY_EVENT = 1_000_000  # all that TensorBoard has kept: it would choose from more by chance


Events = Sequence[Any]
"""Of one tag, as TensorBoard's data provider gives them: each has a step and a value. Its classes have no annotations."""


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
    last_step: int


def tagged_series(tags: Mapping[str, Any]) -> list[TaggedSeries]:
    """Return what TensorBoard's list of a run's tags tells, in the order in which they were begun.

    What a newer gradscope has written in another form is left out.
    """
    found = [NUMBERED.fullmatch(tag) for tag in tags]
    numbers = sorted((int(match[1] or 0), match[1]) for match in found if match)
    series = [(json.loads(tags[SITES + number].plugin_content), number) for _, number in numbers]
    return [_series(tags, number, told) for told, number in series if is_ours(told)]


def is_ours(told: Mapping[str, Any]) -> bool:
    """Tell whether what a tag tells of itself is of the form that is read here."""
    return told.get("form") == FORM


def in_steps(data: Events) -> list[Any]:
    """Return events in the order of their steps, of one step the last: a resumed run writes some steps again."""
    by_step = {datum.step: datum for datum in data}
    return [by_step[step] for step in sorted(by_step)]


def joined_sites(series: Sequence[TaggedSeries], tensors: Mapping[str, Any], only: Sequence[str] = ()) -> MemberRecords:
    """Return a member's records, with the sites that its last tag has; NaN where an earlier tag does not have one.

    Args:
        series: what the tags tell.
        tensors: their events.
        only: statistics; all where none is named.
    """
    last = series[-1]
    names = [site["name"] for site in last.sites]
    statistics = list(only or last.statistics)
    blocks = []
    for one in series:
        steps, values = _stacked(tensors.get(one.sites_tag, ()), (len(one.sites), len(one.statistics)))
        block = np.full((len(steps), len(names), len(statistics)), np.nan, np.float32)
        shared = [i for i, site in enumerate(one.sites) if site["name"] in names]
        rows = [names.index(one.sites[i]["name"]) for i in shared]
        for column, statistic in enumerate(statistics):
            if statistic in one.statistics:
                block[:, rows, column] = values[:, shared, one.statistics.index(statistic)]
        blocks.append((steps, block))
    steps, table = _joined(blocks)
    return MemberRecords(last.sites, steps, {name: table[:, :, i] for i, name in enumerate(statistics)})


def joined_units(series: Sequence[TaggedSeries], tensors: Mapping[str, Any], site: int) -> UnitRecords:
    """Return the histories of the units of one of the last tag's sites."""
    last = series[-1]
    name, units, kept = last.sites[site]["name"], last.sites[site]["units"], last.kept[site]
    blocks = []
    for one in series:
        names = [facts["name"] for facts in one.sites]
        place = names.index(name) if name in names else -1
        if place < 0 or one.kept[place] != kept or one.unit_statistics != last.unit_statistics:
            continue
        steps, values = _stacked(tensors.get(one.units_tag, ()), (len(one.unit_statistics), sum(one.kept)))
        start = sum(one.kept[:place])
        blocks.append((steps, values[:, :, start : start + kept].astype(np.float32)))
    steps, table = _joined(blocks)
    histories = {statistic: table[:, i] for i, statistic in enumerate(last.unit_statistics)}
    return UnitRecords(units, sampled_units(units, kept), steps, histories)


def _series(tags: Mapping[str, Any], number: str, told: Mapping[str, Any]) -> TaggedSeries:
    of_units = json.loads(tags[UNITS + number].plugin_content) if UNITS + number in tags else {"kept": [], "statistics": []}
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
        last_step=tags[SITES + number].max_step,
    )


def _stacked(data: Events, shape: tuple[int, ...]) -> tuple[IntArray, FloatArray]:
    """Return the steps of a tag's events and their values, [event, ...]; one of another shape was not written by us."""
    fit = [datum for datum in data if datum.numpy.shape == shape]
    values = np.stack([datum.numpy for datum in fit]) if fit else np.empty((0, *shape), np.float32)
    return np.array([datum.step for datum in fit], np.int64), values


def _joined(blocks: Sequence[tuple[IntArray, FloatArray]]) -> tuple[IntArray, FloatArray]:
    """Return the blocks' records in the order of their steps, of one step the last."""
    steps = np.concatenate([steps for steps, _ in blocks])
    values = np.concatenate([values for _, values in blocks])
    found, from_the_end = np.unique(steps[::-1], return_index=True)
    return found, values[len(steps) - 1 - from_the_end]
