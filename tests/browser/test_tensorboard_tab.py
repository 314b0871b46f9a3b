"""The tab in a real TensorBoard behind a path prefix."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import made_pages
import pytest
import reports
from running_tensorboard import tensorboard

from gradscope.renderers.tensorboard import TensorBoardLog

Open = Callable[..., Any]
STEP = "document.getElementById('step-text')?.textContent"
RELOAD = "button.reload-button, app-header-reload button"


@pytest.fixture(scope="module")
def board(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a TensorBoard and the folder that it reads, with one run that has ended."""
    folder = tmp_path_factory.mktemp("runs")
    log = TensorBoardLog(folder / "ended")
    log.update([trace for trace in made_pages.traces() if trace.seed in {1, 2, 6}])
    log.finish(reports.sick())
    with tensorboard(folder) as url:
        yield url, folder


def tab(page: Any) -> Any:
    """The frame that the tab is in, once its map is drawn."""
    frame = page.wait_for_selector("iframe[src*=plugin_entry]", state="attached").content_frame()
    frame.wait_for_function("document.querySelectorAll('#map .step-label').length > 0")
    return frame


def test_the_tab_shows_the_run_that_the_address_names(board: tuple[str, Path], opened: Open) -> None:
    url, _ = board
    frame = tab(opened(f"{url}/?darkMode=true#gradscope&p.gradscope.run=ended&p.gradscope.site=1.relu&p.gradscope.step=20"))
    assert "Output-collapse at 3.relu (origin)" in frame.locator("#verdict").inner_text()
    assert frame.evaluate("document.documentElement.dataset.theme") == "dark"
    assert frame.evaluate(STEP) == "step 20 of 50"
    assert frame.locator("#site").input_value() == "1.relu"
    assert frame.locator("#member option").count() == 7
    assert frame.locator("#fixes .is-recommended").get_attribute("data-fix") == "batchnorm-last"
    assert frame.locator("#waterfall .stage.gate").count() == 6


def test_the_tab_offers_what_tensorboard_has_selected(board: tuple[str, Path], opened: Open) -> None:
    url, _ = board
    assert tab(opened(f"{url}/?runFilter=ended/control#gradscope")).locator("#member option").count() == 2


def test_the_tab_follows_a_run_while_it_is_written(board: tuple[str, Path], opened: Open) -> None:
    url, folder = board
    whole = made_pages.traces()[0]
    log = TensorBoardLog(folder / "growing")
    log.update([reports.shortened(whole, 3, 30)])
    page = opened(f"{url}/#gradscope&p.gradscope.run=growing")
    frame = tab(page)
    reload_until(page, frame, "document.getElementById('run').value === 'growing'")
    reload_until(page, frame, f"{STEP} === 'step 20 of 20'")
    assert "not judged yet" in frame.locator("#verdict").inner_text()
    log.update([whole])
    reload_until(page, frame, f"{STEP} === 'step 50 of 50'")
    frame.evaluate("document.getElementById('map').dataset.stays = 'yes'")
    log.finish(reports.sick())
    reload_until(page, frame, "document.querySelectorAll('.card').length === 5")
    assert frame.evaluate("document.getElementById('map').dataset.stays") == "yes"  # only what the report tells was made anew
    assert frame.evaluate(STEP) == "step 50 of 50"


def reload_until(page: Any, frame: Any, condition: str) -> None:
    """Press TensorBoard's own button until the tab has what was written; TensorBoard reads its files every second."""
    for _ in range(60):
        if frame.evaluate(condition):
            return
        page.locator(RELOAD).first.click()
        page.wait_for_timeout(500)
    raise AssertionError(condition)
