"""How often `gradscope check` is wrong: false alarms on healthy recipes, misses on collapsed ones, and the rate near the edge.

python -m benchmarks.false_alarms                  # 100 checks of each recipe, with other seeds each
python -m benchmarks.false_alarms --checks 3 --only healthy
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

from benchmarks.environment import calm_threads, describe
from benchmarks.shares import largest_share

ROOT = Path(__file__).parents[1]
RECIPES = ROOT / "recipes"
AT_ONCE = 10  # checks whose networks train as one population
SLOW = "own_model"  # one network at a time
EDGE = """
data: digits
stack: {{hidden: {hidden}, activations: {activations}, init: {init}}}
training: {{optimizer: sgd, lr: {lr}, momentum: {momentum}, batch_size: 32, epochs: {epochs}}}
seeds: 5
fixes: []
expect: {expect}
"""


@dataclass(frozen=True)
class Case:
    """One recipe that is checked again and again."""

    name: str
    kind: str  # healthy | sick | edge
    path: Path | None = None
    text: str = ""


def edge(name: str, expect: str, activations: str, **changes: object) -> Case:
    """Return a recipe whose finding stands in some seeds and not in others."""
    values = {"hidden": [64, 32], "init": "default", "lr": 0.01, "momentum": 0.5, "epochs": 10} | changes
    return Case(name, "edge", text=EDGE.format(expect=expect, activations=activations, **values))


def cases() -> list[Case]:
    """Return those that are healthy, those that are sick (each as its recipe expects), and those near the edge."""
    kinds = dict.fromkeys(("healthy", "mixed_units"), "healthy")
    dying = {"expect": "[dead-units, dead-layer]", "activations": "[relu, relu, none]", "lr": 0.5, "momentum": 0.9}
    return [
        *(Case(path.stem, kinds.get(path.stem, "sick"), path) for path in sorted(RECIPES.glob("*.yaml")) if path.stem != SLOW),
        edge("relu output behind tanh", "healthy", "[relu, tanh, relu]"),
        edge("relus behind tanh", "healthy", "[tanh, relu, relu]"),
        edge("relus, relu output", "healthy", "[relu, relu, relu]"),
        edge("steps nearly too large", "healthy", "[relu, relu, none]", lr=0.2, momentum=0.9),
        edge("dying relus, 128 and 64", hidden=[128, 64], **dying),
        edge("dying relus, 64 and 64", hidden=[64, 64], **dying),
    ]


def main() -> None:
    """Measure, print a table, keep the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checks", type=int, default=100, help="checks of each recipe (default: 100)")
    parser.add_argument("--only", default="", help="names that contain this, or healthy, sick, edge")
    parser.add_argument("--out", type=Path, help="file for the result (default: benchmarks/results/false-alarms-DATE.json)")
    options = parser.parse_args()
    calm_threads()
    chosen = [case for case in cases() if options.only in case.name or options.only == case.kind]
    if options.checks < 1 or not chosen:
        parser.error("expected at least one check of at least one recipe")
    results = []
    for case in chosen:
        results.append(measured(case, options.checks))
        print(line(results[-1]), flush=True)
    out = options.out or ROOT / "benchmarks" / "results" / f"false-alarms-{datetime.now(UTC):%Y-%m-%d}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"checks": options.checks, "environment": describe(), "results": results}, indent=1, allow_nan=False)
    out.write_text(text + "\n", encoding="utf-8")
    print(totals(results), f"kept in {out}", sep="\n", file=sys.stderr)


def measured(case: Case, checks: int) -> dict[str, Any]:
    """Check a recipe again and again, with other seeds each time, and the first check's baseline against all others."""
    from gradscope.baseline import baseline_of, compare
    from gradscope.check_budget import reliable
    from gradscope.check_judge import judge
    from gradscope.check_standing import stand
    from gradscope.rules import RULES

    start, outcomes, differences, numbers, first = time.perf_counter(), [], [], [], None
    counts: Counter[str] = Counter()
    why: Counter[str] = Counter()
    for traces, asked in _checks(case, checks):
        result = judge(traces, asked)
        outcomes.append(result.outcome)
        relied = reliable(RULES, asked.steps, asked.planned)
        standing = stand(traces, [rule for rule in RULES if rule in relied or rule.is_final], asked.share)
        now = baseline_of(traces, standing, name=case.name, steps=asked.steps, rules=relied)
        first = first or now
        found = compare(first, now) if first is not now else []
        differences.append(any(one.fails for one in found))
        numbers.append(any(one.kind == "number" for one in found))
        for one in [*result.differences, *found]:
            why[one.text.split(" (")[0] if one.kind != "number" else f"{one.site or 'network'} {one.statistic}"] += 1
        level: Literal["warning", "error"] = "warning" if asked.expects_rules else "error"
        for rule in relied:
            counts[rule.slug] += standing.count(rule.slug, at_least=level)
    seeds = checks * len(standing.seeds)
    shares = {rule: round(count / seeds, 4) for rule, count in counts.items() if count or rule in asked.expected}
    rules = [shares[rule] for rule in asked.expected] if asked.expects_rules else list(shares.values())
    share = min(rules) if asked.expects_rules else max(rules, default=0.0)  # the one that decides
    failed = sum(outcome != "as expected" for outcome in outcomes)
    predicted = _tail(len(standing.seeds), standing.needed, share)
    return {
        "name": case.name,
        "kind": case.kind,
        "checks": checks,
        "seeds_each": len(standing.seeds),
        "seeds_needed": standing.needed,
        "steps": asked.steps,
        "expected": list(asked.expected),
        "shares_of_seeds": shares,
        "share_that_decides": share,
        "failed": failed,
        "failed_at_most_95": round(largest_share(failed, checks), 4),
        "predicted_by_binomial": round(1 - predicted if asked.expects_rules else predicted, 4),
        "baseline_differs": sum(differences),
        "baseline_numbers_differ": sum(numbers),
        "why": dict(why.most_common(12)),
        "rounding": rounding(case),
        "seconds": round(time.perf_counter() - start, 1),
    }


