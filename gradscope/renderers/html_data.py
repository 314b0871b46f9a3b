"""What report.html holds of a run's traces: the arrays that the page draws, compressed, within a limit of bytes."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from numpy.typing import ArrayLike

from gradscope.renderers.view_arrays import WIDTH, binned, chosen_records, packed, rare_rows, trimmed
from gradscope.renderers.view_document import SCHEMA, MemberFacts, document_of, entry_of, in_order
from gradscope.renderers.view_member import MemberRecords, Range, UnitRecords
from gradscope.renderers.view_report import Json
from gradscope.renderers.view_sites import facts_of
from gradscope.renderers.view_statistics import UNITS_SHOWN, site_statistics
from gradscope.renderers.view_trace import curves_of, records_of, units_of
from gradscope.trace import Trace

RUN = "run"  # the name of the one run in a file
MOST_NUMBERS = 2_500_000  # of all members together: about 4 MB of text
LEAST_COLUMNS = 120
MOST_CURVE = 150  # points, beside those at the columns of the map
# Characters of arrays beside which a file of a small network, with 200,000 for page and document, stays below half a megabyte.
MOST_TEXT = 280_000
MOST_UNIT_TEXT, LEAST_UNIT_TEXT = 150_000, 45_000  # of them for units; a member of sigmoid_relu takes 30,000
MOST_UNITS = 128  # rows that can be told apart on a screen
SITE_DIGITS, CURVE_DIGITS, UNIT_DIGITS = 3, 3, 2


@dataclass
class FileData:
    """The arrays by key, and what was left out."""

    arrays: dict[str, str] = field(default_factory=dict)
    without_units: list[str] = field(default_factory=list)
    width: int = WIDTH

    @property
    def left_out(self) -> str:
        """The sentence for the reader of a file that does not have it all."""
        if not self.without_units:
            return "this was not recorded"
        return (
            f"the histories of single units of {len(self.without_units)} of the networks are left out of this file, to keep it "
            "small; the tab in TensorBoard has them"
        )


def run_payload(told: Json, title: str, traces: Sequence[Trace]) -> Json:
    """Return the payload of a run's page: its document, and the arrays of its members.

    Args:
        told: the report, as `described_report` returns it.
        title: where the report has none.
        traces: of the run, none where only the report is left.
    """
    by_name = {f"{trace.arm}-{trace.seed}": trace for trace in traces}
    members = in_order([_facts(name, trace) for name, trace in by_name.items()], [fix["fix"] for fix in told["fixes"]])
    data = FileData(width=_width(members, traces))
    for member in members:
        data.arrays |= _of_member(member.member, by_name[member.member], data.width)
    _add_units(data, members, by_name, told)
    return {
        "schema": SCHEMA,
        "runs": [entry_of(RUN, told["title"], told["verdict"], members)],
        "documents": {RUN: document_of(RUN, title, told, members)},
        "arrays": data.arrays,
        "left_out": data.left_out,
    }


def _facts(name: str, trace: Trace) -> MemberFacts:
    return MemberFacts(
        member=name,
        arm=trace.arm,
        seed=trace.seed,
        sites=[facts_of(site) for site in trace.sites],
        statistics=list(site_statistics(trace, len(trace.steps))),  # the names only
        unit_statistics=[statistic for statistic in trace.unit_statistics if statistic in UNITS_SHOWN],
        last_step=int(trace.steps[-1]) if len(trace.steps) else 0,
    )


def _width(members: Sequence[MemberFacts], traces: Sequence[Trace]) -> int:
    """Return how many columns of every member the file holds."""
    numbers = sum(len(member.sites) * (len(member.statistics) + 4) for member in members)  # 4: of the waterfall
    longest = max((len(trace.steps) for trace in traces), default=0)
    return min(WIDTH, longest, max(LEAST_COLUMNS, MOST_NUMBERS // max(numbers, 1)))


def _of_member(name: str, trace: Trace, width: int) -> dict[str, str]:
    records, rounded = records_of(trace), partial(trimmed, digits=SITE_DIGITS)
    arrays = {statistic: rounded(binned(values, width)) for statistic, values in records.statistics.items()}
    found = {f"matrices?member={name}": _text(_columns(records, width, arrays))}
    if records.has_waterfall:
        found[f"waterfall?member={name}"] = _text(records.waterfall(Range(width), keep=rounded))
    shown = replace(curves_of(trace), recorded=trace.steps[chosen_records(len(trace.steps), width)])
    curves = shown.columns(Range(MOST_CURVE), keep=partial(trimmed, digits=CURVE_DIGITS))
    return found | {f"series?member={name}": _text(curves)}


def _columns(records: MemberRecords | UnitRecords, width: int, arrays: Mapping[str, ArrayLike], **header: object) -> bytes:
    steps = records.steps[chosen_records(len(records.steps), width)]
    rare = {name: rows for name, values in records.statistics.items() if (rows := rare_rows(values))}
    return packed({"steps": steps, **arrays}, records=len(records.steps), rare=rare, **header)


def _add_units(data: FileData, members: Sequence[MemberFacts], traces: dict[str, Trace], told: Json) -> None:
    """Add the histories of units as long as there is room: the control's first, beside those of what is recommended."""
    room = min(MOST_UNIT_TEXT, max(LEAST_UNIT_TEXT, MOST_TEXT - sum(map(len, data.arrays.values()))))
    for name in _by_importance(members, told["recommended"]):
        found = dict(_units(name, traces[name], data.width))
        size = sum(map(len, found.values()))
        if size > room:
            data.without_units.append(name)
            continue
        data.arrays |= found
        room -= size


def _by_importance(members: Sequence[MemberFacts], recommended: str | None) -> Iterator[str]:
    """Yield the members in turns: one of the control, one of the recommended fix, and so on, then all others."""
    first = [[m.member for m in members if m.arm == arm] for arm in ("control", "run", recommended)]
    turns = [names[i] for i in range(max(map(len, first), default=0)) for names in first if i < len(names)]
    yield from turns
    yield from (member.member for member in members if member.member not in turns)


def _units(name: str, trace: Trace, width: int) -> Iterator[tuple[str, str]]:
    for site in range(len(trace.sites)):
        units = units_of(trace, site, MOST_UNITS)
        shown = {statistic: trimmed(binned(values, width), UNIT_DIGITS) for statistic, values in units.statistics.items()}
        data = _columns(units, width, {"units": units.units, **shown}, of=units.of)
        yield f"units?member={name}&site={site}", _text(data)


def _text(data: bytes) -> str:
    return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode()
