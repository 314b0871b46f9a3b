"""The populations of a sweep in processes of this machine: each with one thread, as many as there are cores.

A process ends when its pipe does, in the midst of a training too, so none is left behind by a parent that was killed. One that
dies is replaced. Nothing here imports torch: the processes do, while the parent still reads the samples.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import TYPE_CHECKING

from gradscope.cell import PopulationTask
from gradscope.processes import END_S, deaf_to_interrupts, how_it_died
from gradscope.sweep_engine import Advanced, Engine, Event, Lost, Settings
from gradscope.sweep_plan import samples_key

if TYPE_CHECKING:
    from gradscope.data import Data

LOOK_S = 0.2
"""How often a process that trains says how far it is, and looks whether it is to stop."""

ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


class ProcessEngine(Engine):
    """Worker processes, `jobs` of them; they start at once and wait for `begin`."""

    def __init__(self, jobs: int) -> None:
        self._settings: Settings | None = None
        self._workers = [_Worker() for _ in range(jobs)]

    @property
    def processes(self) -> list[int]:
        """The numbers of the processes."""
        return [worker.process.pid or 0 for worker in self._workers]

    def begin(self, settings: Settings) -> None:
        """Tell the processes what they train on; before that none takes a task."""
        self._settings = settings
        for worker in self._workers:
            worker.send(settings)

    def free(self) -> int:
        """Return how many processes have nothing to do."""
        return sum(worker.task is None for worker in self._workers)

    def start(self, task: PopulationTask) -> None:
        """Hand a population to a process that has nothing to do."""
        worker = next(worker for worker in self._workers if worker.task is None)
        worker.task = task
        worker.send(task)

    def wait(self, timeout_s: float) -> list[Event]:
        """Return what the processes have said, or that they have died."""
        busy = {worker.pipe: worker for worker in self._workers if worker.task is not None}
        ready = wait(list(busy), timeout_s)  # the end of a dead process's pipe is ready, too
        return [event for pipe in ready for event in self._heard(busy[pipe])]  # type: ignore[index]

    def stop(self) -> None:
        """Ask the processes that train to stop after their step."""
        for worker in self._workers:
            if worker.task is not None:
                worker.send(None)

    def close(self) -> None:
        """Kill the processes."""
        for worker in self._workers:
            worker.pipe.close()
        for worker in self._workers:
            worker.end()

    def _heard(self, worker: _Worker) -> Iterator[Event]:
        task = worker.task
        assert task is not None
        try:
            kind, *told = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join(END_S)
            yield Lost(task, f"its process died {how_it_died(worker.process.exitcode)}")
            self._replace(worker)
            return
        if kind is not Advanced:
            worker.task = None
        yield kind(task, *told)

    def _replace(self, dead: _Worker) -> None:
        dead.end()
        fresh = _Worker()
        self._workers[self._workers.index(dead)] = fresh
        fresh.send(self._settings)


class _Worker:
    """One process, and what it trains."""

    def __init__(self) -> None:
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(target=_work, args=(theirs, list(sys.path)), daemon=True)
        self.task: PopulationTask | None = None
        with deaf_to_interrupts():
            self.process.start()
        theirs.close()  # so that the pipe ends when the process does

    def send(self, told: object) -> None:
        with suppress(OSError):  # it died just now: its pipe says so in the next round
            self.pipe.send(told)

    def end(self) -> None:
        self.pipe.close()
        self.process.kill()
        self.process.join(END_S)


def _work(pipe: Connection, path: list[str]) -> None:
    """Train what comes through the pipe until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.path[:] = path
    for name in ONE_THREAD:
        os.environ[name] = "1"
    import torch

    from gradscope.no_compiler import leave_the_compiler_out
    from gradscope.sweep_task import Unheard, outcome_of, training_of

    leave_the_compiler_out()
    torch.set_num_threads(1)
    with suppress(EOFError, OSError, Unheard):
        settings: Settings = pipe.recv()
        line = _Line(pipe)
        how = training_of(settings, line.advance, line.should_stop)
        opened: dict[str, Data] = {}

        def samples(key: str) -> Data:
            if key not in opened:
                opened[key] = settings.samples[key].open().to(how.device)
            return opened[key]

        while True:
            if (task := pipe.recv()) is not None:  # None: asked to stop when it had just finished
                pipe.send(outcome_of(task, partial(samples, samples_key(task.members[0].recipe)), how))


class _Line:
    """A worker's pipe while it trains: says now and then how far it is, and hears that it is to stop or alone."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._steps, self._looked_at = pipe, 0, 0.0

    def advance(self, steps: int) -> None:
        self._steps += steps

    def should_stop(self) -> bool:
        now = time.monotonic()
        if now - self._looked_at < LOOK_S:
            return False
        self._looked_at = now
        from gradscope.sweep_task import Unheard  # which needs torch

        try:
            self._pipe.send((Advanced, self._steps))
            self._steps = 0
            return self._pipe.poll()
        except OSError as error:
            raise Unheard from error
