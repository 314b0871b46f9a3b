"""The published tables as labels: what step 0 alone says of 64 and of 1,000 stacks, against the accuracy that they came to."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import mean, median
from typing import Any

from benchmarks.error_rates_table import share

FOLDER = Path(__file__).parents[1] / "recipes" / "published"
TABLES = {"64": "mnist_3layer", "1000": "mnist_3layer_two_activations"}
SEEDS = (1, 2, 3, 4, 5)
AT_ONCE = 10  # stacks whose networks make one population
FAILS, VARIES = 90.0, 2.0  # per cent, and points between the best and the worst distinct run
COLLAPSED, LEARNT = 80.0, 97.0  # of the stacks that end in relu: flagged each, and none
TEST = 100  # samples; the recorder's training evaluates on the way, and nothing here looks at it


def blocks(most: int | None = None) -> list[tuple[str, int]]:
    """Return the pieces of work: a table and the row that it begins with; `most` rows of each table, or all."""
    return [(key, begin) for key in TABLES for begin in range(0, min(len(rows(key)), most or 10**9), AT_ONCE)]


@cache
def rows(key: str) -> list[dict[str, str]]:
    """Return the rows of a published table."""
    with (FOLDER / f"{TABLES[key]}.published.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def absent() -> str:
    """Return why the labels cannot be used here; empty where they can."""
    from gradscope.data import load_data
    from gradscope.errors import DataError

    try:
        load_data("mnist")
    except DataError as error:
        return str(error)
    return ""


def activations(row: Mapping[str, str]) -> list[Any]:
    """Return a stack's activations as a recipe writes them, the halves of a layer as a list.

    >>> activations({"act1": "relu", "act2": "tanh", "act3": "relu", "mean": "1"})
    ['relu', 'tanh', 'relu']
    >>> activations({"act1a": "relu", "act1b": "tanh", "accuracy": "1"})
    [['relu', 'tanh']]
    """
    layers: dict[str, list[str]] = {}
    for key, value in row.items():
        if key.startswith("act"):
            layers.setdefault(key[:4], []).append(value)
    return [names if len(names) > 1 else names[0] for names in layers.values()]


@cache
def _samples() -> Any:
    from dataclasses import replace

    from gradscope.data import load_data

    data = load_data("mnist", normalize=(0.1307, 0.3081)).flattened()
    return replace(data, x_test=data.x_test[:TEST], y_test=data.y_test[:TEST])


def run_block(key: str, begin: int) -> dict[str, Any]:
    """Look at step 0 of ten stacks; return for each, by its row, what the rules' common-mode says in each seed."""
    import torch

    from gradscope.arms import ArmPlan
    from gradscope.recipe import build_recipe
    from gradscope.rules import CommonMode
    from gradscope.rules.window import median_common_mode_at_start
    from gradscope.trained_arms import ArmTraining, train_arms

    base = {"name": "published", "data": "mnist", "training": {"lr": 0.01, "momentum": 0.5, "batch_size": 32}, "fixes": []}
    chosen = range(begin, min(begin + AT_ONCE, len(rows(key))))
    stacks = {i: {"hidden": [500, 256], "activations": activations(rows(key)[i])} for i in chosen}
    arms = [ArmPlan(str(i), build_recipe(base | {"stack": stack}), SEEDS) for i, stack in stacks.items()]
    done = train_arms(arms, arms[0].recipe, _samples(), ArmTraining(torch.device("cpu"), steps=1))
    found: dict[str, Any] = {}
    for i in chosen:
        traces = [done.traces[str(i), seed] for seed in SEEDS]
        last = len(traces[0].sites) - 1
        judgements = [CommonMode().judge(trace) for trace in traces]
        found[str(i)] = {
            "flagged": sum(isinstance(said, list) and any(one.severity == "error" for one in said) for said in judgements),
            "common_mode": [median_common_mode_at_start(trace, last) for trace in traces],
        }
    return {"stacks": found}


def summarise_published(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return precision and recall of the prediction over each table, and over the stacks that end in relu.

    Args:
        found: by table, by row, what `run_block` found.
    """
    return {f"table of {key}": _table(key, stacks) for key, stacks in found.items() if stacks} | {
        "ending in relu": _relu_ended(found.get("64", {}))
    }


def _table(key: str, stacks: Mapping[str, Any]) -> dict[str, Any]:
    labels = {i: _fails(key, rows(key)[int(i)]) for i in stacks}
    flags = {i: 2 * one["flagged"] > len(SEEDS) for i, one in stacks.items()}
    hits = sum(flags[i] and labels[i] for i in stacks)
    told = {i: [*map(str, activations(rows(key)[int(i)]))] for i in stacks}
    wrong = {" ".join(told[i]): "flagged" if flags[i] else "missed" for i in stacks if flags[i] != labels[i]}
    return {
        "stacks": len(stacks),
        "precision": share(hits, sum(flags.values())),
        "recall": share(hits, sum(labels.values())),
        "wrong": dict(list(wrong.items())[:40]),
    }


def _fails(key: str, row: Mapping[str, str]) -> bool:
    runs = _distinct(key)[id(row)]
    return mean(runs) < FAILS or max(runs) - min(runs) > VARIES


@cache
def _distinct(key: str) -> dict[int, list[float]]:
    from gradscope.distinct_runs import distinct_runs

    columns = [name for name in rows(key)[0] if name.startswith("run")] or ["accuracy"]
    values = [[float(row[name]) for name in columns] for row in rows(key)]
    chosen = distinct_runs([[value / 100 for value in one] for one in values], at_chance=0.12)
    return {id(row): [one[j] for j in kept] for row, one, kept in zip(rows(key), values, chosen, strict=True)}


def _relu_ended(stacks: Mapping[str, Any]) -> dict[str, Any]:
    counted: dict[str, list[Any]] = {"below 80": [], "between": [], "above 97": []}
    for i, one in stacks.items():
        row = rows("64")[int(i)]
        if row["act3"] != "relu":
            continue
        reached = mean(_distinct("64")[id(row)])
        group = "below 80" if reached < COLLAPSED else "above 97" if reached > LEARNT else "between"
        values = [value for value in one["common_mode"] if value is not None]
        counted[group].append({
            "stack": " ".join(activations(row)), "published_mean": round(reached, 2), "seeds_flagged": one["flagged"],
            "median_common_mode": round(median(values), 2) if values else None,
        })  # fmt: skip
    return counted


def published_table(rates: Mapping[str, Any]) -> str:
    """Return the prediction's rates as lines to read."""
    from benchmarks.error_rates_table import cell

    lines = ["", f"predicted at step 0 (below {FAILS:g} %, or runs that differ by more than {VARIES:g} points):"]
    for name, one in rates.items():
        if name == "ending in relu":
            lines += [f"  {name}, published mean {group}: {_groups(stacks)}" for group, stacks in one.items()]
        else:
            lines.append(f"  {name:16} precision {cell(one['precision'])}, recall {cell(one['recall'])}")
    return "\n".join(lines)


def _groups(stacks: Sequence[Mapping[str, Any]]) -> str:
    flagged = sum(2 * one["seeds_flagged"] > len(SEEDS) for one in stacks)
    values = [one["median_common_mode"] for one in stacks if one["median_common_mode"] is not None]
    spread = f", median common mode {min(values)} to {max(values)}" if values else ""
    return f"{flagged} of {len(stacks)} flagged{spread}"
