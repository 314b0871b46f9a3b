"""The populations of a sweep on a Ray cluster: one population a task, on whichever machine has a free core or GPU.

The journal is written here, as for processes of this machine, and nothing rests on Ray's own store once a population is
finished. Ray itself begins a task again whose process or machine has gone. How far a population is shows only when it ends.
"""

from __future__ import annotations

import importlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, redirect_stdout
from dataclasses import fields, replace
from typing import Any

import torch

from gradscope.cell import PopulationTask
from gradscope.data import Data
from gradscope.errors import EngineError
from gradscope.recipe import Recipe
from gradscope.sweep_engine import Engine, Event, Failed, Outcome, Settings, Stopped
from gradscope.sweep_plan import samples_key
from gradscope.sweep_task import outcome_of, training_of

BEFORE_IMPORT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # it would report to its makers
    "RAY_BACKEND_LOG_LEVEL": "error",  # it would print a line a second while it looks for a cluster
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what it will do one day, and warns about until then
}
"""Settings that Ray reads once; a user's own stand."""

RETRIES = 3
"""So often Ray begins a population again, beside its first try."""


class RayEngine(Engine):
    """Tasks on a cluster: the one at `address` (auto: one that runs on this machine), else one that is started here.

    Raises:
        EngineError: Ray is not installed, or there is no cluster at the address.
    """

    def __init__(self, address: str | None = None, *, jobs: int | None = None) -> None:
        for name, value in BEFORE_IMPORT.items():
            os.environ.setdefault(name, value)
        self._ray = _ray()
        self._jobs, self._own = jobs, address is None
        self._settings: Settings | None = None
        self._samples: dict[str, Any] = {}
        self._tasks: dict[Any, PopulationTask] = {}
        self._stopping = False
        self._quiet = ExitStack()
        self._quiet.enter_context(redirect_stdout(io.StringIO()))  # where Ray tells pages of a machine that has gone
        try:
            self._connect(address)
        except EngineError:
            self._quiet.close()
            raise

    def _connect(self, address: str | None) -> None:
        options: dict[str, Any] = {"num_cpus": self._jobs, "include_dashboard": False} if address is None else {}
        try:
            self._ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **options)
        except (ConnectionError, ValueError, RuntimeError) as error:
            text = " ".join(str(error).split())[:300]
            raise EngineError(f"--engine ray: no cluster at {address or 'this machine'}: {text}") from error

    def device(self, recipe: Recipe) -> torch.device:
        """Return where populations train: what the recipe asks for, a GPU for auto where the cluster has one."""
        asked = recipe.device.partition(":")[0]  # which of them Ray chooses
        if asked == "auto":
            asked = "cuda" if self._ray.cluster_resources().get("GPU") else "cpu"
        return torch.device(asked)

    def begin(self, settings: Settings) -> None:
        """Put the samples where all machines find them."""
        self._settings = replace(settings, samples={})
        self._samples = {key: self._ray.put(_arrays_of(shared.open())) for key, shared in settings.samples.items()}
        on_gpu = torch.device(settings.device).type == "cuda"
        options = {"num_cpus": 1, "num_gpus": int(on_gpu), "max_retries": RETRIES}
        self._train = self._ray.remote(**options)(_train)
        self._needed = "GPU" if on_gpu else "CPU"

    def free(self) -> int:
        """Return how many cores or GPUs of the cluster, as it is now, have nothing to do."""
        room = int(self._ray.cluster_resources().get(self._needed, 0))
        return max(0, min(room, self._jobs or room) - len(self._tasks))

    def start(self, task: PopulationTask) -> None:
        """Hand a population to the cluster."""
        samples = self._samples[samples_key(task.members[0].recipe)]
        self._tasks[self._train.remote(task, self._settings, samples, list(sys.path))] = task

    def wait(self, timeout_s: float) -> list[Event]:
        """Return what has ended, or that Ray has given it up."""
        done, _ = self._ray.wait(list(self._tasks), timeout=timeout_s) if self._tasks else ([], [])
        return [self._event(self._tasks.pop(reference), reference) for reference in done]

    def stop(self) -> None:
        """Cancel all tasks; nothing would be kept of them."""
        self._stopping = True
        for reference in self._tasks:
            self._ray.cancel(reference, force=True)

    def close(self) -> None:
        """Leave the cluster, which ends its tasks; one that was started here is shut down."""
        self._ray.shutdown()
        self._quiet.close()

    def _event(self, task: PopulationTask, reference: object) -> Event:
        try:
            kind, *told = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            if self._stopping or isinstance(error, self._ray.exceptions.TaskCancelledError):
                return Stopped(task)
            said = f"{type(error).__name__}: {str(error).strip().splitlines()[-1][:300]}"
            if isinstance(error, self._ray.exceptions.RayTaskError):  # raised in the task, where Ray tries nothing again
                return Failed(task, f"it failed on the cluster: {said}")
            return Failed(task, f"Ray gave it up after {RETRIES} retries: {said}")
        event: Event = kind(task, *told)
        return event


def _ray() -> Any:  # noqa: ANN401 - a package that may be absent
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise EngineError("--engine ray: expected the package ray, found none; pip install 'gradscope-torch[ray]'") from error


def _arrays_of(data: Data) -> dict[str, Any]:
    """Return samples as what Ray stores: its processes on one machine share the arrays of numpy, not tensors."""
    parts = {field.name: getattr(data, field.name) for field in fields(data)}
    return {name: part.numpy() if isinstance(part, torch.Tensor) else part for name, part in parts.items()}


def _train(task: PopulationTask, settings: Settings, samples: Mapping[str, Any], path: Sequence[str]) -> Outcome:
    """Train a population, in a process of Ray's."""
    sys.path += [folder for folder in path if folder not in sys.path]
    torch.set_num_threads(1)
    how = training_of(settings)
    return outcome_of(task, lambda: _opened(samples).to(how.device), how)


def _opened(samples: Mapping[str, Any]) -> Data:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that what is shared cannot be written; nobody does
        parts: dict[str, Any] = {
            name: torch.from_numpy(part) if name.startswith(("x_", "y_")) else part for name, part in samples.items()
        }
    return Data(**parts)
