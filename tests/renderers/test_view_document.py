"""The document that the tab and the HTML report draw."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import reports

from gradscope.renderers.view_document import MemberFacts, document_of, entry_of, in_order
from gradscope.renderers.view_report import MOST_STAGES, described_report
from gradscope.renderers.view_sites import facts_of, short_names, view_sites
from gradscope.renderers.view_statistics import UNITS_SHOWN, site_statistics
from gradscope.report import Report
from gradscope.trace import Trace

EVERY = (
    "sick", "healthy", "undecided", "interrupted", "many_sites", "odd_names", "with_nan",
    "watched", "watched_healthy", "watched_undecided",
)  # fmt: skip


def facts(trace: Trace) -> MemberFacts:
    sites = [facts_of(site) for site in trace.sites]
    return MemberFacts(
        f"m/{trace.arm}-{trace.seed}", trace.arm, trace.seed, sites, list(site_statistics(trace)), UNITS_SHOWN, 50
    )


def document(report: Report, *traces: Trace) -> Any:
    return document_of("m", "title", described_report(report), [facts(trace) for trace in traces])


@pytest.mark.parametrize("name", EVERY)
def test_every_report_has_a_document_that_is_json(name: str) -> None:
    report = getattr(reports, name)()
    told = document(report, reports.trace())
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told["verdict"] == report.verdict
    assert told["headline"]
    assert len(told["findings"]) == len(report.findings)
    assert told["report"]["findings"] == json.loads(report.to_json())["findings"]


def test_findings_begin_with_the_worst_origin() -> None:
    told = document(reports.sick(), reports.trace())
    assert [(f["role"], f["severity"]) for f in told["findings"]] == [
        ("origin", "error"), ("origin", "warning"), ("victim", "error"), ("victim", "warning"), ("victim", "warning"),
    ]  # fmt: skip
    assert told["findings"][0]["title"] == "output-collapse at 3.relu"


def test_a_finding_is_placed_in_the_first_control_that_shows_it() -> None:
    traces = [reports.trace(arm, seed) for arm in ("batchnorm-last", "control") for seed in (2, 1)]
    report = reports.sick(
        findings=[reports.finding(seeds=[2, 5], first_step=4), reports.finding("stuck-at-chance", "GS203", None)]
    )
    places = [finding["place"] for finding in document(report, *traces)["findings"]]
    assert places[0] == {"member": "m/control-2", "layout": 0, "site": 2, "step": 4, "statistic": "dead_frac"}
    assert (places[1]["member"], places[1]["site"]) == ("m/control-1", None)


def test_without_a_control_nothing_has_a_place() -> None:
    assert all(finding["place"] is None for finding in document(reports.sick())["findings"])
    assert all(f["place"] is None for f in document(reports.sick(), reports.trace("batchnorm-last", 1))["findings"])


def test_members_begin_with_the_control_and_end_with_the_baseline() -> None:
    arms = ("reseed", "zeta", "batchnorm-all", "batchnorm-last", "control")
    told = document(reports.sick(), *(reports.trace(arm, 1) for arm in arms))
    assert [member["arm"] for member in told["members"]] == ["control", "batchnorm-last", "batchnorm-all", "zeta", "reseed"]
    assert [member["role"] for member in told["members"]] == ["control", "fix", "fix", "fix", "baseline"]


def test_seeds_are_in_the_order_of_numbers() -> None:
    members = [facts(reports.trace("control", seed)) for seed in (10, 2, 1)]
    assert [member.seed for member in in_order(members)] == [1, 2, 10]


def test_arms_with_other_sites_have_a_layout_of_their_own() -> None:
    whole = reports.trace()
    bare = replace(reports.trace("batchnorm-last", 1), sites=whole.sites[:2])
    told = document(reports.sick(), whole, reports.trace("control", 2), bare)
    assert [len(layout["sites"]) for layout in told["layouts"]] == [3, 2]
    assert [member["layout"] for member in told["members"]] == [0, 0, 1]


def test_pairs_are_told_where_it_is_certain_what_belongs_together() -> None:
    told = document(reports.sick(), reports.trace())
    assert told["fixes"][0]["pairs"][4] == {"seed": 5, "control": 0.45, "value": 0.98}
    assert told["fixes"][2]["role"] == "baseline"
    assert told["fixes"][2]["pairs"] is None
    shorter = reports.fix("batchnorm-last", [0.9, 0.8], [0.1, 0.2], None)
    assert document(reports.sick(fixes=[shorter]))["fixes"][0]["pairs"] is None


def test_values_that_are_not_finite_are_null() -> None:
    told = document(reports.with_nan(), reports.trace())
    assert told["control"]["values"][0] is None
    assert told["fixes"][0]["values"][0] is None


def test_a_run_that_is_training_has_its_members_and_no_verdict() -> None:
    told = document_of("m", "a title", None, [facts(reports.trace())])
    assert (told["title"], told["verdict"], told["headline"], told["report"], told["fixes"]) == (
        "a title",
        None,
        None,
        None,
        [],
    )
    assert [member["member"] for member in told["members"]] == ["m/control-1"]
    assert entry_of("m", "a title", None, [facts(reports.trace())])["last_step"] == 50


def test_of_many_large_waterfalls_a_sample_is_told() -> None:
    report = reports.many_sites(200)
    report = report.model_copy(update={"waterfalls": [report.waterfalls[0].model_copy(update={"step": i}) for i in range(100)]})
    steps = [waterfall["step"] for waterfall in described_report(report)["report"]["waterfalls"]]
    assert (steps[0], steps[-1]) == (0, 99)
    assert len(steps) * 399 <= MOST_STAGES


def test_sites_have_short_names_that_tell_them_apart() -> None:
    for names in (reports.LONG_NAMES, tuple(f"{'deep.' * 20}{i}.act" for i in range(200)), ("a" * 50, "a" * 49 + "b"), ("x",)):
        short = short_names(names)
        assert len(set(short)) == len(names)
        assert max(map(len, short)) <= 24


def test_what_the_units_of_a_site_can_come_to_is_told() -> None:
    found = view_sites([facts_of(site) for site in reports.trace().sites])
    assert [site["short"] for site in found] == ["1.relu", "2.sigmoid", "3.relu"]
    assert [(site["shuts_frac"], site["saturates_frac"]) for site in found] == [(1, 0), (0, 1), (1, 0)]
