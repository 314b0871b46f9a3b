"""What the targets ask for: classes or numbers, how wide the network's output is, and what chance scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradscope.data_arrays import Arrays
from gradscope.errors import DataError

# Labels above this are taken for a mistake (row numbers, pixel values): the output layer would have that many units.
# The largest classification sets in use stay below it (ImageNet-21k: 21,841; Amazon-670K: 670,091).
MAX_CLASSES = 1_000_000


@dataclass(frozen=True, eq=False)
class Targets:
    """Targets in the form that the losses take, and the scale on which results are judged; fields as in `Data`."""

    y_train: NDArray[Any]  # int64 [train], or float32 [train, output]
    y_test: NDArray[Any]
    classes: int
    outputs: int
    metric: str
    chance: float
    notes: tuple[str, ...]


def read_targets(arrays: Arrays) -> Targets:
    """Return the targets of `arrays`, which are checked already: integers and booleans are classes, floats are regression.

    Raises:
        DataError: labels and floats mixed, negative or absurdly large labels, or a shape that is neither.
    """
    floats = [y.dtype.kind == "f" for y in (arrays.y_train, arrays.y_test)]
    if floats[0] != floats[1]:
        raise DataError(
            f"{arrays.origin}: expected y_train and y_test of one kind, got {arrays.y_train.dtype} and {arrays.y_test.dtype}; "
            f"save both as integers for classes or as floats for regression"
        )
    return _regression(arrays) if floats[0] else _classification(arrays)


def _regression(arrays: Arrays) -> Targets:
    y_train, y_test = arrays.y_train, arrays.y_test
    notes: list[str] = []
    if y_train.ndim > 2:
        raise DataError(f"{arrays.origin}: y_train: expected [sample] or [sample, output], got shape {list(y_train.shape)}")
    if y_train.ndim == 1:
        y_train, y_test = y_train[:, None], y_test[:, None]
    if y_train.shape[1] == 1 and np.array_equal(y_train, np.round(y_train)):
        notes.append("the targets are whole numbers saved as floats: taken as regression; save them as integers for classes")
    if (y_test == y_test[0]).all():
        notes.append("the test targets are all equal: R2 is not defined there")
    train, test = (y.astype(np.float32, order="C") for y in (y_train, y_test))
    return Targets(train, test, 0, y_train.shape[1], "r2", 0.0, tuple(notes))


def _classification(arrays: Arrays) -> Targets:
    y_train, y_test, columns, notes = _labels(arrays)
    lowest, highest = min(int(y_train.min()), int(y_test.min())), max(int(y_train.max()), int(y_test.max()))
    if lowest < 0:
        raise DataError(f"{arrays.origin}: expected labels 0, 1, 2, ..., got {lowest}; number the classes from 0")
    if highest >= MAX_CLASSES:
        raise DataError(f"{arrays.origin}: expected labels below {MAX_CLASSES}, got {highest}; number the classes from 0")
    classes = max(highest + 1, columns)
    train, test = (np.ascontiguousarray(y, dtype=np.int64) for y in (y_train, y_test))
    counts = np.bincount(train, minlength=classes)
    if (absent := np.flatnonzero(counts == 0)).size:
        notes.append(f"{absent.size} of {classes} classes have no training sample, the first of them is {absent[0]}")
    if (counts > 0).sum() == 1:
        notes.append("the training set holds one class only: there is nothing to learn")
    chance = float(np.bincount(test, minlength=classes).max() / len(test))  # the most that one constant answer can score
    if chance == 1:
        notes.append("the test set holds one class only: accuracy cannot tell learning from guessing")
    return Targets(train, test, classes, classes, "accuracy", chance, tuple(notes))


def _labels(arrays: Arrays) -> tuple[NDArray[Any], NDArray[Any], int, list[str]]:
    """Return labels [sample] of both parts, the number of one-hot columns (0 if they were labels), and the notes."""
    y_train, y_test = arrays.y_train, arrays.y_test
    if y_train.ndim == 2 and y_train.shape[1] == 1:
        y_train, y_test = y_train[:, 0], y_test[:, 0]
    if y_train.ndim == 1:
        return y_train, y_test, 0, []
    if y_train.ndim == 2 and _is_one_hot(y_train) and _is_one_hot(y_test):
        note = f"the targets are one-hot in {y_train.shape[1]} columns: read as classes"
        return y_train.argmax(axis=1), y_test.argmax(axis=1), y_train.shape[1], [note]
    raise DataError(
        f"{arrays.origin}: y_train: expected labels [sample] or one-hot rows, got integers of shape {list(y_train.shape)}; "
        f"save targets with several values a sample as floats"
    )


def _is_one_hot(y: NDArray[Any]) -> bool:
    return bool(((y == 0) | (y == 1)).all() and (y.sum(axis=1) == 1).all())
