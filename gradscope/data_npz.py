"""Samples from an npz file of the user's own; whatever is wrong with the file is one line."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradscope.data_arrays import Arrays, one_line, permutation
from gradscope.errors import DataError

TEST_FRAC = 0.2  # of an npz file with x and y alone, unless counts are given
SPLIT_KEYS = ("x_train", "y_train", "x_test", "y_test")
# all that numpy raises for a file that is damaged, or too large for the memory (a header may claim any shape)
BROKEN_FILE = (OSError, ValueError, EOFError, KeyError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class NpzSource:
    """An npz file with x_train, y_train, x_test, y_test, or with x, y that are split here.

    `train` and `test` are numbers of samples; None takes all, or the split of 80 to 20. `seed` chooses which.
    """

    path: Path
    train: int | None = None
    test: int | None = None
    seed: int = 0


def read_npz(source: NpzSource) -> Arrays:
    """Return the arrays of an npz file; pickled objects in it are never loaded.

    Raises:
        DataError: no such file, no npz file, damaged, keys that are missing, or more samples asked for than there are.
    """
    path = source.path.expanduser()
    for name, asked in (("train", source.train), ("test", source.test)):
        if asked is not None and asked < 1:
            raise DataError(f"{path}: {name}: expected at least 1 sample, got {asked}")
    if source.seed < 0:
        raise DataError(f"{path}: seed: expected 0 or more, got {source.seed}")
    members = _read_members(path)
    if all(key in members for key in SPLIT_KEYS):
        _check_lengths(path, members, ("x_train", "y_train"), ("x_test", "y_test"))
        train = _subset(path, "train", len(members["x_train"]), source.train, source.seed)
        test = _subset(path, "test", len(members["x_test"]), source.test, source.seed)
        x_train, y_train, x_test, y_test = (members[key] for key in SPLIT_KEYS)
        return Arrays(str(path), x_train[train], y_train[train], x_test[test], y_test[test])
    x, y = members["x"], members["y"]
    _check_lengths(path, members, ("x", "y"))
    train, test = _split(path, len(x), source)
    return Arrays(str(path), x[train], y[train], x[test], y[test])


def _read_members(path: Path) -> dict[str, NDArray[Any]]:
    try:
        if path.is_dir():
            raise DataError(f"{path}: expected an npz file, got a folder")
        if not path.exists():
            raise DataError(f"{path}: no such file; expected an npz file with {', '.join(SPLIT_KEYS)}, or with x, y")
        if not path.is_file() or not zipfile.is_zipfile(path):
            raise DataError(f"{path}: expected a whole npz file (numpy.savez), got something else or a part of one")
        with np.load(path, allow_pickle=False) as archive:
            found = list(archive.files)
            wanted = SPLIT_KEYS if set(SPLIT_KEYS) <= set(found) else ("x", "y")
            if not set(wanted) <= set(found):
                keys = ", ".join(found) or "none"
                raise DataError(f"{path}: expected the keys {', '.join(SPLIT_KEYS)}, or x, y; got {keys}")
            return {key: _read_member(path, archive, key) for key in wanted}
    except DataError:
        raise
    except BROKEN_FILE as error:
        raise DataError(f"{path}: cannot be read: {one_line(error)}; write it again") from error


def _read_member(path: Path, archive: Any, key: str) -> NDArray[Any]:  # noqa: ANN401  np.load's type says nothing either
    try:
        array = archive[key]
    except BROKEN_FILE as error:
        if isinstance(error, ValueError) and "allow_pickle" in str(error):
            raise DataError(
                f"{path}: {key}: expected numbers, got pickled objects, which are not loaded; save it as integers or floats"
            ) from error
        raise DataError(f"{path}: {key}: cannot be read: {one_line(error)}; write the file again") from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: {key}: expected an array, got something else")
    if array.ndim == 0:
        raise DataError(f"{path}: {key}: expected an array [sample, ...], got a single number")
    return array


def _check_lengths(path: Path, members: dict[str, NDArray[Any]], *pairs: tuple[str, str]) -> None:
    """Raise unless each x has as many samples as its y, before samples are drawn from both."""
    for x, y in pairs:
        if len(members[x]) != len(members[y]):
            raise DataError(
                f"{path}: expected a target for each sample, got {len(members[x])} in {x} and {len(members[y])} in {y}"
            )


def _subset(path: Path, part: str, count: int, asked: int | None, seed: int) -> NDArray[np.intp] | slice:
    if asked is None:
        return slice(None)
    if asked > count:
        raise DataError(f"{path}: {part}: {asked} samples asked for, the file has {count}")
    return permutation(count, seed)[:asked]


def _split(path: Path, count: int, source: NpzSource) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    train, test = source.train, source.test
    if count < 2:
        raise DataError(f"{path}: expected at least 2 samples to split into train and test, got {count}")
    if test is None:
        test = max(1, round(count * TEST_FRAC)) if train is None else max(1, count - train)
    if train is None:
        train = max(1, count - test)
    if train + test > count:
        raise DataError(f"{path}: {train} samples to train and {test} to test asked for, the file has {count}")
    order = permutation(count, source.seed)
    return order[:train], order[train : train + test]
