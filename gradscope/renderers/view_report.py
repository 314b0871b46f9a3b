"""A report as the tab and the HTML report need it: as data, with the sentences that renderers for people share.

It is written into event files, so that TensorBoard needs nothing but them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradscope.renderers.verdict import headline, remedy
from gradscope.renderers.view_statistics import OF_RULE
from gradscope.renderers.wording import SEVERITIES, basis, evidence, place
from gradscope.report import Finding, FixOutcome, Report, Waterfall

BASELINES = ("reseed", "placebo")  # arms that show what luck alone does
MOST_STAGES = 5000  # over all waterfalls, some 300 kB; of larger ones an even sample of steps is told, the trace has them all

Json = dict[str, Any]  # Any: whatever JSON holds


def described_report(report: Report) -> Json:
    """Return the parts of a document that come from the report; places are told by site and seed."""
    whole: Json = json.loads(report.to_json())
    whole["waterfalls"] = [whole["waterfalls"][i] for i in _shown_waterfalls(report.waterfalls)]
    findings = sorted(
        zip(report.findings, whole["findings"], strict=True), key=lambda pair: _rank(pair[0])
    )  # stable: the report's order counts within
    return {
        "title": report.recipe,
        "gradscope": report.gradscope,
        "verdict": report.verdict,
        "headline": headline(report),
        "remedy": remedy(report),
        "notes": [list(pair) for pair in basis(report)],
        "interrupted": report.interrupted,
        "findings": [_finding(finding, data) for finding, data in findings],
        "fixes": [_fix(fix, data, report) for fix, data in zip(report.fixes, whole["fixes"], strict=True)],
        "control": whole["control"],
        "recommended": report.recommended,
        "report": whole,
    }


def role_of_arm(arm: str) -> str:
    """Return what an arm is in a trial, or `run` of a watched loop.

    >>> [role_of_arm(arm) for arm in ("control", "batchnorm-last", "reseed", "run")]
    ['control', 'fix', 'baseline', 'run']
    """
    if arm in BASELINES:
        return "baseline"
    return arm if arm in ("control", "run") else "fix"


def _rank(finding: Finding) -> tuple[bool, int]:
    return finding.role != "origin", SEVERITIES.index(finding.severity)


def _finding(finding: Finding, data: Json) -> Json:
    return {
        **data,
        "title": place(finding),
        "evidence_text": evidence(finding.evidence),
        "place": {"site": finding.site, "step": finding.first_step, "statistic": OF_RULE.get(finding.rule)},
    }


def _fix(fix: FixOutcome, data: Json, report: Report) -> Json:
    role = role_of_arm(fix.fix)
    pairs = _pairs(fix, data["values"], role, report)
    return {**data, "arm": fix.fix, "role": role, "recommended": fix.fix == report.recommended, "pairs": pairs}


def _pairs(fix: FixOutcome, values: Sequence[float | None], role: str, report: Report) -> list[Json] | None:
    """Return by seed the values of control and fix, None where it is not certain which belong together."""
    seeds, control = report.setting.seeds, report.control
    if control is None or role == "baseline" or not len(seeds) == len(control.values) == len(fix.values):
        return None
    before = [value if np.isfinite(value) else None for value in control.values]
    return [
        {"seed": seed, "control": of_control, "value": value}
        for seed, of_control, value in zip(seeds, before, values, strict=True)
    ]


def _shown_waterfalls(waterfalls: Sequence[Waterfall]) -> list[int]:
    stages = max((len(waterfall.stages) for waterfall in waterfalls), default=0)
    most = max(2, MOST_STAGES // max(stages, 1))
    if len(waterfalls) <= most:
        return list(range(len(waterfalls)))
    return sorted(set(np.linspace(0, len(waterfalls) - 1, most).round().astype(int).tolist()))
