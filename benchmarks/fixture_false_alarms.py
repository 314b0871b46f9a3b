"""How often the pytest fixture is wrong: false alarms on healthy models, misses on sick ones, the rate near the edge.

python -m benchmarks.fixture_false_alarms                    # 200 checks of each kind of model and way; some 12 minutes
python -m benchmarks.fixture_false_alarms --checks 3 --only healthy

Each check has other initial weights and other samples. A model is given as a module (one seed) and as a function (three).
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.environment import calm_threads, describe
from benchmarks.shares import CONFIDENCE, largest_share

ROOT = Path(__file__).parents[1]
WAYS = ("module", "function")
SEEDS_A_CHECK = 10  # more than any check trains, so that no two share one


@dataclass(frozen=True)
class Case:
    """A kind of model with its data. `expected` are rules of which one must be found where it is sick."""

    name: str
    kind: str  # healthy | sick | edge
    build: Callable[[], Any]
    data: Callable[[int], Any]
    expected: tuple[str, ...] = ()


def cases() -> list[Case]:
    """Return models as unit tests have them, of 10 classes, and of one number."""
    from torch import nn

    def layers(*widths: int, act: Callable[[], nn.Module] = nn.ReLU, last: Sequence[nn.Module] = ()) -> nn.Sequential:
        found: list[nn.Module] = []
        for inputs, outputs in zip(widths, widths[1:], strict=False):
            found += [nn.Linear(inputs, outputs), act()]
        return nn.Sequential(*found[:-1], *last)

    def sigmoid_head(*last: nn.Module) -> nn.Sequential:
        return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 32), nn.Sigmoid(), nn.Linear(32, 10), *last)

    def norm() -> nn.Sequential:
        return nn.Sequential(nn.Linear(20, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 10))

    def convolutional() -> nn.Sequential:
        pool = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
        return nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), nn.ReLU(), *pool)

    def first_layer_shut() -> nn.Sequential:
        model = layers(20, 64, 32, 10)
        nn.init.constant_(model[0].bias, -20.0)
        return model

    def too_large(factor: float) -> nn.Sequential:
        model = layers(20, 64, 32, 10, act=nn.Tanh)
        for layer in model[:-1:2]:
            nn.init.normal_(layer.weight, std=factor)
        return model

    return [
        Case("relu layers", "healthy", lambda: layers(20, 64, 32, 10), classes),
        Case("relu layers, noise", "healthy", lambda: layers(20, 64, 32, 10), noise),
        Case("narrow relu layers", "healthy", lambda: layers(20, 12, 12, 10), classes),
        Case("five relu layers", "healthy", lambda: layers(20, 48, 48, 48, 48, 10), classes),
        Case("tanh layers", "healthy", lambda: layers(20, 64, 32, 10, act=nn.Tanh), classes),
        Case("sigmoid before the output", "healthy", sigmoid_head, classes),
        Case("batch-norm and dropout", "healthy", norm, classes),
        Case("convolutions", "healthy", convolutional, images),
        Case("regression", "healthy", lambda: layers(20, 64, 32, 1), numbers),
        Case("relu behind sigmoid", "sick", lambda: sigmoid_head(nn.ReLU()), classes, ("output-collapse",)),
        Case("relu behind sigmoid, noise", "sick", lambda: sigmoid_head(nn.ReLU()), noise, ("output-collapse",)),
        Case("first layer shut", "sick", first_layer_shut, classes, ("dead-layer",)),
        Case(
            "eight sigmoid layers", "sick", lambda: layers(20, *[24] * 8, 10, act=nn.Sigmoid), classes, ("vanishing-gradient",)
        ),
        Case("weights far too large", "sick", lambda: too_large(5.0), classes, ("saturation",)),
        Case("relu behind relu", "edge", lambda: layers(20, 64, 32, 10, last=[nn.ReLU()]), classes),
        Case("relu behind tanh", "edge", lambda: layers(20, 64, 32, 10, act=nn.Tanh, last=[nn.ReLU()]), classes),
        Case("weights rather large", "edge", lambda: too_large(0.7), classes),
        Case("very narrow relu layers", "edge", lambda: layers(20, 4, 4, 10), classes),
    ]


def classes(seed: int) -> tuple[Any, Any]:
    """Return 512 samples of ten classes: one pattern each, under noise."""
    import torch

    draw = torch.Generator().manual_seed(seed)
    patterns, y = torch.randn(10, 20, generator=draw), torch.randint(10, (512,), generator=draw)
    return patterns[y] + 0.5 * torch.randn(512, 20, generator=draw), y


def noise(seed: int) -> tuple[Any, Any]:
    """Return 64 samples without anything to learn, as quick tests draw them."""
    import torch

    draw = torch.Generator().manual_seed(seed)
    return torch.randn(64, 20, generator=draw), torch.randint(10, (64,), generator=draw)


def images(seed: int) -> tuple[Any, Any]:
    """Return 256 images of 12 x 12."""
    import torch

    draw = torch.Generator().manual_seed(seed)
    patterns, y = torch.randn(10, 1, 12, 12, generator=draw), torch.randint(10, (256,), generator=draw)
    return patterns[y] + 0.5 * torch.randn(256, 1, 12, 12, generator=draw), y


def numbers(seed: int) -> tuple[Any, Any]:
    """Return 256 samples of a linear function under noise."""
    import torch

    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(256, 20, generator=draw)
    return x, x[:, :3].sum(dim=1) + 0.1 * torch.randn(256, generator=draw)


def main() -> None:
    """Measure, print a table, keep the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checks", type=int, default=0, help="checks of each model (default: as many as make 200 of a kind)")
    parser.add_argument("--only", default="", help="names that contain this, or healthy, sick, edge")
    parser.add_argument(
        "--out", type=Path, help="file for the result (default: benchmarks/results/fixture-false-alarms-DATE.json)"
    )
    options = parser.parse_args()
    calm_threads()
    import torch

    torch.set_num_threads(1)
    chosen = [case for case in cases() if options.only in case.name or options.only == case.kind]
    if options.checks < 0 or not chosen:
        parser.error("expected at least one check of at least one model")
    kinds = Counter(case.kind for case in chosen)
    results = []
    for case in chosen:
        for way in WAYS:
            results.append(measured(case, way, options.checks or math.ceil(200 / kinds[case.kind])))
            print(line(results[-1]), flush=True)
    print(*totals(results), sep="\n")
    out = options.out or ROOT / "benchmarks" / "results" / f"fixture-false-alarms-{datetime.now(UTC):%Y-%m-%d}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"environment": describe(), "results": results}, indent=1, allow_nan=False)
    out.write_text(text + "\n", encoding="utf-8")
    print(f"kept in {out}")


