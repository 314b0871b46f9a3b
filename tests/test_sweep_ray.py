"""Sweeps on a Ray cluster: the same tables as from processes, also where a machine goes while it works."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import call, environment
from small_sweeps import recipe_of, task_of

from gradscope.data import load_data
from gradscope.errors import EngineError
from gradscope.journal import NAME, read_journal
from gradscope.recipe import replace
from gradscope.shared_samples import SampleFile
from gradscope.sweep_engine import Failed, Finished, Settings, Stopped
from gradscope.sweep_plan import samples_key
from gradscope.sweep_ray import RETRIES, RayEngine

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")


class RayError(Exception):
    """Of the stand-in, as are its children."""


class TaskCancelledError(RayError):
    pass


class WorkerCrashedError(RayError):
    pass


class RayTaskError(RayError):
    pass


class StandIn(types.ModuleType):
    """What of Ray the engine uses, in this process: a task runs when its result is asked for."""

    def __init__(self, **resources: float) -> None:
        super().__init__("ray")
        self.resources, self.exceptions = resources, sys.modules[__name__]
        self.options: dict[str, Any] = {}
        self.address: str | None = None
        self.is_up = False
        self.cancelled: list[object] = []
        self.crashes: RayError | None = None

    def init(self, address: str, **options: object) -> None:
        if address == "nowhere:1":
            raise ConnectionError("Failed to connect\nto it")
        self.address, self.is_up = address, True
        print("pages of logs")

    def shutdown(self) -> None:
        self.is_up = False

    def cluster_resources(self) -> dict[str, float]:
        return self.resources

    def put(self, value: object) -> object:
        return value

    def remote(self, **options: object) -> Callable[[Callable[..., Any]], Any]:
        self.options = options
        return lambda function: types.SimpleNamespace(remote=lambda *given: lambda: function(*given))

    def wait(self, references: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        return references[:1], references[1:]

    def get(self, reference: Callable[[], object]) -> object:
        if reference in self.cancelled:
            raise TaskCancelledError
        if self.crashes:
            raise self.crashes
        return reference()

    def cancel(self, reference: object, *, force: bool) -> None:
        self.cancelled.append(reference)


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    stand_in = StandIn(CPU=2.0)
    monkeypatch.setitem(sys.modules, "ray", stand_in)
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    return stand_in


@pytest.fixture(scope="module")
def settings() -> Iterator[Settings]:
    with closing(SampleFile(load_data("digits").flattened())) as file:
        yield Settings({samples_key(recipe_of()): file.shared})


def test_without_ray_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EngineError, match=r"expected the package ray, found none; pip install 'gradscope-torch\[ray\]'"):
        RayEngine()


def test_a_cluster_that_is_not_there_is_one_line(ray: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(EngineError, match=r"--engine ray: no cluster at nowhere:1: Failed to connect to it"):
        RayEngine("nowhere:1")
    print("heard again")
    assert capsys.readouterr().out == "heard again\n"


def test_usage_is_not_reported_and_stdout_is_left_alone(ray: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(RayEngine("auto")):
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
        assert (ray.address, ray.is_up) == ("auto", True)
    assert not ray.is_up
    assert capsys.readouterr().out == ""


def test_populations_are_tasks_that_ray_tries_again(ray: StandIn, settings: Settings) -> None:
    with closing(RayEngine()) as engine:
        engine.begin(settings)
        assert ray.address == "local"
        assert ray.options == {"num_cpus": 1, "num_gpus": 0, "max_retries": RETRIES}
        assert engine.free() == 2
        engine.start(task_of(0))
        assert engine.free() == 1
        (event,) = engine.wait(0.0)
        assert isinstance(event, Finished)
        assert [run.key for run in event.runs] == ["0.0"]
        assert (engine.free(), engine.wait(0.0)) == (2, [])


def test_no_more_at_a_time_than_wanted(ray: StandIn, settings: Settings) -> None:
    with closing(RayEngine(jobs=1)) as engine:
        engine.begin(settings)
        assert engine.free() == 1


def test_a_cluster_that_shrinks_has_nothing_free(ray: StandIn, settings: Settings) -> None:
    with closing(RayEngine()) as engine:
        engine.begin(settings)
        for index in range(2):
            engine.start(task_of(index))
        ray.resources = {"CPU": 1.0}
        assert engine.free() == 0


@pytest.mark.parametrize(
    ("asked", "resources", "device"),
    [
        ("auto", {"CPU": 2.0}, "cpu"),
        ("auto", {"GPU": 1.0}, "cuda"),
        ("cuda:1", {"CPU": 2.0}, "cuda"),
        ("cpu", {"GPU": 1.0}, "cpu"),
    ],
)
def test_the_cluster_s_gpus_count_not_those_of_this_machine(
    ray: StandIn, asked: str, resources: dict[str, float], device: str
) -> None:
    ray.resources = resources
    with closing(RayEngine()) as engine:
        assert engine.device(replace(recipe_of(), device=asked)) == torch.device(device)


def test_a_population_on_a_gpu_has_one_of_its_own(ray: StandIn, settings: Settings) -> None:
    ray.resources = {"CPU": 16.0, "GPU": 3.0}
    with closing(RayEngine()) as engine:
        engine.begin(Settings(settings.samples, device="cuda"))
        assert ray.options["num_gpus"] == 1
        assert engine.free() == 3


def test_what_ray_gives_up_is_given_up(ray: StandIn, settings: Settings) -> None:
    ray.crashes = WorkerCrashedError("The worker died unexpectedly.\nMemory")
    assert told(settings) == "Ray gave it up after 3 retries: WorkerCrashedError: Memory"


def test_what_a_task_raises_is_not_said_to_have_been_tried_again(ray: StandIn, settings: Settings) -> None:
    ray.crashes = RayTaskError("ray::_train()\nModuleNotFoundError: No module named 'gradscope'")
    assert told(settings) == "it failed on the cluster: RayTaskError: ModuleNotFoundError: No module named 'gradscope'"


def told(settings: Settings) -> object:
    """What is said of a population that fails."""
    with closing(RayEngine()) as engine:
        engine.begin(settings)
        engine.start(task_of(3))
        (event,) = engine.wait(0.0)
    assert isinstance(event, Failed)
    return event.error


def test_what_is_cancelled_has_stopped(ray: StandIn, settings: Settings) -> None:
    with closing(RayEngine()) as engine:
        engine.begin(settings)
        engine.start(task_of(3))
        engine.stop()
        assert [type(event) for event in engine.wait(0.0)] == [Stopped]


RECIPE = """
data: digits
stack: {}
training: {epochs: 4}
grid:
  hidden: [[12, 8], [9, 7]]
  lr: [0.1, 0.05, 0.02]
  activations: {product: [relu, sigmoid]}
