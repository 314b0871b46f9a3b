"""Waiting for what a page draws."""

from __future__ import annotations

from typing import Any

FRAMES = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"


def until(page: Any, condition: str) -> None:
    """Wait for a condition; the page's own policy forbids the driver's way to do it."""
    for _ in range(600):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(condition)


def drawn(page: Any) -> None:
    """Wait until each panel has drawn what is chosen; a new size of the window is known to the page a frame later."""
    page.evaluate(FRAMES)
    until(page, "!document.querySelector('[aria-busy]')")
