"""Take the README's pictures of the Gradscope tab from a run, in a real TensorBoard.

python scripts/make_screenshots.py RUN docs

Needs playwright and a Chromium. The pictures are docs/tab-light.png and docs/tab-dark.png, the first screen, and
docs/tab-map-light.png and docs/tab-map-dark.png, the map, the waterfall and the units, all at 1280 pixels.
`--widths 1280,800 --whole` takes the whole page instead, to be looked at.
"""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
HEIGHT, MAP_HEIGHT = 900, 1110  # pixels
START_S = 120
READY = "document.querySelectorAll('#map .step-label').length > 0 && document.querySelectorAll('#units .step-label').length > 0"
START = """
import sys
from tensorboard import default, program
from gradscope.tensorboard_plugin.loader import GradscopeLoader
board = program.TensorBoard(plugins=[*default.get_static_plugins(), GradscopeLoader()])
board.configure(["tensorboard", *sys.argv[1:]])
sys.exit(board.main())
"""


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a run")
    parser.add_argument("to", type=Path, help="the folder for the pictures")
    parser.add_argument("--widths", default="1280", help="in pixels, comma-separated")
    parser.add_argument("--whole", action="store_true", help="the whole page in one picture")
    asked = parser.parse_args()
    asked.to.mkdir(parents=True, exist_ok=True)
    with tensorboard(asked.run) as url, chromium() as browser:
        for width in map(int, asked.widths.split(",")):
            for theme in ("light", "dark"):
                take(browser, url, asked.to, width, theme, whole=asked.whole)


def take(browser: Any, url: str, to: Path, width: int, theme: str, *, whole: bool) -> None:
    """Take the pictures of one width and theme."""
    page = browser.new_page(viewport={"width": width, "height": HEIGHT}, device_scale_factor=1)
    page.set_default_timeout(1000 * START_S)
    page.goto(f"{url}/{'?darkMode=true' if theme == 'dark' else ''}#gradscope", wait_until="commit")
    frame = page.wait_for_selector("iframe[src*=plugin_entry]", state="attached").content_frame()
    frame.wait_for_function(READY)
    page.wait_for_timeout(1000)  # for fonts, and for what TensorBoard fades in
    if whole:
        for _ in range(2):  # the panel of all arms is drawn, and grows, once it is in sight
            height = frame.evaluate("document.documentElement.scrollHeight")
            page.set_viewport_size({"width": width, "height": height + 70})
            page.wait_for_timeout(2000)
        page.screenshot(path=to / f"tab-{width}-{theme}.png")
    else:
        page.screenshot(path=to / f"tab-{theme}.png")
        page.set_viewport_size({"width": width, "height": MAP_HEIGHT})
        frame.evaluate("document.querySelector('.toolbar').scrollIntoView()")
        page.wait_for_timeout(1000)
        page.screenshot(path=to / f"tab-map-{theme}.png")
    page.close()


@contextmanager
def chromium() -> Iterator[Any]:
    """Start a Chromium that draws nothing on the screen."""
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if path is None:
        sys.exit(f"make_screenshots: needs one of {', '.join(CHROMIUMS)}; install one")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu", "--no-first-run"])
        yield browser
        browser.close()


@contextmanager
def tensorboard(run: Path) -> Iterator[str]:
    """Start TensorBoard on a run; its address, once it has read it. The tab's loader is given: no entry point is needed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", START, "--logdir", str(run), "--port", str(port), "--host", "127.0.0.1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + START_S
        while not answers(f"{url}/data/plugin/gradscope/runs"):
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"make_screenshots: {run}: expected a run that TensorBoard shows, got none")
            time.sleep(0.3)
        yield url
    finally:
        with suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def answers(url: str) -> bool:
    """Tell whether a run is listed that has been judged, so that all its files were read."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return b'"verdict": "' in answer.read()
    except urllib.error.URLError:
        return False


if __name__ == "__main__":
    main()
