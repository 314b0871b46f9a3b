"""What event files hold of gradscope's runs, read through TensorBoard's data provider, as the tab asks for it.

A run of gradscope's is a folder of TensorBoard's runs: one per member, and the folder itself with the diagnosis.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from tensorboard.context import RequestContext  # type: ignore[import-untyped]
from tensorboard.data.provider import DataProvider, RunTagFilter  # type: ignore[import-untyped]

from gradscope.renderers.tensorboard_form import PLUGIN, REPORT, VERDICT
from gradscope.renderers.view_document import MemberFacts, document_of, entry_of
from gradscope.renderers.view_member import FLOW, GATES, WEIGHTS, Range
from gradscope.renderers.view_report import Json
from gradscope.tensorboard_plugin.event_curves import TRAIN, curves_in
from gradscope.tensorboard_plugin.event_tags import TaggedSeries, is_ours, tagged_series, told_in
from gradscope.tensorboard_plugin.event_tensors import EVERY_EVENT, Events, Read, Stack, joined_sites, joined_units, stacked
from gradscope.tensorboard_plugin.kept import Kept

HERE = "."  # TensorBoard's name of the run that is the log folder itself
FOLDER = "tensorboard"  # in which a run keeps its event files; no part of its title


class NotThere(Exception):
    """A run, a member or a statistic that there is not; the message is for the reader."""


class EventData:
    """The answers to one request; `kept` lasts from one request to the next."""

    def __init__(self, provider: DataProvider, context: RequestContext, experiment: str, kept: Kept) -> None:
        self._provider, self._context, self._experiment, self._kept = provider, context, experiment, kept

    def runs(self) -> list[Json]:
        """Return the list of runs, the one that was written to last first."""
        found = [
            (self._written(run, members), entry_of(run, self._title(run), self._told(run).get("verdict"), members))
            for run, members in self._members.items()
        ]
        return [entry for _, entry in sorted(found, key=lambda pair: pair[0], reverse=True)]

    def document(self, run: str) -> Json:
        """Return a run's document."""
        if run not in self._members:
            raise NotThere(f"run {run!r}: there are no data of gradscope's; reload TensorBoard, or choose another run")
        told = None
        if self._told(run).get("verdict"):
            data = self._tensors([run], [REPORT]).get(run, {}).get(REPORT, [])
            told = json.loads(data[-1].numpy.item()) if data else None
        return document_of(run, self._title(run), told, self._members[run])

    def matrix(self, member: str, statistic: str, wanted: Range) -> bytes:
        """Return a statistic of a member's sites."""
        tags, series = self._tags_of(member)
        last = series[-1]
        if statistic not in last.statistics:
            raise NotThere(f"statistic {statistic!r}: expected one of {', '.join(last.statistics)}")

        def made() -> bytes:
            return joined_sites(series, self._reading(member, tags), [statistic]).matrix(statistic, wanted)

        return self._answer((member, statistic, wanted), tags, made)

    def waterfall(self, member: str, wanted: Range) -> bytes:
        """Return what a member's gates and weights let through."""
        tags, series = self._tags_of(member)
        flow = [name for name in FLOW if name in series[-1].statistics]
        if GATES not in flow or WEIGHTS not in flow:
            raise NotThere(f"{member}: the gradient's way was not recorded")

        def made() -> bytes:
            return joined_sites(series, self._reading(member, tags), flow).waterfall(wanted)

        return self._answer((member, "the waterfall", wanted), tags, made)

    def units(self, member: str, site: int, statistic: str, wanted: Range) -> bytes:
        """Return the histories of a site's units."""
        tags, series = self._tags_of(member)
        last = series[-1]
        if site >= len(last.sites):
            raise NotThere(f"site {site}: {member} has {len(last.sites)} sites, counted from 0")
        if statistic not in last.unit_statistics:
            raise NotThere(f"statistic {statistic!r}: no history of single units was kept of it")
        return joined_units(series, self._reading(member, tags), site).columns(site, statistic, wanted)

    def series(self, member: str, wanted: Range) -> bytes:
        """Return a member's loss and metric."""
        tags, series = self._tags_of(member)
        found = self._provider.read_scalars(
            self._context,
            experiment_id=self._experiment,
            plugin_name="scalars",
            downsample=EVERY_EVENT,
            run_tag_filter=RunTagFilter(runs=[member], tags=[TRAIN]),
        )
        scalars: Events = found.get(member, {}).get(TRAIN, [])
        return curves_in(tags, self._reading(member, tags), scalars, series[-1].metric).columns(wanted)

    @cached_property
    def _listed(self) -> Json:
        """What TensorBoard has of gradscope's, as series by run and tag."""
        return self._list(None)

    @cached_property
    def _verdicts(self) -> dict[str, Json]:
        """Title and verdict by run; a tag keeps what its first event told, so they are told by the last one's value."""
        told = {run: told_in(tags[VERDICT].plugin_content) for run, tags in self._listed.items() if VERDICT in tags}
        runs = [run for run, one in told.items() if is_ours(one)]
        read = self._tensors(runs, [VERDICT]) if runs else {}
        return {run: json.loads(tags[VERDICT][-1].numpy.item()) for run, tags in read.items() if tags.get(VERDICT)}

    @cached_property
    def _members(self) -> dict[str, list[MemberFacts]]:
        """The members of each run."""
        found: dict[str, list[MemberFacts]] = {run: [] for run, told in self._verdicts.items() if told["verdict"]}
        for name, tags in self._listed.items():
            series = tagged_series(tags)
            if series:
                found.setdefault(_run_of(name), []).append(_facts(name, series))
        return found

    def _tags_of(self, member: str) -> tuple[Json, list[TaggedSeries]]:
        tags = self._list([member]).get(member, {})
        series = tagged_series(tags)
        if not series:
            raise NotThere(f"member {member!r}: there are no data of gradscope's; reload TensorBoard, or choose another run")
        return tags, series

    def _reading(self, member: str, tags: Json) -> Read:
        """Return what reads a member's tags."""

        def read(tag: str, shape: tuple[int, ...]) -> Stack:
            if tag not in tags:
                return stacked([], shape)

            def made() -> Stack:
                return stacked(self._tensors([member], [tag]).get(member, {}).get(tag, []), shape)

            return self._kept.get(
                (self._experiment, member, tag), _stamp({tag: tags[tag]}), made, lambda one: one.values.nbytes
            )

        return read

    def _answer(self, asked: tuple[object, ...], tags: Json, made: Callable[[], bytes]) -> bytes:
        return self._kept.get((self._experiment, *asked), _stamp(tags), made, len)

    def _told(self, run: str) -> Json:
        return self._verdicts.get(run, {})

    def _title(self, run: str) -> str:
        return str(self._told(run).get("title") or _title_of(run))

    def _written(self, run: str, members: list[MemberFacts]) -> float:
        names = [run, *(member.member for member in members)]
        return max((one.max_wall_time or 0.0 for name in names for one in self._listed.get(name, {}).values()), default=0.0)

    def _list(self, runs: list[str] | None) -> Json:
        listed: Json = self._provider.list_tensors(
            self._context, experiment_id=self._experiment, plugin_name=PLUGIN, run_tag_filter=RunTagFilter(runs=runs)
        )
        return listed

    def _tensors(self, runs: list[str], tags: list[str]) -> Json:
        found: Json = self._provider.read_tensors(
            self._context,
            experiment_id=self._experiment,
            plugin_name=PLUGIN,
            downsample=EVERY_EVENT,
            run_tag_filter=RunTagFilter(runs=runs, tags=tags),
        )
        return found


def _facts(name: str, series: list[TaggedSeries]) -> MemberFacts:
    last = series[-1]
    step = max(one.last_step for one in series)
    return MemberFacts(name, last.arm, last.seed, last.sites, last.statistics, last.unit_statistics, max(step, 0))


def _stamp(tags: Mapping[str, Any]) -> tuple[object, ...]:
    """Return what changes when TensorBoard has read more, or less, of the tags."""
    return tuple((tag, one.max_step, one.max_wall_time) for tag, one in sorted(tags.items()))


def _run_of(member: str) -> str:
    """Return the run of gradscope's that a run of TensorBoard's belongs to: both are named as TensorBoard names them."""
    return _parts(member)[0] or HERE


def _title_of(run: str) -> str:
    """Return what a run is called whose report does not tell."""
    folder, name = _parts(run)
    if run == HERE:
        return "this run"
    return folder if folder and name == FOLDER else run


def _parts(name: str) -> tuple[str, str]:
    """Return the folder of a run's name, empty where there is none, and the rest; on Windows there are backslashes."""
    place = max(name.rfind("/"), name.rfind("\\"))
    return name[: max(place, 0)], name[place + 1 :]
