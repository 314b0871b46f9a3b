"""The one HTML file of a run or a sweep: what is in it, what is left out, and that it asks for nothing from elsewhere."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
import reports
from board import unpacked
from made_sweeps import published as swept

from gradscope.cause_text import what_was_done
from gradscope.renderers.html_data import LEAST_COLUMNS, MOST_CURVE, MOST_UNIT_TEXT, run_payload
from gradscope.renderers.html_report import html_of_run, html_of_sweep
from gradscope.renderers.html_summary import html_summary
from gradscope.renderers.view_report import described_report
from gradscope.renderers.view_statistics import site_statistics
from gradscope.report import CauseFound, Intervention
from gradscope.trace import Site, Trace
from gradscope.waterfall import waterfalls

ADDRESS = re.compile(r"""(?:src|href|action)\s*=\s*["']?(?!data:)[^"'\s>]+|https?://(?!www\.w3\.org/2000/svg)""")


def traces() -> list[Trace]:
    return [reports.trace(arm, seed) for arm in ("batchnorm-last", "control", "reseed") for seed in (1, 2)]


def payload(text: str) -> Any:
    (data,) = re.findall(r'<script type="application/json" id="gradscope-data">(.*?)</script>', text, re.S)
    return json.loads(data)


def array(found: Any, key: str) -> dict[str, Any]:
    return unpacked(gzip.decompress(base64.b64decode(found["arrays"][key])))


class Page(HTMLParser):
    """The tags that are open and the text that is seen."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.scripts = 0
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)
        self.scripts += tag == "script"

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.seen.append(data)


def test_the_file_holds_what_was_recorded() -> None:
    found = payload(html_of_run(reports.sick(), traces()))
    trace = reports.trace("control", 2)
    assert [entry["run"] for entry in found["runs"]] == list(found["documents"]) == ["run"]
    sites = array(found, "matrices?member=control-2")
    assert sites["steps"].tolist() == trace.steps.tolist()
    for name, values in site_statistics(trace).items():
        assert np.allclose(sites[name], values.T, rtol=1e-3, equal_nan=True)
    units = array(found, "units?member=control-2&site=2")
    assert np.allclose(units["closed_frac"], trace.unit_statistics["closed_frac"][2].T, rtol=2e-2)
    assert (units["units"].tolist(), units["of"]) == ([0, 1], 2)
    curves = array(found, "series?member=control-2")
    assert np.allclose(curves["loss"], trace.loss, rtol=1e-2)
    assert curves["metric_steps"].tolist() == [50]


def test_its_waterfall_is_the_one_of_the_report() -> None:
    found = payload(html_of_run(reports.sick(), traces()))
    shown = array(found, "waterfall?member=control-1")
    for column, waterfall in enumerate(waterfalls([reports.trace("control", 1)])):
        left = [np.nan if stage.remaining is None else stage.remaining for stage in waterfall.stages]
        assert np.allclose(shown["remaining"][:, column], left, rtol=1e-3, equal_nan=True)


NAMES = ("sick", "healthy", "undecided", "interrupted", "odd_names", "with_nan", "watched", "watched_undecided")


@pytest.mark.parametrize("name", NAMES)
def test_every_report_is_a_page_that_can_be_read_without_its_script(name: str) -> None:
    report = getattr(reports, name)()
    text = html_of_run(report, [])
    page = Page(text)
    assert page.open == []
    assert page.scripts == 2
    seen = "".join(page.seen)
    assert report.verdict.upper() in seen
    assert all(finding.rule in seen for finding in report.findings)
    starts = [finding for finding in report.findings if finding.role == "origin"]
    assert all(finding.cause.split("\n")[0] in seen for finding in starts[:3])
    assert all(fix.fix in seen for fix in report.fixes)


def test_tested_causes_and_the_placebo_can_be_read_without_the_script() -> None:
    nothing = Intervention(kind="placebo", reached=[0.1, 0.1], loss=[2.3, 2.3])
    shift = Intervention(
        kind="centre z", sites=["3.relu"], reached=[1.0, 1.0], loss=[0.4, 0.6], lower_in=2, brings_gradient=True, works=True
    )
    tested = CauseFound(cause="common-mode", site="3.relu", begin=7, steps=50, seeds=[1, 2], interventions=[nothing, shift])
    findings = [finding.model_copy(update={"tested": tested}) for finding in reports.sick().findings]
    placebo = reports.fix("placebo", [0.3] * 5, [0.01] * 5, (-0.02, 0.03), verdict="no effect")
    report = reports.sick(findings=findings, placebo=placebo)
    seen = [text.strip() for text in Page(html_summary(report)).seen if text.strip()]
    start = seen.index("Tried at 3.relu for 50 steps from step 7, 2 seeds (1, 2)")
    assert seen.count(seen[start]) == 1
    assert seen[start + 5 : start + 9] == [what_was_done(nothing), "10 %", "2.3", "nothing"]
    assert seen[start + 9 : start + 14] == ["centring z at 3.relu", "100 %", "0.5", "2 of 2", "both come back"]
    assert "placebo" in seen[start + 14 :]


def test_it_asks_for_nothing_from_elsewhere() -> None:
    text = html_of_run(reports.sick(), traces())
    outside = re.sub(r"<script.*?</script>", "", text, flags=re.S)
    assert not ADDRESS.findall(outside)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    assert "default-src 'none'" in policy
    (script,) = re.findall(r'<script type="module">(.*?)</script>', text, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy


def test_no_name_of_a_users_ends_the_data_or_becomes_a_tag() -> None:
    report = reports.sick(recipe="</script><script>alert(1)</script>", findings=[reports.finding(site="<img src=x onerror=a>")])
    page = Page(html_of_run(report, []))
    assert (page.open, page.scripts) == ([], 2)
    assert "<img src=x onerror=a>" in "".join(page.seen)


def wide(units: int, seed: int, arm: str = "control") -> Trace:
    trace, rng = reports.trace(arm, seed), np.random.default_rng(seed)
    sites = tuple(Site(site.name, np.full(units, True), np.full(units, False), site.is_output) for site in trace.sites)
    values = {name: tuple(rng.random((6, units), dtype=np.float32) for _ in sites) for name in trace.unit_statistics}
    return replace(trace, sites=sites, unit_statistics=values)


def test_units_of_the_control_and_of_the_recommended_fix_are_kept_first() -> None:
    found = run_payload(
        described_report(reports.sick()),
        "",
        [wide(400, seed, arm) for arm in ("reseed", "batchnorm-all", "batchnorm-last", "control") for seed in range(1, 6)],
    )
    kept = list(dict.fromkeys(key.split("=")[1].split("&")[0] for key in found["arrays"] if key.startswith("units?")))
    assert kept[:3] == ["control-1", "batchnorm-last-1", "control-2"]
    assert len(kept) < 20
    assert sum(len(text) for key, text in found["arrays"].items() if key.startswith("units?")) <= MOST_UNIT_TEXT
    assert f"of {20 - len(kept)} of the networks" in found["left_out"]
    assert len([key for key in found["arrays"] if key.startswith("matrices?")]) == 20
    units = array(found, "units?member=control-1&site=0")
    assert (len(units["units"]), units["units"][0], units["units"][-1], units["of"]) == (128, 0, 399, 400)


def test_losses_are_kept_at_the_steps_that_the_map_shows() -> None:
    trace = reports.trace(records=60, every=20)
    trace.loss[333] = np.nan
    found = run_payload(described_report(reports.sick()), "", [trace])
    curves = array(found, "series?member=control-1")
    losses = dict(zip(curves["loss_steps"].tolist(), curves["loss"].tolist(), strict=True))
    assert np.allclose([losses[step] for step in trace.steps.tolist()], trace.loss[trace.steps], rtol=1e-2)
    assert np.isnan(losses[333])  # in no column of the map, and not lost
    assert MOST_CURVE < len(losses) <= MOST_CURVE + len(trace.steps) + 1


def test_a_long_run_is_binned() -> None:
    trace = reports.trace(records=3000)
    found = run_payload(described_report(reports.sick()), "", [trace])
    sites = array(found, "matrices?member=control-1")
    assert LEAST_COLUMNS <= len(sites["steps"]) <= 1200
    assert (sites["records"], sites["steps"][0], sites["steps"][-1]) == (3000, 0, trace.steps[-1])
    assert sites["remaining" if "remaining" in sites else "act_rms"].shape == (3, len(sites["steps"]))


def test_a_sweep_is_a_page_with_its_grid() -> None:
    result = swept()
    text = html_of_sweep(result)
    page = Page(text)
    assert page.open == []
    document = payload(text)["documents"]["sweep"]
    assert (document["kind"], len(document["cells"])) == ("sweep", len(result.rows))
    seen = "".join(page.seen)
    assert all(value in seen for row in result.rows for value in row.factors.values())


def test_the_file_of_twenty_networks_of_three_layers_stays_small() -> None:
    """As large as sigmoid_relu's: 20 members, 37 records, sites of 500, 256 and 10 units; of noise, which compresses less."""

    def member(arm: str, seed: int) -> Trace:
        trace, rng = reports.trace(arm, seed, records=37, every=24), np.random.default_rng(seed)
        widths = (500, 256, 10)
        sites = tuple(
            Site(site.name, np.full(n, True), np.full(n, False), site.is_output)
            for site, n in zip(trace.sites, widths, strict=True)
        )
        values = {name: tuple(rng.random((37, n), dtype=np.float32) for n in widths) for name in trace.unit_statistics}
        return replace(trace, sites=sites, unit_statistics=values)

    arms = ("control", "batchnorm-last", "batchnorm-all", "reseed")
    text = html_of_run(reports.sick(), [member(arm, seed) for arm in arms for seed in range(1, 6)])
    assert 300_000 < len(text.encode()) <= 500_000
