"""One sick recipe: diagnosed with the fixes that suit it, beside its healthy twin. Runs in a worker."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.corpus_case import Case


def run_named(name: str) -> dict[str, Any]:
    """Diagnose the case of that name; what goes wrong in it is its result, so that the others go on."""
    from benchmarks.corpus import cases

    case, start = cases()[name], time.perf_counter()
    try:
        found = _repaired(case)
    except Exception as error:  # counted and told of, not passed over
        found = {"failed": f"{type(error).__name__}: {error}"}
    return {"name": name} | found | {"seconds": round(time.perf_counter() - start, 2)}


def _repaired(case: Case) -> dict[str, Any]:
    report = _trial(dict(case.recipe) | {"seeds": case.seeds, "fixes": "auto"}, case)
    twin = _trial(dict(case.twin) | {"seeds": case.seeds}, case, is_twin=True)
    fixes = {one.fix: one for one in report.fixes if one.fix != "reseed"}
    reseed = next((one.mean for one in report.fixes if one.fix == "reseed"), None)
    best = fixes.get(report.recommended or "")
    return {
        "goal": case.goal,
        "control": round(report.control.mean, 4),
        "twin": round(twin.control.mean, 4),
        "recommended": report.recommended,
        "recommended_mean": None if best is None else round(best.mean, 4),
        "fixes": {name: {"mean": round(one.mean, 4), "verdict": one.verdict, "p": one.p} for name, one in fixes.items()},
        "reseed": None if reseed is None else round(reseed, 4),
        "errors": sorted({one.rule for one in report.findings if one.severity == "error"}),
    }


def _trial(described: dict[str, Any], case: Case, *, is_twin: bool = False) -> Any:
    import torch

    from gradscope.data import load_recipe_data
    from gradscope.recipe import build_recipe
    from gradscope.trial import Conditions, run_trial

    recipe = build_recipe(described)
    data = load_recipe_data(recipe)
    data = case.change(data) if case.change and not is_twin else data
    return run_trial(recipe, data, Conditions(torch.device("cpu"), steps=case.steps))
