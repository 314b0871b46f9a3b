"""The judged cases as rates: per rule, per planted cause, over all; as plain values and as a table to read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.error_rates_judge import Judged, wilson

BY_STEPS = (0, 10, 100)  # of the first flag
HEAD = f"{'':24} {'precision':>24} {'recall':>24} {'origin right':>24} {'cause right':>24}"


def summarise(judged: Sequence[Judged]) -> dict[str, Any]:
    """Return all rates and, by name, everything that is wrong or not counted."""
    sick = [one for one in judged if one.kind == "sick"]
    healthy = [one for one in judged if one.kind == "healthy"]
    rules = sorted({slug for one in (*sick, *healthy) for slug in (one.rule, *one.right, *one.false) if slug})
    plants: dict[str, list[Judged]] = {}
    for one in sick:
        plants.setdefault(one.case.plant.name if one.case.plant else "", []).append(one)
    return {
        "counted": {"healthy": len(healthy), "sick": len(sick)},
        "all": _rates(sick, healthy),
        "rules": {slug: _rule(slug, sick, healthy) for slug in rules},
        "plants": {name: _rates(some, []) for name, some in plants.items()},
        "ways": {way: _rates(_by_way(sick, way), _by_way(healthy, way)) for way in ("watch", "recipe")},
        "false_alarms": share(sum(bool(one.false) for one in healthy), len(healthy)),
        "wrong": _wrong(sick, healthy),
        "not_counted": {one.case.name: _why(one) for one in judged if one.kind not in ("sick", "healthy")},
    }


def share(count: int, of: int) -> dict[str, Any]:
    """Return a share with its interval; null where there is nothing to take it of."""
    low, high = wilson(count, of)
    ratio = round(count / of, 4) if of else None
    return {"count": count, "of": of, "share": ratio, "interval": [round(low, 4), round(high, 4)]}


def _by_way(judged: Iterable[Judged], way: str) -> list[Judged]:
    return [one for one in judged if one.case.way == way]


def _rates(sick: Sequence[Judged], healthy: Sequence[Judged]) -> dict[str, Any]:
    right = sum(len(one.right) for one in sick)
    false = sum(len(one.false) for one in (*sick, *healthy))
    return {"precision": share(right, right + false), "follow": sum(len(one.follows) for one in sick)} | _found(sick)


def _rule(slug: str, sick: Sequence[Judged], healthy: Sequence[Judged]) -> dict[str, Any]:
    right = sum(slug in one.right for one in sick)
    false = sum(slug in one.false for one in (*sick, *healthy))
    follow = sum(slug in one.follows for one in sick)
    return {"precision": share(right, right + false), "follow": follow} | _found([one for one in sick if one.rule == slug])


def _found(sick: Sequence[Judged]) -> dict[str, Any]:
    found = [one for one in sick if one.is_found]
    placed = [one.origin_right for one in found if one.origin_right is not None]
    caused = [right for one in sick for right in one.causes_right]
    asked = sum(one.case.way == "recipe" for one in sick)
    firsts = [one.first_step for one in found if one.first_step is not None]
    return {
        "recall": share(len(found), len(sick)),
        "found_by_step": {str(step): sum(first <= step for first in firsts) for step in BY_STEPS},
        "origin_right": share(sum(placed), len(placed)),
        "cause_right": share(sum(caused), len(caused)),
        "causes_asked": asked,
    }


def _wrong(sick: Sequence[Judged], healthy: Sequence[Judged]) -> dict[str, dict[str, Any]]:
    return {
        "false_alarms": {one.case.name: list(one.false) for one in healthy if one.false},
        "false_beside_a_cause": {one.case.name: list(one.false) for one in sick if one.false},
        "missed": {one.case.name: _severities(one) for one in sick if not one.is_found and not one.crashed},
        "crashed": {one.case.name: [one.crashed] for one in sick if one.crashed},
        "origin_wrong": {one.case.name: list(one.origins) for one in sick if one.origin_right is False},
        "cause_wrong": {one.case.name: list(one.causes) for one in sick if not all(one.causes_right)},
    }


def _severities(one: Judged) -> list[str]:
    return [f"{found['severity']} {found['rule']} at {found['site'] or 'the network'}" for found in one.findings]


def _why(one: Judged) -> dict[str, Any]:
    errors = sorted({*one.right, *one.follows, *one.false})
    return {"why": f"{one.kind}: {one.crashed}" if one.crashed else one.kind, "errors": errors}


def table(rates: dict[str, Any]) -> str:
    """Return the rates as lines to read.

    >>> cell(share(19, 20))
    '19/20 0.95 [0.76,0.99]'
    """
    counted = rates["counted"]
    lines = [f"{counted['sick']} sick and {counted['healthy']} healthy networks", "", HEAD]
    lines += [line(name, found) for name, found in rates["rules"].items()]
    lines += [line("through " + name, found) for name, found in rates["ways"].items()]
    lines += [line("all", rates["all"]), ""]
    lines += [f"false alarms (healthy networks with an error): {cell(rates['false_alarms'])}", ""]
    lines.append(f"{'planted cause':36} {'found':>22}  {'flagged by step 0, 10, 100':>28}")
    for name, found in rates["plants"].items():
        steps = ", ".join(str(count) for count in found["found_by_step"].values())
        lines.append(f"{name:36} {cell(found['recall']):>22}  {steps:>28}")
    for kind, cases in rates["wrong"].items():
        lines += ["", f"{kind.replace('_', ' ')}: {len(cases)}", *(f"  {name}: {_told(what)}" for name, what in cases.items())]
    lines += ["", f"not counted: {len(rates['not_counted'])}"]
    lines += [f"  {name}: {what['why']}; errors: {_told(what['errors'])}" for name, what in rates["not_counted"].items()]
    return "\n".join(lines)


def line(name: str, found: dict[str, Any]) -> str:
    """Return one row of the table."""
    cells = (cell(found[key]) for key in ("precision", "recall", "origin_right", "cause_right"))
    return f"{name:24} " + " ".join(f"{text:>24}" for text in cells)


def cell(found: dict[str, Any]) -> str:
    """Return a share as text."""
    if not found["of"]:
        return "-"
    low, high = found["interval"]
    return f"{found['count']}/{found['of']} {found['share']:.2f} [{low:.2f},{high:.2f}]"


def _told(what: Any) -> str:
    return ", ".join(what) or "none" if isinstance(what, list) else str(what)