def measured(case: Case, way: str, checks: int) -> dict[str, Any]:
    """Check models of one kind, in one way, again and again."""
    start = time.perf_counter()
    outcomes: Counter[str] = Counter()
    found: Counter[str] = Counter()
    named = 0
    for number in range(checks):
        result = checked(case, way, number)
        outcomes[result.outcome] += 1
        rules = [rule.rule for rule in result.rules if rule.status == "finding"]
        found.update(rules)
        named += bool(set(rules) & set(case.expected))
    failed = checks - outcomes["as expected"]
    wrong = {"healthy": failed, "sick": checks - outcomes["not as expected"]}.get(case.kind)
    return {
        "name": case.name,
        "kind": case.kind,
        "way": way,
        "checks": checks,
        "outcomes": dict(outcomes),
        "wrong": wrong,
        "failed": failed,
        "named": named if case.expected else None,
        "found": dict(found.most_common()),
        "seconds": round(time.perf_counter() - start, 1),
    }


def checked(case: Case, way: str, number: int) -> Any:
    """Do one check as the fixture does, with the defaults of a test; weights, samples and batches are this check's own."""
    import torch

    from gradscope.check_result import Place
    from gradscope.integrations.pytest_check import check_model
    from gradscope.integrations.pytest_options import SEEDS_OF_A_FUNCTION, Options
    from gradscope.integrations.pytest_place import TestPlace

    first = 1 + number * SEEDS_A_CHECK
    count = 1 if way == "module" else SEEDS_OF_A_FUNCTION
    torch.manual_seed(first)
    model = case.build() if way == "module" else case.build
    nowhere = TestPlace(
        case.name, Place(file=__file__), Path(), Path("no-baseline.json"), False, Path(), lambda key, value: None
    )
    return check_model(nowhere, model, case.data(first), Options(seeds=tuple(range(first, first + count))))


def line(result: dict[str, Any]) -> str:
    """Return one row of the table."""
    named = "" if result["named"] is None else f", by its name in {result['named']}"
    found = ", ".join(f"{rule} {count}" for rule, count in result["found"].items()) or "nothing"
    return (
        f"{result['kind']:8} {result['name']:28} {result['way']:9} {result['failed']:3} of {result['checks']} fail{named}; "
        f"found: {found}; {result['seconds'] / result['checks']:.2f} s a check"
    )


def totals(results: Sequence[dict[str, Any]]) -> list[str]:
    """Return the sums over healthy and sick models, for each way."""
    lines = []
    for kind, what in (("healthy", "false alarms"), ("sick", "misses")):
        for way in WAYS:
            these = [result for result in results if (result["kind"], result["way"]) == (kind, way)]
            checks, wrong = sum(result["checks"] for result in these), sum(result["wrong"] for result in these)
            if checks:
                bound = 100 * largest_share(wrong, checks)
                sure = f"at most {bound:.2g} % with {100 * CONFIDENCE:.0f} % confidence"
                lines.append(f"{what}, {way}: {wrong} of {checks}, so {sure}")
    return lines


if __name__ == "__main__":
    main()
