"""Traces x rules -> findings: where it starts, what follows from it, since when, in how many seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median_low

import numpy as np

from gradscope.hypotheses import published_hypotheses
from gradscope.report import Coverage, Evidence, Finding, Hypothesis, Role, Severity, Undecided, Verdict, Waterfall
from gradscope.roles import Seen, role_of
from gradscope.rules import RULES, CannotTell, Observation, Rule
from gradscope.rules.site_order import leads_to
from gradscope.trace import Trace
from gradscope.waterfall import waterfalls

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")  # worst first


@dataclass(frozen=True)
class Diagnosis:
    """What the rules say of one arm: all its seeds together."""

    verdict: Verdict
    findings: list[Finding]
    undecided: list[Undecided]
    hypotheses: list[Hypothesis]
    waterfalls: list[Waterfall]
    coverage: Coverage
    errors: Mapping[str, Sequence[int]]
    """The rules with an error, each with the seeds in which it is one (in others it may be milder)."""


@dataclass(frozen=True)
class _Placed:
    seed: int
    site: str | None
    seen: Seen
    role: Role


@dataclass(frozen=True)
class _Reason:
    """Why a rule did not judge a trace."""

    text: str
    crashed: bool = False
    optional: bool = False


def diagnose(traces: Sequence[Trace], rules: Sequence[type[Rule]] = RULES) -> Diagnosis:
    """Judge the traces of one arm, one per seed.

    The verdict is sick where an error finding stands in any seed, undecided where nothing was seen or judged, or a rule crashed
    or could judge no seed, else healthy. A rule that lacks only what the user's own loop could have told does not count. A rule
    that raises is reported as crashed, and the others go on.
    """
    placed: list[_Placed] = []
    needed: list[Undecided] = []
    optional: list[Undecided] = []
    is_judged = False
    judged: dict[int, list[Seen]] = {i: [] for i in range(len(traces))}
    for rule in rules:
        reasons = _judge_all(rule, traces, judged)
        is_judged |= len(reasons) < len(traces)
        worst = min(reasons.values(), key=lambda reason: (not reason.crashed, reason.optional), default=None)
        if worst and (worst.crashed or len(reasons) == len(traces)):
            answer = Undecided(rule=rule.slug, code=rule.code, reason=worst.text, crashed=worst.crashed)
            (optional if worst.optional else needed).append(answer)
    for i, seen in judged.items():
        names = [site.name for site in traces[i].sites]
        leads = leads_to(traces[i])
        for item in seen:
            site = None if item.observation.site is None else names[item.observation.site]
            placed.append(_Placed(traces[i].seed, site, item, role_of(item, seen, leads)))
    findings = _findings(placed, [site.name for site in traces[0].sites] if traces else [])
    return Diagnosis(
        verdict=_verdict(findings, traces, is_told=is_judged and not needed),
        findings=findings,
        undecided=[*needed, *optional],
        hypotheses=published_hypotheses(traces),
        waterfalls=waterfalls(traces),
        coverage=coverage(traces),
        errors=_errors(placed),
    )


def coverage(traces: Sequence[Trace]) -> Coverage:
    """Return what was seen and what was not, over all traces."""
    seen = max((len(trace.sites) for trace in traces if len(trace.steps)), default=0)
    unseen = list(dict.fromkeys(name for trace in traces for name in trace.unseen))
    notes = list(dict.fromkeys(note for trace in traces for note in trace.notes))
    if not any(len(trace.steps) for trace in traces):
        notes.append("no step was recorded, so no non-linearity was seen")
    elif not seen and not any(note.startswith("sites: ") for note in notes):
        hidden = "has them only in what cannot be looked into" if unseen else "runs them without gradients"
        notes.append(f"no non-linearity was seen: the network has none, or {hidden}")
    return Coverage(sites_seen=seen, sites_unseen=unseen, notes=notes)


def _judge_all(rule: type[Rule], traces: Sequence[Trace], judged: Mapping[int, list[Seen]]) -> dict[int, _Reason]:
    """Judge each trace by one rule; return why it could not judge those that it could not."""
    reasons: dict[int, _Reason] = {}
    for i, trace in enumerate(traces):
        try:
            judgement = rule().judge(trace)
        except Exception as error:  # a rule of a third party must not take the others down
            reasons[i] = _Reason(f"crashed: {type(error).__name__}: {error}", crashed=True)
            continue
        if isinstance(judgement, CannotTell):
            reasons[i] = _Reason(judgement.reason, optional=judgement.optional)
        else:
            judged[i].extend(Seen(rule, observation) for observation in judgement)
    return reasons


def _verdict(findings: list[Finding], traces: Sequence[Trace], *, is_told: bool) -> Verdict:
    if any(finding.severity == "error" for finding in findings):
        return "sick"
    if not is_told or not any(trace.sites and len(trace.steps) for trace in traces):
        return "undecided"
    return "healthy"


def _errors(placed: list[_Placed]) -> dict[str, list[int]]:
    found: dict[str, set[int]] = {}
    for item in placed:
        if item.seen.is_error:
            found.setdefault(item.seen.rule.slug, set()).add(item.seed)
    return {rule: sorted(seeds) for rule, seeds in found.items()}


def _findings(placed: list[_Placed], order: list[str]) -> list[Finding]:
    groups: dict[tuple[str, str | None], list[_Placed]] = {}
    for item in placed:
        groups.setdefault((item.seen.rule.slug, item.site), []).append(item)
    findings = [_finding(items) for items in groups.values()]
    place = {name: i for i, name in enumerate(order)}
    return sorted(
        findings,
        key=lambda f: (f.role != "origin", SEVERITIES.index(f.severity), place.get(f.site or "", len(place)), f.code),
    )


def _finding(items: list[_Placed]) -> Finding:
    rule = items[0].seen.rule
    observations = [item.seen.observation for item in items]
    severity = min((o.severity for o in observations), key=SEVERITIES.index)
    chosen = _typical([item for item in items if item.seen.observation.severity == severity])
    roles = [item.role for item in items]
    note = f" (seed {chosen.seed})" if len(items) > 1 else ""
    return Finding(
        rule=rule.slug,
        code=rule.code,
        site=items[0].site,
        role="origin" if 2 * roles.count("origin") >= len(roles) else "victim",
        first_step=min(o.first_step for o in observations),
        seeds=sorted(item.seed for item in items),
        severity=severity,
        evidence=_medians(observations),
        cause=chosen.seen.observation.cause,
        text=chosen.seen.observation.text + note,
    )


def _typical(items: list[_Placed]) -> _Placed:
    """Return the item in the middle by its first number of evidence."""

    def first_number(item: _Placed) -> float:
        numbers = [v for v in item.seen.observation.evidence.values() if isinstance(v, int | float)]
        return float(numbers[0]) if numbers and not np.isnan(numbers[0]) else 0.0

    return sorted(items, key=first_number)[len(items) // 2]


def _medians(observations: Sequence[Observation]) -> Evidence:
    """Return each number's median over the seeds; yes-or-no values stand where more than half of the seeds say yes."""
    found: Evidence = {}
    for key in observations[0].evidence:
        values = [o.evidence[key] for o in observations if key in o.evidence]
        if all(isinstance(v, bool) for v in values):
            found[key] = 2 * sum(bool(v) for v in values) > len(values)
        elif all(isinstance(v, int | float) for v in values):
            # low: a value that was seen, so that a count stays a count
            median = median_low([v for v in values if isinstance(v, int | float)])
            found[key] = median if isinstance(median, int) else float(f"{median:.4g}")
        else:
            found[key] = next((v for v in values if v is not None), None)
    return found
