"""The page of a run as an HTML file, from the disk and with the network off: each panel against the report and its traces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import made_pages
import numpy as np
import pytest
import reports
from shown_pages import drawn, until

from gradscope.renderers.heat_colors import VIRIDIS
from gradscope.renderers.view_statistics import STATISTICS
from gradscope.renderers.wording import fixed, verdict_word

Open = Callable[..., Any]
CONTROL = made_pages.traces()[0]
STEPS = CONTROL.steps.tolist()
TOP = 2  # the site at the loss, which is drawn first
INFINITE, ZERO = (214, 0, 110), (213, 94, 0)
FOCUSED = """() => {
  const { id, className, tagName } = document.activeElement;
  return [id || className || tagName, getComputedStyle(document.activeElement).outlineStyle];
}"""


def chosen(page: Any) -> dict[str, str]:
    """What the page shows: each choice's value, and the cursor's step."""
    names = ("member", "beside", "statistic", "site", "unit-statistic")
    found = {name: page.locator(f"#{name}").input_value() for name in names}
    return found | {"step": page.locator("#step-text").inner_text()}


def cell(page: Any, site: int, record: int, pane: int = 0) -> tuple[int, ...]:
    """The colour at a place of a cell that no sign covers."""
    script = """(canvas, [row, column, rows, columns]) => {
        const [x, y] = [(column + 0.2) * canvas.width / columns, (row + 0.2) * canvas.height / rows];
        return [...canvas.getContext("2d").getImageData(x, y, 1, 1).data];
    }"""
    canvas = page.locator("#map canvas").nth(pane)
    return tuple(canvas.evaluate(script, [TOP - site, record, len(CONTROL.sites), len(STEPS)])[:3])


def show(page: Any, **choices: str) -> None:
    for name, value in choices.items():
        page.locator(f"#{name}").select_option(value)
        drawn(page)


def test_verdict_says_where_it_starts_and_what_cures_it(report_page: Open) -> None:
    page = report_page()
    text = page.locator("#verdict").inner_text()
    assert "sick" in text
    assert "Output-collapse at 3.relu (origin), in 5 of 5 seeds, from step 0" in text
    assert "Batchnorm-last cures it: accuracy 0.31 \u2192 0.98, +0.67 [0.32, 0.79]" in text
    assert page.locator(".strip .origin").inner_text().split() == ["\u25c6", "3.relu", "starts", "here:", "output-collapse"]
    assert page.locator(".strip li").count() == 5


def test_findings_have_role_first_step_and_evidence(report_page: Open) -> None:
    page = report_page()
    cards = page.locator(".card")
    report = reports.sick()
    assert cards.count() == len(report.findings)
    for i in range(cards.count()):
        text = cards.nth(i).inner_text()
        finding = next(f for f in report.findings if f"{f.rule} {f.site}".split()[0] in text and (f.site or "whole") in text)
        assert finding.code in text
        assert finding.role in text
        assert f"from step {finding.first_step}" in text
        assert f"in {len(finding.seeds)} of 5 seeds" in text
        assert all(name in text for name in finding.evidence)
    assert "origin" in cards.first.inner_text()
    assert "victim" in cards.last.inner_text()


def test_a_finding_leads_to_its_place(report_page: Open) -> None:
    page = report_page()
    page.locator(".card", has_text="vanishing-gradient at 2.sigmoid").locator(".jump").click()
    found = chosen(page)
    assert found["site"] == "2.sigmoid"
    assert found["step"] == "step 4 of 50"
    assert page.locator("#map .row-label.chosen").first.inner_text() == "2.sigmoid"
    assert page.evaluate("document.activeElement.id") == "map-heading"


def test_map_paints_each_value_in_its_colour(report_page: Open) -> None:
    page = report_page()
    show(page, beside="", statistic="act_rms", scale="linear")
    values = CONTROL.site_statistics["act_rms"]
    low, high = 0.0, float(values.max())
    for site, record in ((0, 0), (1, 3), (2, 5)):
        place = (values[record, site] - low) / (high - low) * (len(VIRIDIS) - 1)
        expected = [np.interp(place, range(len(VIRIDIS)), [color[k] for color in VIRIDIS]) for k in range(3)]
        assert np.allclose(cell(page, site, record), expected, atol=6)


def test_what_is_not_finite_has_a_colour_of_its_own(report_page: Open) -> None:
    page = report_page()
    show(page, beside="", statistic="grad_rms", scale="log")
    assert cell(page, 1, 1) == INFINITE
    assert cell(page, 2, 1) == ZERO
    hatched = cell(page, 0, 1)
    assert max(hatched) - min(hatched) < 8
    key = page.locator("#map .key").inner_text()
    assert "infinite" in key
    assert "no value" in key


def test_marks_stand_at_the_steps_first_flagged(report_page: Open) -> None:
    page = report_page()
    titles = [mark.get_attribute("title") for mark in page.locator("#map .mark").all()]
    assert any("output-collapse at 3.relu, origin, from step 0" in title for title in titles)
    assert any("vanishing-gradient at 2.sigmoid, victim, from step 4" in title for title in titles)


def test_waterfall_has_the_transmissions_of_the_step(report_page: Open) -> None:
    page = report_page()
    stages = page.locator("#waterfall .pane").first.locator(".stage.gate, .stage.weight")
    gates, weights = CONTROL.site_statistics["gate_transmission"], CONTROL.site_statistics["weight_transmission"]
    page.locator("#step").fill("2")
    passes = [float(stage.locator("> div").nth(1).inner_text()) for stage in stages.all()]
    expected = [gates[2, 2], weights[2, 1], gates[2, 1], weights[2, 0], gates[2, 0]]
    assert np.allclose(passes, expected, rtol=0.06)
    left = [float(stage.locator("> div").nth(3).inner_text()) for stage in stages.all()]
    assert np.allclose(left, np.cumprod(expected), rtol=0.06)


def test_waterfall_says_where_the_gradient_is_lost(report_page: Open) -> None:
    page = report_page()
    pane = page.locator("#waterfall .pane").first
    assert "No gradient reaches the input; it is lost at the gate of 3.relu." in pane.inner_text()
    assert "lost here" in pane.locator(".stage.lost").inner_text()
    assert pane.locator(".stage.lost .name").inner_text() == "3.relu"


def test_units_are_sorted_by_how_they_end(report_page: Open) -> None:
    page = report_page()
    show(page, site="1.relu", **{"unit-statistic": "closed_frac"})
    shown = [int(label.inner_text()) for label in page.locator("#units .pane").first.locator(".row-label").all()]
    last = CONTROL.unit_statistics["closed_frac"][0][-1]
    assert shown == np.argsort(-last).tolist()
    show(page, site="3.relu")
    assert "1 of 2 closed for every sample" in page.locator("#units .pane").first.inner_text()


def test_fixes_have_effect_interval_and_every_seed(report_page: Open) -> None:
    page = report_page()
    report = reports.sick()
    for fix in report.fixes:
        row = page.locator(f"#fixes [data-fix='{fix.fix}']")
        text = row.inner_text()
        assert verdict_word(fix) in text
        assert fix.interval is not None
        ends = ", ".join(fixed(end).replace("-", "\u2212") for end in fix.interval)
        assert f"{fixed(fix.effect, sign=True)} [{ends}]" in text
        assert ("recommended" in text) == (fix.fix == report.recommended)
        assert row.locator("circle.value").count() == len(fix.values)
    assert page.locator("#fixes [data-fix='batchnorm-last'] circle.control").count() == 5
    assert page.locator("#fixes .fix.control circle.control").count() == 5
    assert page.locator("#fixes .chance").count() >= 1


def test_control_and_the_recommended_fix_stand_side_by_side(report_page: Open) -> None:
    page = report_page()
    assert chosen(page)["member"] == "control-1"
    assert chosen(page)["beside"] == "batchnorm-last-1"
    for panel in ("map", "waterfall", "units"):
        titles = [title.inner_text() for title in page.locator(f"#{panel} .pane h3").all()]
        assert [title.split("\n")[0].startswith(arm) for title, arm in zip(titles, ("control", "batchnorm-last"), strict=True)]


def test_every_arm_and_seed_can_be_chosen_at_a_glance(report_page: Open) -> None:
    page = report_page()
    page.locator("#arms").scroll_into_view_if_needed()
    until(page, "document.querySelectorAll('#arms canvas').length === 20")
    page.locator("#arms [data-member='control-3']").click()
    page.locator("#arms [data-member='reseed-8']").click(modifiers=["Shift"])
    assert (chosen(page)["member"], chosen(page)["beside"]) == ("control-3", "reseed-8")
    assert page.locator("#map .pane").nth(1).get_attribute("data-member") == "reseed-8"


def test_keys_move_one_cursor_in_all_panels(report_page: Open) -> None:
    page = report_page()
    field = page.locator("#map .field").first
    field.focus()
    assert chosen(page)["step"] == "step 50 of 50"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowDown")
    assert chosen(page)["step"] == "step 40 of 50"
    assert chosen(page)["site"] == "2.sigmoid"
    assert "step 40" in page.locator("#waterfall h3").first.inner_text()
    assert page.locator("#map .readout").first.inner_text().startswith("2.sigmoid, step 40, ")
    assert page.locator("#waterfall .stage.chosen .name").first.inner_text() == "2.sigmoid"
    page.keyboard.press("Home")
    assert chosen(page)["step"] == "step 0 of 50"


def test_keys_choose_a_range_and_leave_out_marks_beyond_it(report_page: Open) -> None:
    page = report_page()
    marks = page.locator("#map .pane").first.locator(".mark")
    assert any("from step 0" in mark.get_attribute("title") for mark in marks.all())
    page.locator("#map .field").first.focus()
    for key in ("Home", "ArrowRight", "["):
        page.keyboard.press(key)
    drawn(page)
    labels = page.locator("#map .pane").first.locator(".step-label")
    assert [label.inner_text() for label in labels.all()] == ["10", "20", "30", "40", "50"]
    assert marks.count() == 0  # they stand at the steps 0 and 4
    page.locator("#step").fill("1")
    page.locator("#map .field").first.focus()
    page.keyboard.press("]")
    drawn(page)
    assert [label.inner_text() for label in labels.all()] == ["10", "20"]
    assert chosen(page)["step"] == "step 20 of 50"


def test_keys_go_from_unit_to_unit(report_page: Open) -> None:
    page = report_page()
    show(page, site="1.relu", **{"unit-statistic": "closed_frac"})
    page.locator("#units .field").first.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    values = CONTROL.unit_statistics["closed_frac"][0]
    unit = np.argsort(-values[-1])[1]
    text = page.locator("#units .readout").first.inner_text()
    assert text.startswith(f"1.relu, unit {unit}, step 0, Closed: ")
    assert float(text.rpartition(" ")[2]) == pytest.approx(values[0, unit], rel=0.1)


def test_the_loss_is_the_one_of_the_step(report_page: Open) -> None:
    page = report_page()
    for place, step in ((0, 0), (3, 30)):
        page.locator("#step").fill(str(place))
        text = page.locator("#map .says").first.inner_text()
        assert float(text.split("loss ")[1].split()[0]) == pytest.approx(CONTROL.loss[step], rel=0.06)
        assert "(step" not in text


def test_keys_reach_everything_and_show_where_they_are(report_page: Open) -> None:
    page = report_page()
    seen = set()
    for _ in range(90):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(FOCUSED)
        seen.add(name)
        assert outline != "none" or name == "BODY", name
    assert {"jump", "member", "beside", "step", "statistic", "scale", "field", "site", "unit-statistic", "stage-name"} <= seen


def test_a_drag_shows_a_part_of_the_steps(report_page: Open) -> None:
    page = report_page()
    page.locator("#map .field").first.scroll_into_view_if_needed()
    box = page.locator("#map .field").first.bounding_box()
    wide = box["width"] / len(STEPS)
    page.mouse.move(box["x"] + 1.5 * wide, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] + 3.5 * wide, box["y"] + 5, steps=4)
    page.mouse.up()
    until(page, "document.querySelectorAll('#map .pane .step-label').length === 6")
    assert [label.inner_text() for label in page.locator("#map .pane").first.locator(".step-label").all()] == ["10", "20", "30"]
    page.get_by_role("button", name="All steps").click()
    until(page, "document.querySelectorAll('#map .pane .step-label').length === 12")


def test_tooltip_names_site_step_and_value(report_page: Open) -> None:
    page = report_page()
    show(page, statistic="act_rms")
    page.locator("#map .field").first.hover(position={"x": 3, "y": 5})
    text = page.locator("#tooltip").inner_text()
    assert "3.relu" in text
    assert "step 0" in text
    assert f"{CONTROL.site_statistics['act_rms'][0, TOP]:.2f}" in text


def test_dark_follows_the_reader_and_can_be_changed(report_page: Open) -> None:
    page = report_page(theme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    assert sum(int(channel) for channel in dark[4:-1].split(",")) < 150
    page.get_by_role("button", name="Light").click()
    assert page.evaluate(ground) == "rgb(255, 255, 255)"


def test_every_statistic_that_was_recorded_can_be_chosen(report_page: Open) -> None:
    page = report_page()
    values = page.locator("#statistic option").evaluate_all("all => all.map((one) => one.value)")
    assert {"gate_transmission", "weight_transmission", "act_rms", "grad_rms", "closed_frac", "common_mode"} <= set(values)
    assert set(values) <= {statistic.name for statistic in STATISTICS}
    for value in values:
        show(page, statistic=value)
        assert page.locator("#map .problem").count() == 0


@pytest.mark.parametrize("name", ["healthy", "undecided", "interrupted", "odd_names", "with_nan", "many_sites", "watched"])
def test_every_report_is_shown_without_an_error(name: str, report_page: Open) -> None:
    page = report_page(name)
    assert made_pages.report(name).verdict in page.locator("#verdict").inner_text()
    assert page.locator(".problem").count() == 0
