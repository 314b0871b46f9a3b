"""From the tensors in event files to a member's records. What of a run was written twice counts as written last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradscope.renderers.view_member import MemberRecords, UnitRecords, sampled_units
from gradscope.tensorboard_plugin.event_tags import TaggedSeries
from gradscope.trace import FloatArray, IntArray

EVERY_EVENT = 1_000_000  # all that TensorBoard has kept: it would choose from more by chance

Events = Sequence[Any]
"""Of one tag, as TensorBoard's data provider gives them: each has a step and a value. Its classes have no annotations."""


@dataclass(frozen=True, eq=False)
class Stack:
    """A tag's events as arrays."""

    steps: IntArray
    values: FloatArray  # [event, ...]

    def before(self, until: int | None) -> Stack:
        """Return those before a step; all where None is given."""
        if until is None:
            return self
        kept = self.steps < until
        return Stack(self.steps[kept], self.values[kept])


Read = Callable[[str, tuple[int, ...]], Stack]
"""From a tag and the shape of one tensor to its events."""


def stacked(data: Events, shape: tuple[int, ...]) -> Stack:
    """Return a tag's events; one of another shape was not written by us."""
    fit = [datum for datum in data if datum.numpy.shape == shape]
    values = np.stack([datum.numpy for datum in fit]) if fit else np.empty((0, *shape), np.float32)
    return Stack(np.array([datum.step for datum in fit], np.int64), values)


def in_steps(data: Events) -> list[Any]:
    """Return events in the order of their steps, of one step the last: a resumed run writes some steps again."""
    by_step = {datum.step: datum for datum in data}
    return [by_step[step] for step in sorted(by_step)]


def joined(stacks: Sequence[Stack]) -> Stack:
    """Return the events of all in the order of their steps, of one step the last."""
    steps = np.concatenate([one.steps for one in stacks])
    values = np.concatenate([one.values for one in stacks])
    found, from_the_end = np.unique(steps[::-1], return_index=True)
    if len(found) == len(steps) and np.array_equal(found, steps):
        return Stack(steps, values)
    return Stack(found, values[len(steps) - 1 - from_the_end])


def joined_sites(series: Sequence[TaggedSeries], read: Read, only: Sequence[str] = ()) -> MemberRecords:
    """Return a member's records, with the sites that its last tag has; NaN where an earlier tag does not have one.

    Args:
        series: what the tags tell.
        read: their events.
        only: statistics; all where none is named.
    """
    last = series[-1]
    names = [site["name"] for site in last.sites]
    statistics = list(only or last.statistics)
    blocks = []
    for one in series:
        stack = read(one.sites_tag, (len(one.sites), len(one.statistics))).before(one.until)
        block = np.full((len(stack.steps), len(names), len(statistics)), np.nan, np.float32)
        shared = [i for i, site in enumerate(one.sites) if site["name"] in names]
        rows = [names.index(one.sites[i]["name"]) for i in shared]
        for column, statistic in enumerate(statistics):
            if statistic in one.statistics:
                block[:, rows, column] = stack.values[:, shared, one.statistics.index(statistic)]
        blocks.append(Stack(stack.steps, block))
    table = joined(blocks)
    return MemberRecords(last.sites, table.steps, {name: table.values[:, :, i] for i, name in enumerate(statistics)})


def joined_units(series: Sequence[TaggedSeries], read: Read, site: int) -> UnitRecords:
    """Return the histories of the units of one of the last tag's sites."""
    last = series[-1]
    name, units, kept = last.sites[site]["name"], last.sites[site]["units"], last.kept[site]
    blocks = []
    for one in series:
        names = [facts["name"] for facts in one.sites]
        place = names.index(name) if name in names else -1
        if place < 0 or one.kept[place : place + 1] != [kept] or one.unit_statistics != last.unit_statistics:
            continue
        stack = read(one.units_tag, (len(one.unit_statistics), sum(one.kept))).before(one.until)
        start = sum(one.kept[:place])
        blocks.append(Stack(stack.steps, stack.values[:, :, start : start + kept].astype(np.float32)))
    table = joined(blocks)
    histories = {statistic: table.values[:, i] for i, statistic in enumerate(last.unit_statistics)}
    return UnitRecords(units, sampled_units(units, kept), table.steps, histories)