def rounding(case: Case) -> dict[str, Any]:
    """Return how far the numbers of the recipe's own seeds move where all is computed in double precision.

    That stands for another processor, whose sums round differently: a training multiplies what that changes.
    """
    from gradscope import trained_arms
    from gradscope.baseline import baseline_of, compare
    from gradscope.baseline_numbers import SHARES
    from gradscope.check_budget import reliable
    from gradscope.check_standing import stand
    from gradscope.data import Data
    from gradscope.rules import RULES

    sides = []
    build, move = trained_arms.build_network, Data.to
    for double in (False, True):
        with ExitStack() as changed:
            if double:
                changed.enter_context(patch.object(trained_arms, "build_network", lambda *a, **k: build(*a, **k).double()))
                changed.enter_context(patch.object(Data, "to", lambda data, device: move(data, device, torch_double())))
            [(traces, asked)] = _checks(case, 1)
        relied = reliable(RULES, asked.steps, asked.planned)
        standing = stand(traces, relied, asked.share)
        sides.append(baseline_of(traces, standing, name=case.name, steps=asked.steps, rules=relied))
    moved: dict[str, float] = {}
    for site, found in sides[0].end.items():
        for name, was in found.items():
            pair = (was.value, sides[1].end[site][name].value)
            if all(map(math.isfinite, pair)):
                far = abs(pair[0] - pair[1]) if name in SHARES else max(pair) / max(min(pair), 1e-12)
                moved[name] = round(max(moved.get(name, 0.0), far), 4)
    return {"moved": moved, "differs": [one.text for one in compare(*sides)]}


def torch_double() -> Any:
    """Return the type; torch is imported late."""
    import torch

    return torch.float64


def _checks(case: Case, checks: int) -> Iterator[tuple[list[Any], Any]]:
    """Yield traces and question of each check; check k has the recipe's number of seeds from k times as many on."""
    from gradscope.check_options import CheckOptions
    from gradscope.checking import observe
    from gradscope.recipe_file import load_recipe

    with tempfile.TemporaryDirectory() as folder:
        path = case.path or Path(folder) / "edge.yaml"
        if case.path is None:
            path.write_text(case.text, encoding="utf-8")
        size = len(load_recipe(path).seed_list)
        for begin in range(0, checks, AT_ONCE):
            blocks = range(begin, min(begin + AT_ONCE, checks))
            seeds = [1 + block * size + i for block in blocks for i in range(size)]
            done = observe(path, CheckOptions(seeds=seeds, device="cpu", allow_code=True))
            by_seed = {trace.seed: trace for trace in done.traces}
            for block in blocks:
                yield [by_seed[1 + block * size + i] for i in range(size)], replace(done.asked, baseline=None)


def _tail(seeds: int, needed: int, share: float) -> float:
    """Return the probability that at least `needed` of the seeds show what each shows with probability `share`."""
    return sum(math.comb(seeds, k) * share**k * (1 - share) ** (seeds - k) for k in range(needed, seeds + 1))


def line(result: dict[str, Any]) -> str:
    """Return one row of the table."""
    return (
        f"{result['kind']:8} {result['name']:24} found in {100 * result['share_that_decides']:5.1f} % of seeds, "
        f"{result['failed']:3} of {result['checks']} checks fail (binomial {100 * result['predicted_by_binomial']:5.1f} %), "
        f"{result['baseline_differs']:3} differ from the first's baseline ({result['baseline_numbers_differ']} by numbers), "
        f"{result['seconds']:.0f} s"
    )


def totals(results: Sequence[dict[str, Any]]) -> str:
    """Return the sums over healthy and sick recipes."""
    lines = []
    for kind, what in (("healthy", "false alarms"), ("sick", "misses")):
        found = [result for result in results if result["kind"] == kind]
        failed, checks = sum(r["failed"] for r in found), sum(r["checks"] for r in found)
        if checks:
            lines.append(
                f"{what}: {failed} of {checks} (at most {100 * largest_share(failed, checks):.2g} % with 95 % confidence)"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
