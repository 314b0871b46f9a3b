"""A headless Chromium for the tests of the pages, and pages that fail on errors and on requests to anywhere else."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import made_pages
import pytest

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update"]
ANSWER_MS = 120_000  # on a machine that has much else to do
# TensorBoard imports a library twice, and looks for its fonts without its prefix; a test looks at the pixels of a canvas.
NOT_OURS = ("Multiple instances of Three.js", "/font-roboto/", "willReadFrequently")


@pytest.fixture(scope="module")  # not of the session: while it lasts, nothing else can run an event loop
def browser() -> Iterator[Any]:
    driver = pytest.importorskip("playwright.sync_api", reason="playwright, which drives the browser, is not installed")
    path = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if path is None:
        pytest.skip(f"none of {', '.join(CHROMIUMS)} is installed")
    with driver.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield found
        found.close()


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open an address in a page of its own; at the end no page has seen an error, nor asked anyone else for anything."""
    contexts, troubles = [], []

    def open_page(address: str, *, width: int = 1280, height: int = 900, theme: str = "light", offline: bool = False) -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme, offline=offline)
        context.set_default_timeout(ANSWER_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: troubles.append(f"error: {error}"))
        page.on("console", lambda message: troubles.append(_told(message)) if message.type in {"error", "warning"} else None)
        origin = "/".join(address.split("/")[:3])
        page.on("request", lambda request: None if _own(request.url, origin) else troubles.append(f"asked for {request.url}"))
        page.goto(address, wait_until="commit")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not [text for text in troubles if not any(part in text for part in NOT_OURS)]


def _told(message: Any) -> str:
    return f"{message.text} ({message.location['url']})"


def _own(url: str, origin: str) -> bool:
    return url.startswith((origin, "data:", "blob:"))


@pytest.fixture
def report_page(opened: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Open the HTML file of a made report, from the disk and with the network off."""

    def open_report(name: str = "sick", **settings: Any) -> Any:
        path = tmp_path / f"{name}.html"
        path.write_text(made_pages.page(name), encoding="utf-8")
        page = opened(path.as_uri(), offline=True, **settings)
        page.locator("header h1").wait_for()
        if made_pages.has_map(name):
            page.locator("#map .step-label, #map .problem").first.wait_for()
        return page

    return open_report


@pytest.fixture(scope="module")
def modules(browser: Any) -> Iterator[Any]:
    """A page that can import the modules one by one."""
    context = browser.new_context()
    page = context.new_page()
    page.route("http://modules.test/**", _from_disk)
    page.goto("http://modules.test/")
    yield page
    context.close()


def _from_disk(route: Any) -> None:
    name = route.request.url.rpartition("/")[2]
    if name:
        route.fulfill(path=made_pages.STATIC / name, content_type="text/javascript")
    else:
        route.fulfill(body="<!doctype html><title>modules</title>", content_type="text/html")
