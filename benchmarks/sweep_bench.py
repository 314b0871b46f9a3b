"""What one process of the sweep benchmark holds: samples and contenders, of which one trains at a time."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.digit_files import MEAN, PARTS, STD, read
from benchmarks.environment import describe
from benchmarks.sweep_contenders import Contender, Place, Populations, Products
from benchmarks.sweep_processes import Block
from benchmarks.sweep_scripts import Plain, Published
from gradscope.data import Data

KINDS: Mapping[str, Callable[..., Contender]] = {
    "published": Published,
    "plain": Plain,
    "products": Products,
    "gradscope": Populations,
}
TEST_SAMPLES = 100  # gradscope evaluates after each epoch, which is no part of a training step: made small


class Bench:
    """Its methods are called through a pipe: see `sweep_processes.Crew`."""

    def __init__(self, data_dir: Path, device: str) -> None:
        if count := os.environ.get("OMP_NUM_THREADS"):
            torch.set_num_threads(int(count))
        where = torch.device(device)
        self._place = Place(where, _samples(data_dir).to(where), data_dir)
        self._contenders: dict[str, Contender] = {}

    def describe(self) -> dict[str, object]:
        """Return what a reader needs to judge this process's timings."""
        return {"threads": torch.get_num_threads(), **describe()}

    def add(self, name: str, kind: str, arguments: tuple[Any, ...]) -> None:
        """Make a contender of one of `KINDS`."""
        self._contenders[name] = KINDS[kind](self._place, *arguments)
        gc.collect()
        gc.freeze()  # else the collection before each block would look through all of torch again

    def begin(self, name: str, group: int) -> Block:
        """Take the first steps of a group's networks."""
        return self._timed(lambda: self._contenders[name].begin(group))

    def run(self, name: str, group: int, times: int) -> Block:
        """Take a block of steps."""
        return self._timed(lambda: self._contenders[name].run(group, times))

    def drop(self, name: str) -> None:
        """Let go of a contender."""
        self._contenders.pop(name).close()

    def _timed(self, run: Callable[[], int]) -> Block:
        gc.collect()  # what others left to the garbage collector is not this one's burden
        self._settle()
        wall, processor = time.perf_counter(), time.process_time()
        taken = run()
        self._settle()
        return Block(taken, time.perf_counter() - wall, time.process_time() - processor)

    def _settle(self) -> None:
        """Wait until a GPU has done what it was told."""
        if self._place.device.type == "cuda":
            torch.cuda.synchronize(self._place.device)


def _samples(data_dir: Path) -> Data:
    """Return MNIST as a sweep has it; without torchvision, whose import would take longer than a short measurement."""
    (x_train, y_train), (x_test, y_test) = (_tensors(*read(data_dir, part)) for part in PARTS)
    test = slice(TEST_SAMPLES)
    return Data("mnist", x_train, y_train, x_test[test], y_test[test], 10, 10, "accuracy", chance=0.1)


def _tensors(images: NDArray[Any], labels: NDArray[Any]) -> tuple[Tensor, Tensor]:
    x = (images.reshape(len(images), -1).astype(np.float32) / 255 - MEAN) / STD
    return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(labels.astype(np.int64))
