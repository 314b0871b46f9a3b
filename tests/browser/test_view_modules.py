"""The page's modules against what the package says of the same numbers."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import reports

from gradscope.renderers.heat_colors import Scale
from gradscope.renderers.picture import left_behind, lost_at
from gradscope.renderers.view_arrays import binned, rare_rows
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
    change = {
        "kind": "shift",
        "sites": ["3.relu"],
        "reached": [1.0, 1.0],
        "loss": [0.4, 0.6],
        "lower_in": 2,
        "brings_gradient": True,
        "works": True,
    }
    tested = {"cause": "shift", "site": "3.relu", "begin": 0, "steps": 50, "seeds": [1, 2], "interventions": [placebo, change]}
    code = "[...m.causeTable(v).querySelectorAll('tr')].map((row) => [...row.children].map((cell) => cell.textContent))"
    _, first, second = call(modules, "cause_table.js", code, tested)
    assert first == ["placebo", "20 %", "2.3", "", "nothing"]
    assert second == ["shift at 3.relu", "100 %", "0.50", "2 of 2", "\u2714 both"]
    reason = {"cause": None, "reason": "the network learns", "interventions": []}
    assert call(modules, "cause_table.js", "m.causeTable(v).textContent", reason) == "the network learns"


def test_a_loss_of_an_earlier_step_is_told_with_it_and_one_not_finite_as_such(modules: Any) -> None:
    series = {"loss_steps": [0, 10, 20], "loss": [2.5, 4100, None], "metric_steps": [15], "metric": [0.25], "test_loss": [1.5]}
    code = """v.steps.map((step) => {
        const series = { ...v.series, loss: v.series.loss.map((one) => one ?? NaN), metric_name: "accuracy" };
        return m.seriesText(series, step).map((part) => part.textContent ?? part).join("").trim();
    })"""
    given = {"series": series, "steps": [0, 12, 20, 25]}
    assert call(modules, "curves.js", code, given) == [
        "loss 2.5  accuracy not measured yet",
        "loss 4100 (step 10)  accuracy not measured yet",
        "loss not a number  accuracy 0.25, test loss 1.5",
        "loss not a number (step 20)  accuracy 0.25, test loss 1.5",
    ]


def test_rows_that_are_seldom_looked_at_keep_their_numbers_when_binned(modules: Any) -> None:
    """As the server bins them, whose columns are binned once more."""
    records = np.full((90, 2), np.nan, np.float32)
    records[::3, 0], records[:, 1] = 1, 2
    records[40, 1], records[60, 0] = np.nan, np.inf
    code = """(() => {
        const values = Float32Array.from(v.values.map((one) => (one === null ? NaN : one === "inf" ? Infinity : one)));
        const found = m.binned({ ...v, values, steps: Int32Array.from(v.steps) }, 30);
        return [...found.values].map(String);
    })()"""
    given = [None if np.isnan(one) else "inf" if np.isinf(one) else float(one) for one in records.T.ravel()]
    answer = {"rows": 2, "columns": 90, "steps": list(range(90)), "values": given, "rare": rare_rows(records)}
    found = [float(one) for one in call(modules, "binning.js", code, answer)]
    assert np.array_equal(np.float32(found).reshape(2, 30), binned(records, 30), equal_nan=True)
    assert np.isfinite(found[:30]).sum() == 29


def test_a_map_without_columns_says_so(modules: Any) -> None:
    code = """(() => {
        const frame = new m.HeatFrame({ cell: () => {}, describe: () => [] });
        document.body.append(frame.node);
        const names = Array.from({ length: v }, (_, i) => ({ name: `${i}`, short: `${i}` }));
        const empty = { rows: v, columns: 0, steps: new Int32Array(0), values: new Float32Array(0) };
        const scale = { kind: "linear", place: () => 0 };
        frame.draw(empty, { names, order: names.map((_, i) => i), scale, rowHeight: 3, label: "" });
        frame.field.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft" }));
        const said = [frame.nothing.hidden, frame.nothing.textContent];
        const columns = { ...empty, columns: 1, steps: new Int32Array(1), values: new Float32Array(v) };
        frame.draw(columns, { names, order: names.map((_, i) => i), scale, rowHeight: 3, label: "" });
        frame.node.remove();
        return [...said, frame.nothing.hidden];
    })()"""
    assert call(modules, "heat_frame.js", code, 100) == [False, "No record in these steps.", True]


def test_of_units_the_step_is_told_that_they_were_looked_at(modules: Any) -> None:
    units = {"statistic": "closed_frac", "rows": 2, "columns": 2, "of": 4, "steps": [0, 10], "values": [0, 1, 1, 1]}
    told = call(modules, "unit_panel.js", "[0, 10, 800, Infinity].map((step) => m.tally(v, step))", units)
    words = "of 2 looked at, of 4 closed for every sample"
    assert told == [f"1 {words}", f"2 {words}", f"2 {words} at step 10", f"2 {words}"]


def test_the_cursor_is_within_the_range(modules: Any) -> None:
    code = """v.map(([step, range]) => {
        const selection = new m.Selection({ step, range: null });
        selection.set({ range });
        return selection.get("step");
    })"""
    ranges = [[50, {"from": 10, "to": 40}], [5, {"from": 10, "to": 40}], [20, {"from": 10, "to": 40}], [50, None]]
    assert call(modules, "selection.js", code, ranges) == [40, 10, 20, 50]


def test_the_cursor_is_not_beyond_the_member_s_last_step(modules: Any) -> None:
    code = """v.map(([step, before, steps]) => {
        const values = { step: step ?? Infinity, steps: before, range: null };
        m.follow({ get: (name) => values[name], set: (changes) => Object.assign(values, changes) }, steps);
        return values.step;
    })"""
    short, whole = [0, 200, 400], [0, 400, 800]
    cases = [[800, whole, short], [400, short, whole], [200, short, whole], [None, [], short], [200, whole, []]]
    assert call(modules, "map_panel.js", code, cases) == [400, 800, 200, 400, 200]


def test_a_step_is_told_once_it_is_known(modules: Any) -> None:
    code = """[800, Infinity].map((step) => {
        const values = { step, member: "a", beside: null, steps: [], range: null };
        const view = { document: v, selection: { get: (name) => values[name], on: () => {} } };
        return m.toolbar(view).querySelector("#step-text").textContent;
    })"""
    member = {"member": "a", "arm": "a", "seed": 1, "role": "control", "statistics": ["x"], "last_step": 900}
    found = call(modules, "toolbar.js", code, {"members": [member], "recommended": None})
    assert found == ["step 800 of 900", "900 steps"]


EMPTY = {
    "kind": "run", "verdict": None, "headline": None, "remedy": None, "notes": [], "findings": [], "fixes": [], "members": [],
    "layouts": [], "statistics": [], "control": None, "recommended": None, "report": None,
}  # fmt: skip


def test_an_address_that_names_no_step_begins_at_the_last(modules: Any) -> None:
    code = "['abc', undefined, '20'].map((step) => String(m.runPage({}, v, { step }).selection.get('step')))"
    assert call(modules, "run_page.js", code, EMPTY) == ["Infinity", "Infinity", "20"]


PAGE = """(async () => {
    const root = document.body.appendChild(document.createElement("main"));
    const entry = { kind: "run", verdict: null, members: v.members, last_step: 0 };
    const runs = ["first", "second"].map((run) => ({ ...entry, run, title: run }));
    const source = { runs: async () => runs, document: async (run) => ({ ...v.document, run, title: run }), forget: () => {} };
    const page = new m.Page(root, source, { selected: (name) => name !== "hidden" });
    const said = () => [root.querySelector("h1").textContent, root.querySelector(".problem")?.textContent ?? null];
    STEPS
    root.remove();
    return told;
})()"""


def page_told(modules: Any, steps: str, members: tuple[str, ...] = ()) -> Any:
    """What a page over two runs without a record comes to tell."""
    return call(modules, "page.js", PAGE.replace("STEPS", steps), {"document": EMPTY, "members": members})


def test_of_two_loads_the_later_one_counts(modules: Any) -> None:
    steps = """let late;
    const wait = new Promise((done) => (late = done));
    source.document = async (run) => (run === "first" && (await wait), { ...v.document, run, title: run });
    const older = page.load();
    await new Promise((done) => setTimeout(done));
    page.choice.value = "second";
    page.choice.dispatchEvent(new Event("change"));
    await new Promise((done) => setTimeout(done));
    late();
    await older;
    const told = said();"""
    assert page_told(modules, steps) == ["second", None]


def test_runs_that_are_all_left_out_are_told(modules: Any) -> None:
    _, problem = page_told(modules, "await page.load(); const told = said();", ("hidden",))
    assert problem.startswith("2 runs are here, and none of them is selected in TensorBoard")


def test_what_is_shown_stays_when_a_reload_fails(modules: Any) -> None:
    steps = """await page.load();
    const [node, { runs: answer }] = [root.querySelector(".run"), source];
    source.runs = async () => { throw new Error("TensorBoard does not answer"); };
    await page.reload();
    const failed = [...said(), root.querySelector(".run") === node];
    source.runs = answer;
    await page.reload();
    const told = [...failed, ...said(), root.querySelector(".run") === node];"""
    assert page_told(modules, steps) == ["first", "TensorBoard does not answer", True, "first", None, True]


def test_names_are_filtered_as_tensorboard_does(modules: Any) -> None:
    code = """(() => {
        const at = (filter) => history.replaceState(null, "", `?runFilter=${encodeURIComponent(filter)}`);
        const found = v.map((filter) => (at(filter), m.isSelected("mine/control-1")));
        history.replaceState(null, "", "?");
        return found;
    })()"""
    assert call(modules, "tensorboard_host.js", code, ["CONTROL", "fix", "mine/.*-1$", "(", ""]) == [
        True,
        False,
        True,
        False,
        True,
    ]


def test_a_zero_is_unlike_any_value(modules: Any) -> None:
    def luminance(color: list[int]) -> float:
        parts = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in color]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    zero, infinite, scale = call(modules, "colors.js", "[m.ZERO, m.INFINITE, m.VIRIDIS]", None)
    light, dark = sorted([luminance(zero), luminance(scale[0])], reverse=True)
    assert (light + 0.05) / (dark + 0.05) > 3  # beside the smallest value, in cells too small for a sign
    assert min(math.dist(zero, color) for color in [infinite, *scale]) > 100


def test_what_is_known_of_no_seed_is_no_number(modules: Any) -> None:
    tested = {
        "site": "a",
        "begin": 0,
        "steps": 5,
        "interventions": [{"kind": "shift", "reached": [None], "loss": [None], "lower_in": 0}],
    }
    cells = call(
        modules, "cause_table.js", "[...m.causeTable(v).querySelectorAll('td')].map((cell) => cell.textContent)", tested
    )
    assert cells[:2] == ["n/a", "n/a"]


def test_the_controls_values_are_told_by_the_runs_seeds(modules: Any) -> None:
    code = "[[7, 9], []].map((seeds) => m.controlPicture(v, new m.Axis([0, 1], 100), seeds).getAttribute('aria-label'))"
    found = call(modules, "fix_pictures.js", code, {"values": [0.25, 0.5], "chance": None})
    assert found == ["seed 7: 0.25; seed 9: 0.50", "0.25; 0.50"]


def test_what_is_made_anew_keeps_the_focus_and_what_was_unfolded(modules: Any) -> None:
    code = """(() => {
        const details = (text) => m.element("details", {}, m.element("summary", {}, text));
        const made = () => [m.element("button", {}, "a"), m.element("button", {}, "b"), details("c"), details("d")];
        const box = document.body.appendChild(m.element("div", {}, made()));
        box.children[1].focus();
        box.children[3].open = true;
        m.swap(box, ...made());
        const found = [document.activeElement === box.children[1], box.children[2].open, box.children[3].open];
        box.remove();
        return found;
    })()"""
    assert call(modules, "dom.js", code, None) == [True, False, True]
