"""The data sets with names: the digits inside the package, and those that torchvision reads or downloads."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from gradscope.data_arrays import Arrays, one_line, permutation
from gradscope.errors import DataError

DIGITS_TRAIN = 1437  # of 1,797; the other 360 are the test set: 80 % and 20 %
DIGITS_SEED = 0  # of the permutation that the split is cut from


@dataclass(frozen=True)
class ImageSet:
    """A set that torchvision reads: its class there, the folder it looks for, and the published normalisation."""

    class_name: str
    folder: str
    mean: float
    std: float


IMAGE_SETS = {
    "mnist": ImageSet("MNIST", "MNIST/raw", 0.1307, 0.3081),
    "fashion-mnist": ImageSet("FashionMNIST", "FashionMNIST/raw", 0.2860, 0.3530),
    "cifar10": ImageSet("CIFAR10", "cifar-10-batches-py", 0.5, 0.5),
}


def read_digits() -> Arrays:
    """Return the 1,797 digits of UCI's Optical Recognition of Handwritten Digits (Alpaydin & Kaynak, 1998; CC BY 4.0).

    x is uint8 [sample, 1, 8, 8] with values 0..16, y uint8 [sample]; 1,437 to train and 360 to test, always the same.
    `scripts/make_digits.py` makes the file.
    """
    with resources.files("gradscope").joinpath("digits.npz").open("rb") as file, np.load(file, allow_pickle=False) as members:
        images, labels = members["images"][:, None], members["labels"]
    order = permutation(len(images), DIGITS_SEED)
    train, test = order[:DIGITS_TRAIN], order[DIGITS_TRAIN:]
    return Arrays("digits", images[train], labels[train], images[test], labels[test])


def read_images(name: str, data_dir: Path | None, *, download: bool) -> Arrays:
    """Return one of `IMAGE_SETS` as uint8 [sample, channel, height, width], read by torchvision, all at once.

    The folder is `data_dir`, else the environment's GRADSCOPE_DATA, else ./data.

    Raises:
        DataError: not there and not to be downloaded, the download failed, or the files are damaged.
    """
    wanted = IMAGE_SETS[name]
    root = (data_dir or Path(os.environ.get("GRADSCOPE_DATA") or "data")).expanduser()
    try:
        # imported late because it takes seconds, which digits and npz files do without; it ships no types
        import torchvision.datasets as sets  # type: ignore[import-untyped]

        with contextlib.redirect_stdout(sys.stderr):  # what it prints while it downloads is no part of a report
            parts = [getattr(sets, wanted.class_name)(str(root), train=part, download=download) for part in (True, False)]
    except Exception as error:  # torchvision has no errors of its own: RuntimeError, URLError, AssertionError, struct.error ...
        raise DataError(_absence(name, root, error, download=download)) from error
    (x_train, y_train), (x_test, y_test) = ((np.asarray(part.data), np.asarray(part.targets)) for part in parts)
    x_train, x_test = (x[:, None] if x.ndim == 3 else x.transpose(0, 3, 1, 2) for x in (x_train, x_test))
    return Arrays(name, x_train, y_train, x_test, y_test, scale=255.0, constants=(wanted.mean, wanted.std))


def _absence(name: str, root: Path, error: Exception, *, download: bool) -> str:
    folder = root / IMAGE_SETS[name].folder
    if isinstance(error, ImportError):
        return f"{name}: needs torchvision: {one_line(error)}; install it, or use --data digits"
    if download:
        return f"{name}: cannot be downloaded to {root}, or read there: {one_line(error)}; try again, or use --data digits"
    if "not found" in str(error):
        return (
            f"{name}: not found, looked for {folder.absolute()}; name its folder with --data-dir or GRADSCOPE_DATA, "
            f"add --download, or use --data digits"
        )
    return f"{name}: {folder.absolute()} cannot be read: {one_line(error)}; remove it and add --download, or use --data digits"
