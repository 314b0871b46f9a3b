"""A population's training as a sweep runs it, that stands still between blocks of steps."""

from __future__ import annotations

from queue import SimpleQueue
from threading import Thread

import torch

from gradscope.cell import PopulationTask
from gradscope.data import Data
from gradscope.sweep_training import Interrupted, SweepTraining, train_task


class StandingTraining:
    """Trains in a thread of its own, which runs only while another one waits for it in `run`: so only one ever computes.

    A training that comes to its end begins anew.
    """

    def __init__(self, task: PopulationTask, data: Data, device: torch.device) -> None:
        self._task, self._data = task, data
        self._how = SweepTraining(device, advance=self._advance, should_stop=lambda: self._ended)
        self._wanted: SimpleQueue[int | None] = SimpleQueue()
        self._taken: SimpleQueue[int | BaseException] = SimpleQueue()
        self._ended = False
        self._count = self._until = 0
        self._thread = Thread(target=self._train, daemon=True)
        self._thread.start()

    def run(self, member_steps: int) -> int:
        """Train on until so many steps of single networks are taken; return how many were, which may be a few more."""
        self._wanted.put(member_steps)
        taken = self._taken.get()
        if isinstance(taken, BaseException):
            raise taken
        return taken

    def close(self) -> None:
        """End the training and let go of its networks."""
        self._wanted.put(None)
        self._thread.join()

    def _train(self) -> None:
        self._wait()
        try:
            while not self._ended:
                train_task(self._task, self._data, self._how)
        except Interrupted:
            pass
        except BaseException as error:  # told to the thread that waits, which would wait for ever
            self._taken.put(error)

    def _wait(self) -> None:
        wanted = self._wanted.get()
        self._ended, self._count, self._until = wanted is None, 0, wanted or 0

    def _advance(self, member_steps: int) -> None:
        self._count += member_steps
        if self._count >= self._until:
            self._taken.put(self._count)
            self._wait()
