"""How often the fix that gradscope recommends repairs a sick network: brings it within two points of its healthy twin.

python -m benchmarks.repair                         # the half held back; see benchmarks/README.md for how long
python -m benchmarks.repair --half choosing --only "relu on the logits"

Each sick recipe of the corpora is diagnosed with `fixes: auto`. Its twin is the same network without the planted cause, trained
from the same seeds.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import UTC, datetime
from typing import Any

from benchmarks.environment import calm_threads, describe, load_average
from benchmarks.error_rates import ROOT, Journal, case_options, code_version, parsed
from benchmarks.error_rates_judge import wilson

JOURNAL = ROOT / "runs" / "repair.jsonl"
NEAR = 0.02  # of the twin's metric: as good as healthy
Result = Mapping[str, Any]

COLUMNS: Mapping[str, Callable[[Result], bool]] = {
    "repaired": lambda one: is_near(one, one["recommended_mean"]),
    "reseed": lambda one: is_near(one, one["reseed"]),
    "any fix tried": lambda one: any(is_near(one, fix["mean"]) for fix in one["fixes"].values()),
}
"""What is counted of each case: the fix recommended, other seeds alone, and whether one of the fixes tried would have done."""


def main() -> None:
    """Run what is not kept yet, print the table, keep the result."""
    options = parsed(case_options(__doc__, JOURNAL, only="cases whose name contains this"))
    calm_threads()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    chosen = chosen_cases(options.half, options.only)
    kept = Journal(options.journal, code_version("repair_run.py"))
    load = load_average()
    todo = [name for name in chosen if name not in kept.done]
    for i, one in enumerate(_finished(todo, options.workers), start=1):
        kept.put(one)
        print(f"{i}/{len(todo)} {one['name']}: {told(one)}", file=sys.stderr, flush=True)
    results = {name: kept.done[name] for name in chosen if name in kept.done}
    rates = summarise(results, chosen)
    print(table(rates))
    found = {"half": options.half, "code": kept.version, "rates": rates, "cases": results}
    found["environment"] = describe() | {"load_average": load, "load_average_at_end": load_average()}
    out = options.out or ROOT / "benchmarks" / "results" / f"repair-{datetime.now(UTC):%Y-%m-%d}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"kept in {out}", file=sys.stderr)


def chosen_cases(half: str, only: str) -> dict[str, str]:
    """Return the sick recipes by name, with what is planted in each."""
    from benchmarks.corpus import cases

    found = {name: case for name, case in cases().items() if case.twin and half in (case.half, "both") and only in name}
    return {name: case.plant.name for name, case in found.items() if case.plant}


def _finished(todo: Sequence[str], workers: int) -> Any:
    from benchmarks.error_rates_run import ready
    from benchmarks.repair_run import run_named

    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=ready) as pool:
        for future in as_completed([pool.submit(run_named, name) for name in todo]):
            yield future.result()


def is_near(one: Result, metric: float | None) -> bool:
    """Tell whether a mean metric is within two points of the twin's, or above it."""
    return metric is not None and bool(metric >= one["twin"] - NEAR)


def why_not_counted(one: Result) -> str:
    """Return why a case proves nothing; empty where it counts."""
    if "failed" in one:
        return str(one["failed"])
    if one["twin"] <= one["goal"]:
        return "its twin does not learn"
    return "nothing to repair: as good as its twin" if is_near(one, one["control"]) else ""


def summarise(results: Mapping[str, Result], plants: Mapping[str, str]) -> dict[str, Any]:
    """Return the shares over all cases and by what is planted, and everything that was not repaired or not counted."""
    counted = {name: one for name, one in results.items() if not why_not_counted(one)}
    by_plant: dict[str, list[Result]] = {}
    for name, one in counted.items():
        by_plant.setdefault(plants[name], []).append(one)
    return {
        "all": _shares(list(counted.values())),
        "plants": {plant: _shares(some) for plant, some in by_plant.items()},
        "not_repaired": {name: told(one) for name, one in counted.items() if not COLUMNS["repaired"](one)},
        "not_counted": {name: why_not_counted(one) for name, one in results.items() if why_not_counted(one)},
    }


def _shares(some: Sequence[Result]) -> dict[str, Any]:
    return {"of": len(some)} | {column: sum(map(count, some)) for column, count in COLUMNS.items()}


def told(one: Result) -> str:
    """Return a case in a line."""
    if "failed" in one:
        return str(one["failed"])
    tried = ", ".join(f"{name} {fix['mean']:.2f} {fix['verdict']}" for name, fix in one["fixes"].items()) or "no fix"
    recommended = f"{one['recommended']} {one['recommended_mean']:.2f}" if one["recommended"] else "none recommended"
    reseed = "" if one["reseed"] is None else f", reseed {one['reseed']:.2f}"
    return f"{one['control']:.2f} of {one['twin']:.2f}; {recommended}; tried {tried}{reseed}"


def table(rates: Mapping[str, Any]) -> str:
    """Return the rates as lines to read."""
    lines = [f"{'planted cause':28} {'cases':>6} " + " ".join(f"{column:>14}" for column in COLUMNS)]
    for name, found in {**rates["plants"], "all": rates["all"]}.items():
        lines.append(f"{name:28} {found['of']:>6} " + " ".join(f"{found[column]:>14}" for column in COLUMNS))
    for column in COLUMNS:
        count, of = rates["all"][column], rates["all"]["of"]
        low, high = wilson(count, of)
        lines.append(f"{column}: {count / of:.2f} [{low:.2f}, {high:.2f}]" if of else f"{column}: no case counts")
    for kind in ("not_repaired", "not_counted"):
        lines += ["", f"{kind.replace('_', ' ')}: {len(rates[kind])}", *(f"  {n}: {what}" for n, what in rates[kind].items())]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
