"""A sweep as the HTML report draws it: the grid's heat maps, and what each cell came to. docs/view-data.md has the form."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from gradscope.cell_factors import cell_text
from gradscope.renderers.sweep_layout import Panel, heat_map
from gradscope.renderers.view_document import SCHEMA
from gradscope.renderers.view_report import Json
from gradscope.sweep_report import CellRow, SweepResult

MOST_EPOCH_NUMBERS = 200_000  # over all cells, some 1.5 MB; of larger sweeps the file has no curves
DIGITS = 4  # significant
CURVES = ("metric", "test_loss", "train_loss")


def sweep_document(result: SweepResult, run: str) -> Json:
    """Return a sweep's document."""
    found = heat_map(result)
    place = {id(row): i for i, row in enumerate(result.rows)}
    whole = json.loads(result.model_dump_json(by_alias=True, exclude={"rows"}))
    with_curves = _epoch_numbers(result) <= MOST_EPOCH_NUMBERS
    return {
        "schema": SCHEMA,
        "kind": "sweep",
        "run": run,
        "title": result.recipe,
        "gradscope": result.gradscope,
        "metric": result.metric,
        "confidence": result.confidence,
        "interval_method": result.interval_method,
        "unfinished": result.unfinished,
        "heat": {
            "row_title": found.row_title,
            "rows": list(found.rows),
            "column_title": found.column_title,
            "columns": list(found.columns),
            "panels": [{"title": panel.title, "cells": _places(panel, place)} for panel in found.panels],
        },
        "factor_names": result.factor_names,
        "cells": [_cell(row, with_curves=with_curves) for row in result.rows],
        "result": _rounded(whole),
    }


def sweep_entry(result: SweepResult, run: str) -> Json:
    """Return a sweep's line in the list of runs."""
    return {"run": run, "title": result.recipe, "kind": "sweep", "verdict": None, "members": [], "last_step": 0}


def _places(panel: Panel, number: Mapping[int, int]) -> list[Json]:
    return [{"row": row, "column": column, "cell": number[id(cell)]} for (row, column), cell in panel.cells.items()]


def _cell(row: CellRow, *, with_curves: bool) -> Json:
    data: Json = json.loads(row.model_dump_json(exclude={"epochs"}))
    epochs = None
    if with_curves and row.epochs:
        epochs = {name: [getattr(epoch, name) for epoch in row.epochs] for name in ("step", *CURVES)}
    more = {"collapsed_frac": row.collapsed_frac, "diverged": row.diverged, "epochs": epochs}
    return {**_rounded(data), "title": cell_text(row.factors), **_rounded(more)}


def _epoch_numbers(result: SweepResult) -> int:
    return sum(len(CURVES) * len(row.epochs) * len(row.seeds) for row in result.rows)


def _rounded(value: Json) -> Json:
    """Return JSON with its numbers rounded, and null for those that are not finite."""
    return {name: _rounded_value(part) for name, part in value.items()}


def _rounded_value(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    if isinstance(value, list):
        return [_rounded_value(part) for part in value]
    return _rounded(value) if isinstance(value, dict) else value
