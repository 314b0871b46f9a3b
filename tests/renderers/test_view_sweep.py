"""A sweep as the HTML report draws it."""

from __future__ import annotations

import json

from made_sweeps import published as swept

from gradscope.renderers import view_sweep
from gradscope.renderers.sweep_layout import heat_map
from gradscope.renderers.view_sweep import sweep_document, sweep_entry


def test_cells_are_where_the_heat_map_has_them() -> None:
    result = swept()
    told = sweep_document(result, "s")
    expected = heat_map(result)
    assert (told["heat"]["rows"], told["heat"]["columns"]) == (list(expected.rows), list(expected.columns))
    for panel, told_panel in zip(expected.panels, told["heat"]["panels"], strict=True):
        assert {(c["row"], c["column"]): c["cell"] for c in told_panel["cells"]} == {
            place: result.rows.index(cell) for place, cell in panel.cells.items()
        }


def test_a_sweeps_document_is_json_with_every_cell() -> None:
    result = swept()
    told = sweep_document(result, "s")
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    for cell, row in zip(told["cells"], result.rows, strict=True):
        assert (cell["factors"], cell["seeds"], cell["collapsed"]) == (row.factors, row.seeds, row.collapsed)
        assert abs(cell["mean"] - row.mean) < 1e-3
        assert cell["title"]
    assert sweep_entry(result, "s")["kind"] == "sweep"


def test_curves_are_left_out_of_a_large_sweep(monkeypatch) -> None:
    result = swept()
    assert any(cell["epochs"] for cell in sweep_document(result, "s")["cells"])
    monkeypatch.setattr(view_sweep, "MOST_EPOCH_NUMBERS", 1)
    assert not any(cell["epochs"] for cell in sweep_document(result, "s")["cells"])
