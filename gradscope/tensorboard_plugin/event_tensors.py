"""From the tensors in event files to a member's records. What of a run was written twice counts as written last."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradscope.renderers.tensorboard_tensors import SITES, UNITS
from gradscope.renderers.view_member import MemberRecords, UnitRecords, sampled_units
from gradscope.renderers.view_sites import SiteFacts
from gradscope.trace import FloatArray

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
    """Return what TensorBoard's list of a run's tags tells, in the order in which they were begun; [] for another run's."""
    numbers = sorted(int(tag.removeprefix(SITES) or 0) for tag in tags if tag.startswith(SITES))
    return [_series(tags, str(number or "")) for number in numbers]


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
    by_step: dict[int, FloatArray] = {}
    for one in series:
        rows = [names.index(site["name"]) for site in one.sites if site["name"] in names]
        taken = [i for i, site in enumerate(one.sites) if site["name"] in names]
        known = [name for name in statistics if name in one.statistics]
        columns = [one.statistics.index(name) for name in known]
        for step, values in _values(tensors.get(one.sites_tag, ()), (len(one.sites), len(one.statistics))):
            row = np.full((len(names), len(statistics)), np.nan, np.float32)
            row[np.ix_(rows, [statistics.index(name) for name in known])] = values[np.ix_(taken, columns)]
            by_step[step] = row
    steps = sorted(by_step)
    table = np.stack([by_step[step] for step in steps]) if steps else np.empty((0, len(names), len(statistics)), np.float32)
    return MemberRecords(last.sites, np.array(steps, np.int64), {name: table[:, :, i] for i, name in enumerate(statistics)})


def joined_units(series: Sequence[TaggedSeries], tensors: Mapping[str, Any], site: int) -> UnitRecords:
    """Return the histories of the units of one of the last tag's sites."""
    last = series[-1]
    name, units = last.sites[site]["name"], last.sites[site]["units"]
    by_step: dict[int, FloatArray] = {}
    for one in series:
        names = [facts["name"] for facts in one.sites]
        place = names.index(name) if name in names else -1
        if place < 0 or one.kept[place] != last.kept[site] or one.unit_statistics != last.unit_statistics:
            continue
        start = sum(one.kept[:place])
        for step, values in _values(tensors.get(one.units_tag, ()), (len(one.unit_statistics), sum(one.kept))):
            by_step[step] = values[:, start : start + one.kept[place]]
    steps = sorted(by_step)
    empty = np.empty((0, len(last.unit_statistics), last.kept[site]), np.float32)
    table = np.stack([by_step[step] for step in steps]).astype(np.float32) if steps else empty
    histories = {statistic: table[:, i] for i, statistic in enumerate(last.unit_statistics)}
    return UnitRecords(units, sampled_units(units, last.kept[site]), np.array(steps, np.int64), histories)


def _series(tags: Mapping[str, Any], number: str) -> TaggedSeries:
    told = json.loads(tags[SITES + number].plugin_content)
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


def _values(data: Events, shape: tuple[int, ...]) -> Iterator[tuple[int, FloatArray]]:
    """Yield step and values of the events; one of another shape was not written by us."""
    for datum in in_steps(data):
        if datum.numpy.shape == shape:
            yield datum.step, datum.numpy
