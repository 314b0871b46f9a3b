"""How long the Gradscope tab takes to open, in a real TensorBoard, and each of the routes that it asks.

python -m benchmarks.tensorboard_tab

TensorBoard has read everything before anything is timed. The browser's times need playwright and a Chromium; without them
only the routes are timed.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from shutil import which
from typing import Any

import click

from benchmarks import environment
from benchmarks.overhead import write
from benchmarks.tensorboard_runs import write_runs

RESULTS = Path(__file__).parent / "results"
LOADERS = {"python": "false", "fast": "true"}  # TensorBoard's --load_fast
READ_S = 900  # until everything is read, on a slow machine
COLUMNS = 1200  # as the map asks for
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
DRAWN = """() => document.querySelectorAll('#map .step-label').length > 0 && !document.querySelector('#map[aria-busy]')"""
SETTLED = """() => document.querySelector('#units canvas') && !document.querySelector('[aria-busy]')"""
SCROLL = """async () => {
  const times = [];
  let before = performance.now();
  for (let i = 0; i < 60; i++) {
    window.scrollBy(0, 25);
    await new Promise((done) => requestAnimationFrame(done));
    times.push(performance.now() - before);
    before = performance.now();
  }
  return times;
}"""
START = """
import sys
from tensorboard import default, program
from gradscope.tensorboard_plugin.loader import GradscopeLoader
board = program.TensorBoard(plugins=[*default.get_static_plugins(), GradscopeLoader()])
board.configure(["tensorboard", *sys.argv[1:]])
sys.exit(board.main())
"""


@click.command()
@click.option("--runs", default=20, show_default=True, help="TensorBoard's runs: seeds of one trial.")
@click.option("--sites", default=200, show_default=True)
@click.option("--steps", default=2000, show_default=True, help="All are recorded.")
@click.option("--repeats", default=5, show_default=True, help="Openings in the browser; 0 needs none.")
@click.option("--loader", "only", type=click.Choice(list(LOADERS)), help="[default: both]")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="[default: results/tensorboard-tab-<date>.json here]"
)
def main(runs: int, sites: int, steps: int, repeats: int, only: str | None, out: Path | None) -> None:
    """Time the opening of the tab and each of its routes."""
    described = environment.describe()
    file, results = out or RESULTS / f"tensorboard-tab-{datetime.now(UTC):%Y-%m-%d}.json", []
    with tempfile.TemporaryDirectory(prefix="gradscope-benchmark-") as folder:
        size = write_runs(Path(folder), runs, sites, steps)
        for loader in [only] if only else list(LOADERS):
            with tensorboard(Path(folder), LOADERS[loader], runs, steps) as (url, read_s):
                found = {"loader": loader, "read_s": read_s, "routes": routes(url), "browser": opening(url, repeats)}
            results.append(found)
            tell(found)
            described["load_average_at_end"] = environment.load_average()
            plan = {"runs": runs, "sites": sites, "steps": steps, "files_bytes": size}
            write(file, {"environment": described, **plan, "results": results})
    click.echo(f"written: {file}")


def routes(url: str) -> dict[str, dict[str, float | int]]:
    """Return of each route the seconds of the first answer and of the second one, and its bytes."""
    base = f"{url}/data/plugin/gradscope"
    (entry,) = json.loads(fetched(f"{base}/runs"))
    member = entry["members"][-1]  # that nothing has asked for yet
    asked = {
        "runs": {},
        "document": {"run": entry["run"]},
        "matrix": {"member": member, "statistic": "remaining", "width": COLUMNS},
        "matrix of another statistic": {"member": member, "statistic": "act_rms", "width": COLUMNS},
        "matrix of a range": {"member": member, "statistic": "remaining", "width": COLUMNS, "from": 100, "to": 300},
        "matrix as small as among all arms": {"member": member, "statistic": "remaining", "width": 104},
        "waterfall": {"member": member},
        "units": {"member": member, "site": 0, "statistic": "closed_frac", "width": COLUMNS},
        "series": {"member": member, "width": COLUMNS},
    }
    return {name: timed(f"{base}/{name.split()[0]}?{urllib.parse.urlencode(given)}") for name, given in asked.items()}


def timed(address: str) -> dict[str, float | int]:
    """Return the seconds of two answers."""
    found: dict[str, float | int] = {}
    for name in ("first_s", "second_s"):
        start = time.perf_counter()
        found["bytes"] = len(fetched(address))
        found[name] = round(time.perf_counter() - start, 4)
    return found


def fetched(address: str) -> bytes:
    """Return an answer's bytes."""
    with urllib.request.urlopen(address, timeout=READ_S) as answer:
        data: bytes = answer.read()
        return data


