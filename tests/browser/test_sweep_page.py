"""The page of a sweep: a cell for each network of the grid, and what one cell came to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import made_sweeps
import pytest

Open = Callable[..., Any]


def test_every_cell_shows_its_mean_and_collapsed_seeds(report_page: Open) -> None:
    page = report_page("sweep")
    rows = made_sweeps.published().rows
    cells = page.locator(".cell")
    assert cells.count() == len(rows) == 64
    for i in (0, 8, 40, 63):
        cell = page.locator(f"[data-cell='{i}']")
        assert cell.inner_text().strip() == f"{100 * rows[i].mean:.1f}"
        assert cell.locator(".collapsed").count() == (1 if rows[i].collapsed else 0)
        assert cell.locator(".collapsed.some").count() == (1 if 0 < rows[i].collapsed_frac < 1 else 0)
    marks = page.locator(".cell .collapsed").evaluate_all("all => all.map((one) => getComputedStyle(one).backgroundImage)")
    assert marks
    assert all("rgb(0, 0, 0)" in mark and "rgb(255, 255, 255)" in mark for mark in marks)  # one of them is seen on any colour


def test_a_cell_opens_what_its_seeds_came_to(report_page: Open) -> None:
    page = report_page("sweep")
    rows = made_sweeps.published().rows
    sick = next(i for i, row in enumerate(rows) if row.collapsed)
    page.locator(f"[data-cell='{sick}']").click()
    shown = [row.inner_text().split() for row in page.locator("#cell .seeds tr").all()]
    assert [row[1] for row in shown] == [str(seed) for seed in rows[sick].seeds]
    assert [float(row[2]) for row in shown] == pytest.approx(rows[sick].values, abs=6e-4)
    assert [seed for seed, row in zip(rows[sick].seeds, shown, strict=True) if "collapsed" in row] == rows[sick].collapsed
    assert "output-collapse at 3.relu" in page.locator("#cell").inner_text()
    assert page.locator("#cell .epochs path").count() == len(rows[sick].seeds)
    assert page.locator(f"[data-cell='{sick}']").get_attribute("aria-pressed") == "true"


def test_arrow_keys_go_from_cell_to_cell(report_page: Open) -> None:
    page = report_page("sweep")
    page.locator(".cell").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.locator(".cell[aria-pressed='true']").get_attribute("data-cell") == "5"
    assert made_sweeps.published().rows[5].factors["act2"] in page.locator("#cell").inner_text()
