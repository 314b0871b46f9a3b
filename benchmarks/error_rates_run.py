"""One case: trained under gradscope, and what it said, as plain values. Runs in a worker."""

from __future__ import annotations

import os
import time
from typing import Any

from benchmarks.corpus_case import Case


def ready() -> None:
    """Make a worker ready: one thread, as low in priority as can be."""
    import torch

    torch.set_num_threads(1)
    if hasattr(os, "nice"):
        os.nice(5)


def run_named(name: str) -> dict[str, Any]:
    """Train the case of that name; what goes wrong in it is its result, so that the others go on."""
    from benchmarks.corpus import cases

    case, start = cases()[name], time.perf_counter()
    try:
        found = _watched(case) if case.setup else _recipe(case)
    except Exception as error:  # counted and told of, not passed over
        found = {"failed": f"{type(error).__name__}: {error}"}
    return {"name": name} | found | {"seconds": round(time.perf_counter() - start, 2)}


def _watched(case: Case) -> dict[str, Any]:
    import torch

    from benchmarks.corpus_training import train

    assert case.setup
    torch.manual_seed(case.seed)
    report, score, steps = train(case.setup(), case.seed, case.steps, case.fewest, case.goal)
    return {"score": round(score, 4), "steps": steps, "seeds": 1} | said(report)


def _recipe(case: Case) -> dict[str, Any]:
    import torch

    from gradscope.data import load_recipe_data
    from gradscope.recipe import build_recipe
    from gradscope.trial import Conditions, run_trial

    recipe = build_recipe(dict(case.recipe) | {"seeds": case.seeds})
    data = load_recipe_data(recipe)
    data = case.change(data) if case.change else data
    report = run_trial(recipe, data, Conditions(torch.device("cpu"), steps=case.steps, causes=True))
    values = report.control.values if report.control else []
    # all seeds of a healthy recipe must learn, and no more than half of a sick one's may
    score = min(values) if case.kind == "healthy" else sorted(values)[len(values) // 2]
    return {"score": round(score, 4), "steps": case.steps, "seeds": len(values)} | said(report)


def said(report: Any) -> dict[str, Any]:
    """Return what a report says, as far as it is counted."""
    return {
        "verdict": report.verdict,
        "findings": [
            {
                "rule": one.rule,
                "site": one.site,
                "role": one.role,
                "severity": one.severity,
                "first_step": one.first_step,
                "seeds": len(one.seeds),
                "named": [name for value in one.evidence.values() if isinstance(value, list | str) for name in _names(value)],
                "cause": one.tested.cause if one.tested else None,
                "why_no_cause": one.tested.reason if one.tested else "",
            }
            for one in report.findings
        ],
        "undecided": {one.rule: one.reason for one in report.undecided},
        "crashed": [one.rule for one in report.undecided if one.crashed],
    }


def _names(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [one for one in value if isinstance(one, str)]