def opening(url: str, repeats: int) -> dict[str, Any] | None:
    """Return seconds from the address to the drawn map and to the last panel, in new profiles; None without a browser."""
    path = next(filter(None, map(which, CHROMIUMS)), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    if path is None or not repeats:
        return None
    found: dict[str, Any] = {"map_s": [], "all_s": [], "bare_tensorboard_s": [], "scroll_frame_ms": []}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu", "--no-first-run"])
        for _ in range(repeats):
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            page = context.new_page()
            page.set_default_timeout(1000 * READ_S)
            start = time.perf_counter()
            page.goto(f"{url}/#gradscope", wait_until="commit")
            frame = page.wait_for_selector("iframe[src*=plugin_entry]", state="attached").content_frame()
            found["bare_tensorboard_s"].append(round(time.perf_counter() - start, 3))
            frame.wait_for_function(DRAWN, polling=10)
            found["map_s"].append(round(time.perf_counter() - start, 3))
            frame.wait_for_function(SETTLED, polling=10)
            found["all_s"].append(round(time.perf_counter() - start, 3))
            found["scroll_frame_ms"].append(round(sorted(frame.evaluate(SCROLL))[30], 1))
            context.close()
        browser.close()
    return found


@contextmanager
def tensorboard(folder: Path, load_fast: str, runs: int, steps: int) -> Iterator[tuple[str, float]]:
    """Start TensorBoard; its address, and in how many seconds it had read all runs and the verdict."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--logdir", folder, "--port", port, "--host", "127.0.0.1", "--load_fast", load_fast, "--reload_interval", 3600]
    command = [sys.executable, "-c", START, *map(str, options)]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    try:
        while not has_read(url, runs, steps):
            if process.poll() is not None or time.perf_counter() - start > READ_S:
                raise click.ClickException("expected a TensorBoard that reads the runs, it ended or took too long")
            time.sleep(0.1)
        yield url, round(time.perf_counter() - start, 2)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def has_read(url: str, runs: int, steps: int) -> bool:
    """Tell whether TensorBoard lists all runs to their last step; it answers before it has read everything."""
    try:
        listed = json.loads(fetched(f"{url}/data/plugin/gradscope/runs"))
        if not listed or not listed[0]["verdict"] or len(listed[0]["members"]) < runs:
            return False
        document = json.loads(fetched(f"{url}/data/plugin/gradscope/document?run={urllib.parse.quote(listed[0]['run'])}"))
        return {member["last_step"] for member in document["members"]} == {steps - 1}
    except (urllib.error.URLError, ConnectionError):
        return False


def tell(found: dict[str, Any]) -> None:
    """Print what was found."""
    click.echo(f"{found['loader']} loader: read in {found['read_s']} s")
    for name, route in found["routes"].items():
        first, second = 1000 * route["first_s"], 1000 * route["second_s"]
        click.echo(f"  {name:34} {first:8.1f} ms, again {second:8.1f} ms, {route['bytes']:>10,} bytes")
    for name, values in (found["browser"] or {}).items():
        click.echo(f"  {name:34} {', '.join(map(str, values))}")


if __name__ == "__main__":
    main()
