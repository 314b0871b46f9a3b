"""At 1280 and at 800 pixels, light and dark: nothing is wider than the page, cut, or over something else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from shown_pages import drawn

OVER = """() => {
  const seen = (node) => node.checkVisibility() && node.getBoundingClientRect().width > 0;
  const box = (node) => [node.textContent, node.getBoundingClientRect()];
  const boxes = [...document.querySelectorAll(GROUPS)].filter(seen).map(box);
  const found = [];
  boxes.forEach(([text, a], i) => boxes.slice(i + 1).forEach(([other, b]) => {
    const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (wide > 1 && high > 2) found.push(`${text} over ${other}`);
  }));
  return found;
}"""
TEXTS = """'.step-label, .row-label, .legend .ticks span, .bar-ticks span, .says, .fix-name, .numbers,
 .panel-head h2, .tools label, dt, dd'""".replace("\n", "")
CUT = """() => {
  const names = 'h1, h2, h3, p, dd, dt, button, .row-label, .step-label, .name, .fix-name, .numbers, th, td';
  const hides = (node) => getComputedStyle(node).overflowX !== 'visible' && node.scrollWidth > node.clientWidth + 1;
  const seen = [...document.querySelectorAll(names)].filter((node) => node.checkVisibility());
  return seen.filter(hides).map((node) => node.textContent);
}"""


@pytest.mark.parametrize(("name", "theme"), [("sick", "light"), ("watched", "dark"), ("sweep", "light"), ("with_nan", "dark")])
def test_nothing_is_wide_cut_or_covered(name: str, theme: str, report_page: Callable[..., Any]) -> None:
    page = report_page(name, theme=theme)
    for width in (1280, 800):
        page.set_viewport_size({"width": width, "height": 900})
        drawn(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(OVER.replace("GROUPS", TEXTS)) == []
        assert page.evaluate(CUT) == []


def test_what_covers_or_cuts_would_be_found(report_page: Callable[..., Any]) -> None:
    page = report_page()
    page.evaluate("(([a, b]) => { b.style.left = a.style.left; })(document.querySelectorAll('#map .step-label'))")
    narrow = "{ width: '20px', overflow: 'hidden', whiteSpace: 'nowrap' }"
    page.evaluate(f"Object.assign(document.querySelector('h1').style, {narrow})")
    assert page.evaluate(OVER.replace("GROUPS", TEXTS)) == ["0 over 10"]
    assert page.evaluate(CUT) == ["sigmoid-relu"]


def test_panels_follow_the_windows_width(report_page: Callable[..., Any]) -> None:
    page = report_page(width=1280)
    page.set_viewport_size({"width": 800, "height": 900})
    drawn(page)
    assert page.locator("#map canvas").first.bounding_box()["width"] > 500
