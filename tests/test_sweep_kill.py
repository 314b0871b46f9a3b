"""Sweeps that are killed at random moments: nothing finished is lost or trained twice, and the tables are the same to the bit.

GRADSCOPE_KILLS=20 in the environment kills more often than the few times that the suite has time for.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from command_line import command, environment

from gradscope.journal import NAME, read_journal

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the workers in /proc")

KILLS = int(os.environ.get("GRADSCOPE_KILLS", "3"))
RECIPE = """
data: digits
stack: {}
training: {epochs: 5}
grid:
  hidden: [[12, 8], [9, 7], [8, 8], [7, 9]]
  lr: [0.1, 0.05]
  activations: {product: [relu, sigmoid]}
seeds: 1
"""
POPULATIONS, NETWORKS = 8, 64
TABLES = ("results.csv", "results.json", "epochs.csv", "sweep.yaml")
PATIENCE_S = 120.0


class Sweep:
    """The command, in a session of its own."""

    def __init__(self, recipe: Path, folder: Path) -> None:
        self.folder = folder
        self.said = recipe.parent / "said.txt"
        arguments = command("sweep", recipe, "--out", folder, "--jobs", "2", "-q")
        with self.said.open("ab") as said:
            self.process = subprocess.Popen(
                arguments, stdout=said, stderr=said, stdin=subprocess.DEVNULL, env=environment(), start_new_session=True
            )

    def lines(self) -> int:
        journal = self.folder / NAME
        return journal.read_bytes().count(b"\n") if journal.exists() else 0

    def is_running(self) -> bool:
        return self.process.poll() is None

    def wait_for(self, reached: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not reached() and self.is_running():
            assert time.monotonic() < end, self.said.read_text()
            time.sleep(0.01)

    def workers(self) -> list[int]:
        """The processes that train, in the order of their start; not the one that watches over multiprocessing's resources."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        found = [int(child) for child in children.read_text().split()] if children.exists() else []
        return [child for child in found if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]

    def kill(self, what: str, draw: random.Random) -> None:
        """SIGKILL for the whole session, the parent alone, or one of its workers."""
        if what == "session":
            with suppress(ProcessLookupError):  # it has come to its end
                os.killpg(self.process.pid, signal.SIGKILL)
        elif what == "parent":
            self.process.kill()
        elif workers := self.workers():
            with suppress(ProcessLookupError):
                os.kill(draw.choice(workers), signal.SIGKILL)

    def finished(self) -> int:
        self.wait_for(lambda: False)
        return self.process.wait()


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "killed.yaml"
    path.write_text(RECIPE)
    return path


def test_killed_at_random_moments_it_comes_to_the_same_tables(recipe: Path, tmp_path: Path) -> None:
    assert Sweep(recipe, tmp_path / "whole").finished() == 0
    draw = random.Random(KILLS)
    sweep = Sweep(recipe, tmp_path / "killed")
    for i in range(KILLS):
        more = sweep.lines() + draw.choice([0, 1, 1, 2])
        sweep.wait_for(lambda: sweep.lines() >= more)  # noqa: B023 - asked before the next turn
        time.sleep(draw.uniform(0, 0.7))
        what = ("session", "worker", "parent")[i % 3]
        sweep.kill(what, draw)
        if what != "worker":
            sweep.process.wait()
            sweep = Sweep(recipe, tmp_path / "killed")
    assert sweep.finished() == 0, sweep.said.read_text()
    assert_trained_once(tmp_path / "killed")
    for name in TABLES:
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def assert_trained_once(folder: Path) -> None:
    """No key has two lines, those that a kill has cut short aside."""
    keys: Counter[str] = Counter()
    populations: list[int] = []
    for line in (folder / NAME).read_bytes().splitlines():
        try:
            entry = json.loads(line)["entry"]
        except ValueError:
            continue
        keys.update(run["key"] for run in entry.get("runs", ()))
        populations += [entry["population"]] if "population" in entry else []
    assert set(keys.values()) == {1}
    assert len(keys) == len(read_journal(folder / NAME).runs) == NETWORKS
    assert sorted(populations) == list(range(POPULATIONS))


def test_workers_end_with_a_parent_that_is_killed_in_the_midst_of_a_training(recipe: Path, tmp_path: Path) -> None:
    recipe.write_text(RECIPE.replace("epochs: 5", "epochs: 5000"))
    sweep = Sweep(recipe, tmp_path / "long")
    sweep.wait_for(lambda: [is_busy(worker) for worker in sweep.workers()] == [True, True])
    workers = sweep.workers()
    assert len(workers) == 2
    sweep.process.kill()
    sweep.process.wait()
    end = time.monotonic() + PATIENCE_S
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < end
        time.sleep(0.05)


def is_busy(process: int) -> bool:
    """Tell whether a process has computed for three seconds: it is past its imports and trains."""
    ticks = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11]
    return int(ticks) > 3 * os.sysconf("SC_CLK_TCK")