seeds: 1
"""
KILLED = """
import subprocess, sys, time
from pathlib import Path
from command_line import command
from ray.cluster_utils import Cluster

recipe, folder = Path(sys.argv[1]), Path(sys.argv[2])
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
other = cluster.add_node(num_cpus=1)
try:
    sweep = subprocess.Popen(command("sweep", recipe, "--out", folder, "--engine", f"ray:{cluster.address}", "-q"))
    journal = folder / "journal.jsonl"
    while sweep.poll() is None and not (journal.exists() and journal.read_bytes().count(b"\\n") >= 3):
        time.sleep(0.02)
    cluster.remove_node(other, allow_graceful=False)  # SIGKILL
    sys.exit(sweep.wait())
finally:
    cluster.shutdown()
"""


@needs_ray
def test_on_two_machines_one_of_which_is_killed_it_comes_to_the_same_tables(tmp_path: Path) -> None:
    recipe = tmp_path / "two.yaml"
    recipe.write_text(RECIPE)
    (tmp_path / "killed.py").write_text(KILLED)
    path = os.pathsep.join([environment()["PYTHONPATH"], str(Path(__file__).parent)])
    done = subprocess.run(
        [sys.executable, tmp_path / "killed.py", recipe, tmp_path / "ray"],
        capture_output=True, text=True, check=False, timeout=300,
        env=environment(PYTHONPATH=path, RAY_USAGE_STATS_ENABLED="0"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"48 of 48 cells are done: {tmp_path / 'ray' / 'results.csv'}\n"
    assert call("sweep", recipe, "--out", tmp_path / "here", "-q").code == 0
    assert len(read_journal(tmp_path / "ray" / NAME).runs) == 48
    for name in ("results.csv", "results.json", "epochs.csv", "sweep.yaml"):
        assert (tmp_path / "ray" / name).read_bytes() == (tmp_path / "here" / name).read_bytes(), name
