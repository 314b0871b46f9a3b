"""What the networks of the corpora learn: digits in several shapes, and synthetic tasks made from a fixed seed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gradscope.data import NpzSource, load_data

TRAIN, TEST = 1500, 500


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples to train on and to test on, and the number of classes."""

    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    classes: int

    def changed(self, change: Callable[[Tensor], Tensor]) -> Samples:
        """Return the same with another input."""
        return replace(self, x_train=change(self.x_train), x_test=change(self.x_test))


def digits() -> Samples:
    """8x8 images, [1, 8, 8]."""
    data = load_data("digits")
    return Samples(data.x_train, data.y_train, data.x_test, data.y_test, data.classes)


def pixels() -> Samples:
    """The digits as 64 numbers."""
    return digits().changed(lambda x: x.flatten(1))


def rows() -> Samples:
    """The digits as a sequence of 8 rows of 8 pixels."""
    return digits().changed(lambda x: x.squeeze(1))


def patches() -> Samples:
    """The digits as 16 patches of 2x2 pixels."""
    return digits().changed(lambda x: x.unfold(2, 2, 2).unfold(3, 2, 2).reshape(len(x), 16, 4))


def blobs() -> Samples:
    """Five overlapping Gaussians in 20 dimensions."""
    rng = np.random.default_rng(1)
    y = rng.integers(5, size=TRAIN + TEST)
    return _split(rng.normal(size=(5, 20))[y] * 1.2 + rng.normal(size=(len(y), 20)), y, 5)


def rings() -> Samples:
    """Three rings in the plane, which no linear layer tells apart."""
    rng = np.random.default_rng(2)
    y, angle = rng.integers(3, size=TRAIN + TEST), rng.uniform(0, 2 * np.pi, TRAIN + TEST)
    radius = 0.5 + 0.7 * y + 0.1 * rng.normal(size=len(y))
    return _split(np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), y, 3)


def words() -> Samples:
    """Sequences of 12 of 20 words; the class is that of the four marking words which occurs."""
    rng = np.random.default_rng(3)
    y, x = rng.integers(4, size=TRAIN + TEST), rng.integers(4, 20, size=(TRAIN + TEST, 12))
    x[np.arange(len(y)), rng.integers(12, size=len(y))] = y
    return _split(x, y, 4)


def table() -> Samples:
    """A table of unlike columns, written as an npz file and read by gradscope, which standardises it."""
    rng = np.random.default_rng(4)
    y = rng.integers(4, size=TRAIN + TEST)
    size = np.exp(rng.normal(size=(len(y), 4)) * 0.5 + rng.normal(size=(4, 4))[y])
    kind = (rng.uniform(size=(len(y), 6)) < rng.uniform(0.1, 0.9, size=(4, 6))[y]).astype(np.float64)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.npz"
        np.savez(path, x=np.concatenate([size, kind * 2.0], axis=1), y=y)
        data = load_data(NpzSource(path), normalize="per-feature")
    return Samples(data.x_train, data.y_train, data.x_test, data.y_test, data.classes)


def _split(x: np.ndarray, y: np.ndarray, classes: int) -> Samples:
    values = torch.as_tensor(x, dtype=torch.int64 if x.dtype.kind == "i" else torch.float32)
    labels = torch.as_tensor(y, dtype=torch.int64)
    return Samples(values[:TRAIN], labels[:TRAIN], values[TRAIN:], labels[TRAIN:], classes)


TASKS = {task.__name__: cache(task) for task in (pixels, digits, rows, patches, blobs, rings, words, table)}
