"""Sweeps made by hand, for tests of what judges and shows them: no network is trained."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gradscope.cell import Cell
from gradscope.cell_run import CellRun, Epoch, RunFinding
from gradscope.recipe_file import parse_recipe
from gradscope.sweep_report import SweepResult
from gradscope.sweep_results import sweep_result

CHANCE = 0.1
ACTIVATIONS = ("relu", "tanh", "sigmoid", "selu")
CODES = {
    "output-collapse": "GS103",
    "dead-layer": "GS102",
    "common-mode": "GS108",
    "dead-units": "GS101",
    "non-finite": "GS107",
}
TEXT = "name: {name}\ndata: digits\nstack: {{hidden: [8, 4], activations: [relu, relu, relu]}}\nseeds: {seeds}\nfixes: []\n"


@functools.cache
def recipe(seeds: int = 5, name: str = "made") -> Any:
    return parse_recipe(TEXT.format(name=name, seeds=seeds))


def cell(factors: Mapping[str, str], seeds: int = 5) -> Cell:
    """A cell of a sweep; its recipe is the same for all, only its seeds are asked for."""
    return Cell(dict(factors), recipe(seeds))


def grid(**values: Sequence[object]) -> list[dict[str, str]]:
    """The factors of the cells of a full grid, the first factor slowest."""
    return [dict(zip(values, map(str, point), strict=True)) for point in itertools.product(*values.values())]


def product_grid(layers: int = 3, activations: Sequence[str] = ACTIVATIONS, **others: Sequence[object]) -> list[dict[str, str]]:
    return grid(**{f"act{i + 1}": activations for i in range(layers)}, **others)


def finding(rule: str = "output-collapse", site: str | None = "3.relu", severity: str = "error", step: int = 10) -> RunFinding:
    return RunFinding(rule=rule, code=CODES[rule], site=site, severity=severity, first_step=step)  # type: ignore[arg-type]


def run(seed: int = 1, value: float = 0.97, findings: Sequence[RunFinding] = (), **changes: Any) -> CellRun:
    """One network of three layers and two epochs."""
    epochs = [
        Epoch(
            step=45 * number,
            metric=value * number / 2,
            test_loss=0.5 / number,
            train_loss=1 / (number + seed),
            nonpositive_weight_frac=[0.5, 0.5, 0.5 + 0.01 * number],
        )
        for number in (1, 2)
    ]
    statistics = {"nonpositive_frac": 0.5, "common_mode": 2.0 + seed, "gate_transmission": 0.7}
    given: dict[str, Any] = {
        "key": f"{seed:032x}", "seed": seed, "metric": "accuracy", "value": value, "chance": CHANCE, "test_samples": 360,
        "steps": 90, "verdict": "sick" if findings else "healthy", "epochs": epochs, "findings": list(findings),
        "start": {name: dict(statistics) for name in ("1.relu", "2.sigmoid", "3.relu")},
    }  # fmt: skip
    return CellRun(**(given | changes))


def collapsed_run(seed: int = 1, value: float = CHANCE) -> CellRun:
    return run(seed, value, [finding(), finding("common-mode", step=0)])


def made(
    factors: Sequence[Mapping[str, str]], value: Callable[[Mapping[str, str], int, np.random.Generator], float], seeds: int = 5
) -> SweepResult:
    """A sweep in which each network's metric is `value(factors, seed, generator)`; what is at chance has collapsed."""
    rng = np.random.default_rng(7)
    cells = [cell(of_cell, seeds) for of_cell in factors]
    runs: list[list[CellRun]] = []
    for of_cell in factors:
        values = [float(value(of_cell, seed, rng)) for seed in range(1, seeds + 1)]
        runs.append([collapsed_run(seed, v) if v <= CHANCE else run(seed, v) for seed, v in enumerate(values, start=1)])
    return sweep_result(cells, runs, recipe="made")


def published_like(factors: Mapping[str, str], seed: int, rng: np.random.Generator) -> float:
    """A relu output behind a sigmoid collapses in most seeds; a sigmoid output costs three points."""
    layers = list(factors.values())
    if layers[-1] == "relu" and layers[-2] == "sigmoid" and rng.random() < 0.7:
        return CHANCE
    return 0.975 - 0.03 * (layers[-1] == "sigmoid") + 0.001 * float(rng.normal())


@functools.cache
def published() -> SweepResult:
    """All stacks of three layers of four activations; nobody may change it."""
    return made(product_grid(), published_like)
