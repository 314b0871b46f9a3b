"""MNIST's files: where they lie, random ones of the same shape where they do not, and what is in them. Needs no torch."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDER = Path("MNIST/raw")  # where torchvision looks, too
PARTS = ("train", "t10k")
MEAN, STD = 0.1307, 0.3081  # of MNIST's training images on the scale 0..1
MAGIC = {1: 0x801, 3: 0x803}  # of files of bytes, by number of axes
INKED_FRAC, LIGHTEST = 0.19, 100  # so that random pixels have about MNIST's mean and spread

Images = tuple[NDArray[Any], NDArray[Any]]
"""uint8 [image, 28, 28] and labels uint8 [image]."""


def find(data_dir: Path | None) -> Path | None:
    """Return the folder that MNIST lies in: `data_dir`, or the environment's GRADSCOPE_DATA, or ./data; None if none does."""
    folder = data_dir or Path(os.environ.get("GRADSCOPE_DATA") or "data").expanduser()
    there = all((folder / FOLDER / name).is_file() for part in PARTS for name in _names(part))
    return folder.absolute() if there else None


def write_random(folder: Path, images: int) -> None:
    """Write files of random images with random labels, as many to train on as asked for and a few to test on."""
    (folder / FOLDER).mkdir(parents=True)
    draw = np.random.default_rng(0)
    for part, count in zip(PARTS, (images, 100), strict=True):
        x = draw.integers(LIGHTEST, 256, (count, 28, 28), dtype=np.uint8)
        x[draw.random(x.shape, dtype=np.float32) > INKED_FRAC] = 0
        for name, values in zip(_names(part), (x, draw.integers(0, 10, count, dtype=np.uint8)), strict=True):
            head = struct.pack(f">{1 + values.ndim}I", MAGIC[values.ndim], *values.shape)
            (folder / FOLDER / name).write_bytes(head + values.tobytes())


def read(folder: Path, part: str) -> Images:
    """Return the images and labels of a part, train or t10k."""
    x, y = ((folder / FOLDER / name).read_bytes() for name in _names(part))
    return np.frombuffer(x, np.uint8, offset=16).reshape(-1, 28, 28), np.frombuffer(y, np.uint8, offset=8)


def _names(part: str) -> tuple[str, str]:
    return f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"
