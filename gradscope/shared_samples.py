"""Samples that several processes look at without a copy each: one file in memory, mapped by all of them.

Nothing is left of it when the processes end, however they end: the file has no name in any folder. Where there are no such
files (outside Linux), a temporary file does the same, which only a kill leaves behind.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch

from gradscope.data import Data

ALIGNED = 64  # bytes: a cache line


@dataclass(frozen=True)
class SharedSamples:
    """Where the samples lie and what else a `Data` says; small, and made to be sent to another process."""

    path: str
    arrays: Mapping[str, tuple[int, tuple[int, ...], str]]  # name: where it begins, shape, dtype
    others: Mapping[str, Any]

    def open(self) -> Data:
        """Return the samples. Writing to them is possible, as torch demands, and seen by this process alone."""
        tensors: dict[str, Any] = {
            name: torch.from_numpy(np.memmap(self.path, dtype, "c", offset, shape))
            for name, (offset, shape, dtype) in self.arrays.items()
        }
        return Data(**tensors, **self.others)


class SampleFile:
    """Holds the samples of a `Data` for other processes as long as it is open."""

    def __init__(self, data: Data) -> None:
        parts = {field.name: getattr(data, field.name) for field in fields(data)}
        arrays = {name: part.contiguous().numpy() for name, part in parts.items() if isinstance(part, torch.Tensor)}
        self._file, self._path = _new_file()
        places: dict[str, tuple[int, tuple[int, ...], str]] = {}
        with open(self._file, "wb", closefd=False) as file:
            for name, array in arrays.items():
                file.write(bytes(-file.tell() % ALIGNED))
                places[name] = (file.tell(), array.shape, array.dtype.str)
                file.write(array.data.cast("B"))
        self.shared = SharedSamples(self._path, places, {name: part for name, part in parts.items() if name not in arrays})

    def close(self) -> None:
        """Let go of the file; who has it open keeps it."""
        os.close(self._file)
        if not self._path.startswith("/proc/"):
            os.unlink(self._path)


def _new_file() -> tuple[int, str]:
    """Return the descriptor of a new file and the path under which this process's children find it."""
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("gradscope-samples")
        return file, f"/proc/{os.getpid()}/fd/{file}"
    return tempfile.mkstemp(prefix="gradscope-samples-")


def digest_of(data: Data) -> str:
    """Return a hash of all samples and targets, and of what they are judged by; where they come from is not in it."""
    digest = hashlib.blake2b(f"{data.classes} {data.outputs} {data.metric} {data.chance!r}".encode(), digest_size=32)
    for tensor in (data.x_train, data.y_train, data.x_test, data.y_test):
        digest.update(f"{tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().data.cast("B"))
    return digest.hexdigest()
