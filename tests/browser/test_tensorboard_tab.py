"""The tab in a real TensorBoard behind a path prefix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import made_pages
import reports
from running_tensorboard import tensorboard

from gradscope.renderers.tensorboard import TensorBoardLog

Open = Callable[..., Any]
STEP = "document.getElementById('step-text')?.textContent"
RELOAD = "button.reload-button, app-header-reload button"


def tab(page: Any) -> Any:
    """The frame that the tab is in, once its map is drawn."""
    page.wait_for_selector("iframe[src*=plugin_entry], tb-legacy-runs-selector, iframe")
    page.wait_for_function("[...document.querySelectorAll('iframe')].some((one) => one.src.includes('plugin_entry'))")
    frame = next(frame for frame in page.frames if "plugin_entry" in frame.url)
    frame.wait_for_function("document.querySelectorAll('#map .step-label').length > 0")
    return frame


def test_the_tab_shows_the_run_and_follows_tensorboard(tmp_path: Path, opened: Open) -> None:
    log = TensorBoardLog(tmp_path / "run")
    log.update([trace for trace in made_pages.traces() if trace.seed in {1, 2, 6}])
    log.finish(reports.sick())
    with tensorboard(tmp_path) as url:
        page = opened(f"{url}/?darkMode=true#gradscope&p.gradscope.site=1.relu&p.gradscope.step=20")
        frame = tab(page)
        assert "Output-collapse at 3.relu (origin)" in frame.locator("#verdict").inner_text()
        assert frame.evaluate("document.documentElement.dataset.theme") == "dark"
        assert frame.evaluate(STEP) == "step 20 of 50"
        assert frame.locator("#site").input_value() == "1.relu"
        assert frame.locator("#member option").count() == 7
        assert frame.locator("#fixes .is-recommended").get_attribute("data-fix") == "batchnorm-last"
        assert frame.locator("#waterfall .stage.gate").count() == 6
        page = opened(f"{url}/?runFilter=control#gradscope")
        assert tab(page).locator("#member option").count() == 2


def test_the_tab_follows_a_run_while_it_is_written(tmp_path: Path, opened: Open) -> None:
    whole = made_pages.traces()[0]
    log = TensorBoardLog(tmp_path / "run")
    log.update([reports.shortened(whole, 3, 30)])
    with tensorboard(tmp_path) as url:
        page = opened(f"{url}/#gradscope")
        frame = tab(page)
        assert frame.evaluate(STEP) == "step 20 of 20"
        assert "not judged yet" in frame.locator("#verdict").inner_text()
        log.update([whole])
        _reload_until(page, frame, f"{STEP} === 'step 50 of 50'")
        log.finish(reports.sick())
        _reload_until(page, frame, "document.querySelectorAll('.card').length === 5")
        assert frame.evaluate(STEP) == "step 50 of 50"


def _reload_until(page: Any, frame: Any, condition: str) -> None:
    """Press TensorBoard's own button until the tab has what was written; TensorBoard reads its files every second."""
    for _ in range(60):
        page.locator(RELOAD).first.click()
        page.wait_for_timeout(500)
        if frame.evaluate(condition):
            return
    frame.wait_for_function(condition, timeout=1)
