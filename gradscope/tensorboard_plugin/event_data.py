"""What event files hold of gradscope's runs, read through TensorBoard's data provider, as the tab asks for it.

A run of gradscope's is a folder of TensorBoard's runs: one per member, and the folder itself with the diagnosis.
"""

from __future__ import annotations

import json
from functools import cached_property

from tensorboard.context import RequestContext  # type: ignore[import-untyped]
from tensorboard.data.provider import DataProvider, RunTagFilter  # type: ignore[import-untyped]

from gradscope.renderers.tensorboard_tensors import REPORT
from gradscope.renderers.view_document import MemberFacts, document_of, entry_of
from gradscope.renderers.view_member import Curves, Range
from gradscope.renderers.view_report import Json
from gradscope.tensorboard_plugin.event_curves import curves_in, tags_of_curves
from gradscope.tensorboard_plugin.event_tensors import (
    EVERY_EVENT,
    TaggedSeries,
    in_steps,
    is_ours,
    joined_sites,
    joined_units,
    tagged_series,
)
from gradscope.tensorboard_plugin.loader import NAME

HERE = "."  # TensorBoard's name of the run that is the log folder itself
FOLDER = "/tensorboard"  # in which a run keeps its event files; no part of its title


class NotThere(Exception):
    """A run, a member or a statistic that there is not; the message is for the reader."""


class EventData:
    """The answers to one request."""

    def __init__(self, provider: DataProvider, context: RequestContext, experiment: str) -> None:
        self._provider, self._context, self._experiment = provider, context, experiment

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
        if run in self._reports:
            data = self._tensors(run, [REPORT]).get(REPORT, [])
            told = json.loads(data[-1].numpy.item()) if data else None
        return document_of(run, self._title(run), told, self._members[run])

    def matrix(self, member: str, statistic: str, wanted: Range) -> bytes:
        """Return a statistic of a member's sites."""
        series = self._series_of(member)
        last = series[-1]
        if statistic not in last.statistics:
            raise NotThere(f"statistic {statistic!r}: expected one of {', '.join(last.statistics)}")
        tensors = self._tensors(member, [one.sites_tag for one in series])
        return joined_sites(series, tensors, [statistic]).matrix(statistic, wanted)

    def waterfall(self, member: str, wanted: Range) -> bytes:
        """Return what a member's gates and weights let through."""
        series = self._series_of(member)
        tensors = self._tensors(member, [one.sites_tag for one in series])
        records = joined_sites(series, tensors)
        if not records.has_waterfall:
            raise NotThere(f"{member}: the gradient's way was not recorded")
        return records.waterfall(wanted)

    def units(self, member: str, site: int, statistic: str, wanted: Range) -> bytes:
        """Return the histories of a site's units."""
        series = self._series_of(member)
        last = series[-1]
        if site >= len(last.sites):
            raise NotThere(f"site {site}: {member} has {len(last.sites)} sites, counted from 0")
        if statistic not in last.unit_statistics:
            raise NotThere(f"statistic {statistic!r}: no history of single units was kept of it")
        tensors = self._tensors(member, [one.units_tag for one in series])
        return joined_units(series, tensors, site).columns(site, statistic, wanted)

    def series(self, member: str, wanted: Range) -> bytes:
        """Return a member's loss and metric."""
        last = self._series_of(member)[-1]
        chosen = RunTagFilter(runs=[member], tags=tags_of_curves(last.arm, last.metric))
        found = self._provider.read_scalars(
            self._context, experiment_id=self._experiment, plugin_name="scalars", downsample=EVERY_EVENT, run_tag_filter=chosen
        )
        points = {tag: [(point.step, point.value) for point in in_steps(data)] for tag, data in found.get(member, {}).items()}
        curves: Curves = curves_in(points, last.arm, last.metric)
        return curves.columns(wanted)

    @cached_property
    def _listed(self) -> Json:
        """What TensorBoard has of gradscope's, as series by run and tag."""
        listed: Json = self._provider.list_tensors(self._context, experiment_id=self._experiment, plugin_name=NAME)
        return listed

    @cached_property
    def _reports(self) -> dict[str, Json]:
        """What the tags of the reports tell, by run."""
        found = {run: json.loads(tags[REPORT].plugin_content) for run, tags in self._listed.items() if REPORT in tags}
        return {run: told for run, told in found.items() if is_ours(told)}

    @cached_property
    def _by_member(self) -> dict[str, list[TaggedSeries]]:
        found = {name: tagged_series(tags) for name, tags in self._listed.items()}
        return {name: series for name, series in found.items() if series}

    @cached_property
    def _members(self) -> dict[str, list[MemberFacts]]:
        """The members of each run."""
        found: dict[str, list[MemberFacts]] = {run: [] for run in self._reports}
        for name, series in self._by_member.items():
            last = series[-1]
            step = max(one.last_step for one in series)
            facts = MemberFacts(name, last.arm, last.seed, last.sites, last.statistics, last.unit_statistics, step)
            found.setdefault(_run_of(name), []).append(facts)
        return found

    def _series_of(self, member: str) -> list[TaggedSeries]:
        if member not in self._by_member:
            raise NotThere(f"member {member!r}: there are no data of gradscope's; reload TensorBoard, or choose another run")
        return self._by_member[member]

    def _told(self, run: str) -> Json:
        return self._reports.get(run, {})

    def _title(self, run: str) -> str:
        return str(self._told(run).get("title") or (run.removesuffix(FOLDER) if run != HERE else "this run"))

    def _written(self, run: str, members: list[MemberFacts]) -> float:
        names = [run, *(member.member for member in members)]
        return max((one.max_wall_time for name in names for one in self._listed.get(name, {}).values()), default=0.0)

    def _tensors(self, run: str, tags: list[str]) -> Json:
        chosen = RunTagFilter(runs=[run], tags=tags)
        found = self._provider.read_tensors(
            self._context, experiment_id=self._experiment, plugin_name=NAME, downsample=EVERY_EVENT, run_tag_filter=chosen
        )
        of_run: Json = found.get(run, {})
        return of_run


def _run_of(member: str) -> str:
    """Return the run of gradscope's that a run of TensorBoard's belongs to."""
    return member.replace("\\", "/").rpartition("/")[0] or HERE
