"""What of that which gradscope said is right: each case against what was planted in it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

from benchmarks.corpus_case import Case

CONFIDENCE = 0.95
Finding = Mapping[str, Any]


@dataclass(frozen=True)
class Judged:
    """One case beside what was said of it.

    `kind` is healthy, sick, or why it is not counted: it crashed or did not learn though healthy, or learns though sick.
    `rule` is the planted cause's rule that was found, or the one that fits best where none was. None where nothing is asked,
    or told. A sick case that `crashed` is one in which nothing was found.
    """

    case: Case
    kind: str
    findings: Sequence[Finding]
    rule: str = ""
    is_found: bool = False
    first_step: int | None = None
    origin_right: bool | None = None
    causes: tuple[str, ...] = ()  # named by intervention, each once
    causes_right: tuple[bool, ...] = ()  # of these
    crashed: str = ""
    right: tuple[str, ...] = ()  # rules with an error finding, each once
    follows: tuple[str, ...] = ()
    false: tuple[str, ...] = ()
    origins: tuple[str, ...] = field(default=())  # for reading: rule at site


def judge(case: Case, result: Mapping[str, Any]) -> Judged:
    """Judge one case."""
    if "failed" in result:
        rule = case.plant.rules[0] if case.plant else ""
        return Judged(case, "sick" if case.plant else "failed", (), rule, crashed=result["failed"])
    findings = result["findings"]
    if case.plant is None:
        kind = "healthy" if result["score"] > case.goal else "did not learn"
        return Judged(case, kind, findings, false=_errors(findings))
    learns = result["score"] > case.goal
    kind = "learns all the same" if learns and not case.plant.may_learn else "sick"
    return _judge_sick(case, kind, findings, result["seeds"])


def _judge_sick(case: Case, kind: str, findings: Sequence[Finding], seeds: int) -> Judged:
    plant = case.plant
    assert plant
    told = [one for one in findings if one["severity"] == "error" or (plant.may_learn and one["severity"] == "warning")]
    hits = {rule: [one for one in told if one["rule"] == rule] for rule in plant.rules}
    seen = {rule: ones for rule, ones in hits.items() if any(2 * one["seeds"] >= seeds for one in ones)}
    rule = next(iter(seen), plant.rules[0])
    origins = [one for one in told if one["role"] == "origin" and (one["severity"] == "error" or one["rule"] in plant.rules)]
    causes = tuple(dict.fromkeys(one["cause"] for one in findings if one["cause"]))
    errors = _errors(findings)
    follows = tuple(slug for slug in errors if slug in plant.also and _follows(slug, findings, plant.places))
    return Judged(
        case=case,
        kind=kind,
        findings=findings,
        rule=rule,
        is_found=bool(seen),
        first_step=min((one["first_step"] for ones in seen.values() for one in ones), default=None),
        origin_right=_is_placed(origins, plant.places) if seen and plant.places else None,
        causes=causes,
        causes_right=tuple(cause in plant.causes for cause in causes),
        right=tuple(slug for slug in errors if slug in plant.rules),
        follows=follows,
        false=tuple(slug for slug in errors if slug not in (*plant.rules, *follows)),
        origins=tuple(f"{one['rule']} at {one['site'] or ' '.join(one['named']) or 'the network'}" for one in origins),
    )


def _errors(findings: Iterable[Finding]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one["rule"] for one in findings if one["severity"] == "error"))


def _follows(slug: str, findings: Iterable[Finding], places: Sequence[str]) -> bool:
    """Tell whether what follows from the cause was said to: each error of the rule is a victim, or stands at the place.

    An origin elsewhere is false, though the rule be one that the cause may set off. Where the whole network has the cause, it
    may begin anywhere.
    """
    own = [one for one in findings if one["rule"] == slug and one["severity"] == "error" and one["role"] == "origin"]
    return not places or all(_is_placed([one], places) for one in own)


def _is_placed(origins: Sequence[Finding], places: Sequence[str]) -> bool:
    """Tell whether there is an origin, and each one stands where the cause was planted."""
    begins = tuple(f"{place.rstrip('.')}." for place in places)
    named = [[f"{name}." for name in (one["site"] or "", *one["named"])] for one in origins]
    return bool(named) and all(any(name.startswith(begins) for name in names) for names in named)


def wilson(count: int, of: int) -> tuple[float, float]:
    """Return the interval of a share (Wilson 1927); 0 to 1 for a share of nothing.

    >>> [round(end, 3) for end in wilson(95, 100)]
    [0.888, 0.978]
    >>> wilson(0, 0)
    (0.0, 1.0)
    """
    if not of:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    middle = (count / of + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * math.sqrt(count / of * (1 - count / of) / of + z * z / (4 * of * of))
    return middle - half if count else 0.0, middle + half if count < of else 1.0
