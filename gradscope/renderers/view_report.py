"""A report as the tab and the HTML report need it: as data, with the sentences that renderers for people share.

It is written into event files, so that TensorBoard needs nothing but them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np

from gradscope.renderers.verdict import headline, remedy
from gradscope.renderers.view_statistics import OF_RULE
from gradscope.renderers.wording import SEVERITIES, basis, evidence, place, verdict_word
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
    pairs = None
    if role != "baseline" and report.control is not None:
        pairs = seed_pairs(report.setting.seeds, report.control.values, data["values"], data.get("control_mean"))
    is_chosen = fix.fix == report.recommended
    return {**data, "arm": fix.fix, "role": role, "word": verdict_word(fix), "recommended": is_chosen, "pairs": pairs}


def seed_pairs(
    seeds: Sequence[int], control: Sequence[float], values: Sequence[float | None], control_mean: float | None = None
) -> list[Json] | None:
    """Return by seed the values of control and fix, None where it is not certain which belong together.

    A fix that was given up early has the first of the seeds, where `control_mean`, the control's over the fix's seeds, bears
    that out.

    >>> seed_pairs([1, 2, 3], [0.2, 0.4, 0.6], [0.5, 0.7], 0.3)
    [{'seed': 1, 'control': 0.2, 'value': 0.5}, {'seed': 2, 'control': 0.4, 'value': 0.7}]
    """
    shared = control[: len(values)]
    if len(seeds) != len(control) or len(values) > len(control):
        return None
    if len(values) < len(control) and not (control_mean is not None and shared and math.isclose(fmean(shared), control_mean)):
        return None
    known = [value if math.isfinite(value) else None for value in shared]
    return [{"seed": seed, "control": a, "value": b} for seed, a, b in zip(seeds, known, values, strict=False)]


def _shown_waterfalls(waterfalls: Sequence[Waterfall]) -> list[int]:
    stages = max((len(waterfall.stages) for waterfall in waterfalls), default=0)
    most = max(2, MOST_STAGES // max(stages, 1))
    if len(waterfalls) <= most:
        return list(range(len(waterfalls)))
    return sorted(set(np.linspace(0, len(waterfalls) - 1, most).round().astype(int).tolist()))
