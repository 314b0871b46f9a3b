"""The page's modules against what the package says of the same numbers."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import reports

from gradscope.renderers.heat_colors import Scale
from gradscope.renderers.picture import left_behind, lost_at
from gradscope.renderers.wording import fixed, number
from gradscope.report import Waterfall

NUMBERS = [0.0, 12.0, 0.31416, 0.000012, 123456.7, 0.999, 1.0, 47.3, -0.25]


def call(page: Any, module: str, code: str, value: object) -> Any:
    """What `code`, an expression of the module `m` and of the value `v`, comes to."""
    return page.evaluate(f"async (v) => {{ const m = await import('./{module}'); return {code}; }}", value)


def test_numbers_are_worded_as_on_the_console(modules: Any) -> None:
    found = call(modules, "numbers.js", "v.map((one) => m.number(one))", NUMBERS)
    assert found == [number(int(value) if value == 12 else value).removesuffix(".0") for value in NUMBERS]
    found = call(modules, "numbers.js", "v.map((one) => m.fixed(one, 2, true))", NUMBERS)
    assert found == [fixed(value, 2, sign=True).replace("-", "\u2212") for value in NUMBERS[:4]] + found[4:]


def worded(waterfall: Waterfall) -> dict[str, object]:
    stages = waterfall.stages
    return {
        "columns": 1,
        "stages": [{"name": stage.name, "kind": stage.kind, "site": 0} for stage in stages],
        "transmission": [stage.transmission for stage in stages],
        "remaining": [stage.remaining for stage in stages],
    }


@pytest.mark.parametrize("name", ["sick", "healthy", "many_sites", "with_nan", "watched"])
def test_the_gradient_is_lost_where_the_console_says(name: str, modules: Any) -> None:
    for waterfall in getattr(reports, name)().waterfalls[:20]:
        code = "(() => { const stages = m.stagesAt(v, 0); return [m.lostAt(stages), stages.map(({ left }) => left)]; })()"
        given = json.dumps(worded(waterfall)).replace("NaN", "null").replace("Infinity", "null")
        lost, left = call(modules, "stages.js", code, json.loads(given))
        assert lost == (-1 if lost_at(waterfall) is None else lost_at(waterfall))
        assert left == left_behind(waterfall)


def test_a_long_waterfall_keeps_what_tells(modules: Any) -> None:
    waterfall = worded(reports.many_sites().waterfalls[0])
    waterfall["transmission"][77], waterfall["remaining"][77] = 1e-9, 1e-12  # type: ignore[index]
    shown = call(modules, "stages.js", "m.telling([m.stagesAt(v, 0)])", waterfall)
    assert len(shown) < 40
    assert {0, 1, 77, 397, 398} <= set(shown)
    assert shown == sorted(set(shown))


def test_a_sweep_has_the_colours_of_its_picture(modules: Any) -> None:
    values = [0.1, 0.5, 0.9, 0.97, 0.985]
    scale = Scale.of(values)
    found = call(
        modules, "error_scale.js", "(() => { const s = new m.ErrorScale(v); return v.map((one) => s.place(one)); })()", values
    )
    assert found == pytest.approx([scale.place(value) for value in values])


def test_binning_keeps_both_ends_and_what_is_not_finite(modules: Any) -> None:
    code = """(() => {
        const values = Float32Array.from({ length: 2000 }, (_, i) => i % 1000);
        values[501] = NaN; values[1777] = Infinity;
        const steps = Int32Array.from({ length: 1000 }, (_, i) => 5 * i);
        const found = m.binned({ rows: 2, columns: 1000, steps, values }, v);
        const odd = [...found.values].map((one, i) => [i, String(one)]).filter(([, one]) => ["NaN", "Infinity"].includes(one));
        return [[...found.steps], odd, [...found.values].slice(0, 3), found.columns];
    })()"""
    steps, odd, first, columns = call(modules, "binning.js", code, 100)
    assert (steps[0], steps[-1], columns) == (0, 5 * 999, 100)
    assert odd == [[50, "NaN"], [100 + 77, "Infinity"]]
    assert first == [0, 10, 20]


def test_the_column_of_a_step_is_the_last_one_not_later(modules: Any) -> None:
    steps = [0, 1, 2, 10, 20, 100]
    found = call(modules, "binning.js", "v[1].map((step) => m.columnAt(v[0], step))", [steps, [-5, 0, 1, 9, 10, 99, 100, 1000]])
    assert found == [0, 0, 1, 2, 3, 4, 5, 5]


def test_a_range_takes_its_steps_only(modules: Any) -> None:
    code = """(() => {
        const found = m.within({ rows: 1, columns: 4, steps: [0, 5, 10, 15], values: [1, 2, 3, 4] }, v);
        return [[...found.steps], [...found.values]];
    })()"""
    assert call(modules, "binning.js", code, {"from": 4, "to": 12}) == [[5, 10], [2, 3]]
    assert call(modules, "binning.js", code, {"from": 6, "to": 9}) == [[], []]


@pytest.mark.parametrize(
    ("kind", "values", "domain", "low", "high"),
    [
        ("linear", [0.2, 0.7], [0, 1], 0, 1),
        ("linear", [0.2, math.inf, 3.0], None, 0, 3.0),
        ("linear", [], None, 0, 1),
        ("log", [1e-7, 0.0, 0.3], None, 1e-7, 1),
        ("log", [1e-30, 1.0], None, 1e-12, 1),
        ("log", [0.5, 0.6], None, 0.1, 1),
    ],
)
def test_a_scale_holds_what_is_finite(
    kind: str, values: list[float], domain: Any, low: float, high: float, modules: Any
) -> None:
    code = """(() => {
        const scale = m.Scale.of([v[1].map((one) => one ?? Infinity)], v[0], v[2]);
        return [scale.low, scale.high, scale.ticks(5).map(({ place }) => place)];
    })()"""
    given = [kind, [None if math.isinf(value) else value for value in values], domain]
    found_low, found_high, places = call(modules, "scale.js", code, given)
    assert (found_low, found_high) == pytest.approx((low, high))
    assert 2 <= len(places) <= 6
    assert all(0 <= place <= 1 for place in places)


def test_what_was_tried_to_find_a_cause_is_a_table(modules: Any) -> None:
    placebo = {"kind": "placebo", "sites": [], "reached": [0.1, 0.3], "loss": [2.3, 2.3], "lower_in": 0, "works": False}
    change = {"kind": "shift", "sites": ["3.relu"], "reached": [1.0, 1.0], "loss": [0.4, 0.6], "lower_in": 2, "works": True}
    tested = {"cause": "shift", "site": "3.relu", "begin": 0, "steps": 50, "seeds": [1, 2], "interventions": [placebo, change]}
    code = "[...m.causeTable(v).querySelectorAll('tr')].map((row) => [...row.children].map((cell) => cell.textContent))"
    _, first, second = call(modules, "cause_table.js", code, tested)
    assert first == ["placebo", "20 %", "2.3", "", "nothing"]
    assert second == ["shift at 3.relu", "100 %", "0.50", "2 of 2", "\u2714 both"]
    reason = {"cause": None, "reason": "the network learns", "interventions": []}
    assert call(modules, "cause_table.js", "m.causeTable(v).textContent", reason) == "the network learns"
