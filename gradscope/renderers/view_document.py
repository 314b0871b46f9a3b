"""The document that the tab and the HTML report draw: the report's parts, with the members and sites of its run.

docs/view-data.md has its form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gradscope.renderers.view_report import Json, role_of_arm
from gradscope.renderers.view_sites import SiteFacts, view_sites
from gradscope.renderers.view_statistics import described

SCHEMA = 1
ROLES = ("control", "run", "fix", "baseline")  # in the order in which they are shown
NOT_JUDGED: Json = {
    "gradscope": "",
    "verdict": None,
    "headline": None,
    "remedy": None,
    "notes": [],
    "interrupted": False,
    "findings": [],
    "fixes": [],
    "control": None,
    "recommended": None,
    "report": None,
}
"""What is told of a run that is still being trained."""


@dataclass(frozen=True)
class MemberFacts:
    """A member and what was recorded of it; `member` is the name by which its arrays are asked for."""

    member: str
    arm: str
    seed: int
    sites: Sequence[SiteFacts]
    statistics: Sequence[str]
    unit_statistics: Sequence[str]
    last_step: int


def document_of(run: str, title: str, told: Json | None, members: Sequence[MemberFacts]) -> Json:
    """Return a run's document.

    Args:
        run: the name by which the run is asked for.
        title: where the report does not tell its own.
        told: what `described_report` returned, None as long as there is no report.
        members: in any order.
    """
    report = {"title": title, **NOT_JUDGED, **(told or {})}
    ordered = in_order(members, [fix["fix"] for fix in report["fixes"]])
    layouts = _layouts(ordered)
    places = {member.member: _site_names(member) for member in ordered}
    names = [name for member in ordered for name in member.statistics]
    return {
        "schema": SCHEMA,
        "kind": "run",
        "run": run,
        **report,
        "members": [_member(member, list(layouts).index(places[member.member])) for member in ordered],
        "layouts": [{"sites": sites} for sites in layouts.values()],
        "statistics": described(names),
        "findings": [_placed(finding, ordered, list(layouts)) for finding in report["findings"]],
    }


def entry_of(run: str, title: str, verdict: str | None, members: Sequence[MemberFacts]) -> Json:
    """Return a run's line in the list of runs."""
    return {
        "run": run,
        "title": title,
        "kind": "run",
        "verdict": verdict,
        "members": [member.member for member in members],
        "last_step": max((member.last_step for member in members), default=0),
    }


def in_order(members: Sequence[MemberFacts], fixes: Sequence[str] = ()) -> list[MemberFacts]:
    """Return the control first, then the fixes in the order given, then others, baselines last; by seed in each."""

    def place(member: MemberFacts) -> tuple[int, int, str, int]:
        known = fixes.index(member.arm) if member.arm in fixes else len(fixes)
        return ROLES.index(role_of_arm(member.arm)), known, member.arm, member.seed

    return sorted(members, key=place)


def _site_names(member: MemberFacts) -> tuple[str, ...]:
    return tuple(site["name"] for site in member.sites)


def _layouts(members: Sequence[MemberFacts]) -> dict[tuple[str, ...], list[object]]:
    """Return the different lists of sites by their names."""
    first: dict[tuple[str, ...], MemberFacts] = {}
    for member in members:
        first.setdefault(_site_names(member), member)
    return {names: list(view_sites(member.sites)) for names, member in first.items()}


def _member(member: MemberFacts, layout: int) -> Json:
    return {
        "member": member.member,
        "arm": member.arm,
        "seed": member.seed,
        "role": role_of_arm(member.arm),
        "layout": layout,
        "statistics": list(member.statistics),
        "unit_statistics": list(member.unit_statistics),
        "last_step": member.last_step,
    }


def _placed(finding: Json, members: Sequence[MemberFacts], layouts: Sequence[tuple[str, ...]]) -> Json:
    """Return a finding with its place in the first member that shows it; None where no member of the control is there."""
    shown = [member for member in members if role_of_arm(member.arm) in ("control", "run")]
    chosen = next((member for member in shown if member.seed in finding["seeds"]), shown[0] if shown else None)
    if chosen is None:
        return {**finding, "place": None}
    names, told = _site_names(chosen), finding["place"]
    site = names.index(told["site"]) if told["site"] in names else None
    statistic = told["statistic"] if told["statistic"] in chosen.statistics else None
    place = {"member": chosen.member, "layout": layouts.index(names), "site": site, "statistic": statistic}
    return {**finding, "place": {**place, "step": told["step"]}}
