"""Samples as they were read, checked and standardised: numpy in, numpy out, one line for each thing that is wrong with them.

Everything here is a pure function of its arguments; `gradscope.data` makes tensors of the results.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradscope.errors import DataError

CHUNK_SAMPLES = 1024  # samples squared at once in float64, so that a standard deviation needs no copy of all the data
FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class Arrays:
    """Samples and targets as read from `origin`, the name that messages begin with.

    x is divided by `scale` to reach the natural scale (255 for images of bytes). `constants` are the published mean and
    standard deviation on that scale; None where there are none, and the training set's own are taken.
    """

    origin: str
    x_train: NDArray[Any]  # [train, ...]
    y_train: NDArray[Any]  # [train] or [train, output]
    x_test: NDArray[Any]  # [test, ...]
    y_test: NDArray[Any]
    scale: float = 1.0
    constants: tuple[float, float] | None = None

    def check(self) -> Arrays:
        """Return the same arrays, known to be fit to train on; samples that are single numbers get a feature axis.

        Raises:
            DataError: wrong dtype, no samples, NaN or Inf, or lengths and shapes that disagree.
        """
        for name in ("x_train", "y_train", "x_test", "y_test"):
            self._check_array(name, getattr(self, name))
        for part in ("train", "test"):
            x, y = getattr(self, f"x_{part}"), getattr(self, f"y_{part}")
            if len(x) != len(y):
                raise DataError(
                    f"{self.origin}: expected a target for each sample, got {len(x)} in x_{part} and {len(y)} in y_{part}"
                )
        for kind in ("x", "y"):
            train, test = (getattr(self, f"{kind}_{part}").shape[1:] for part in ("train", "test"))
            if train != test:
                raise DataError(
                    f"{self.origin}: expected {kind}_train and {kind}_test of one shape, "
                    f"got {list(train)} and {list(test)} for each sample"
                )
        if self.x_train.ndim == 1:
            return replace(self, x_train=self.x_train[:, None], x_test=self.x_test[:, None])
        return self

    def _check_array(self, name: str, array: NDArray[Any]) -> None:
        if array.dtype.kind not in "biuf":
            raise DataError(f"{self.origin}: {name}: expected numbers, got dtype {array.dtype}; save it as integers or floats")
        if array.ndim == 0:
            raise DataError(f"{self.origin}: {name}: expected an array [sample, ...], got a single number")
        if array.size == 0:
            raise DataError(f"{self.origin}: {name}: expected at least one value, got shape {list(array.shape)}")
        if array.dtype.kind == "f":
            _check_finite(array, f"{self.origin}: {name}")

    def standardised(
        self, normalize: tuple[float, float] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], tuple[str, ...]]:
        """Return x_train, x_test as (x / scale - mean) / std in float32, and the notes.

        Mean and std are, in this order of precedence: `normalize`, the published constants, the mean and the (population)
        standard deviation over all values of the training set, accumulated in float64. A training set of one value only
        has no deviation: it is centred, not scaled.

        Raises:
            DataError: `normalize` is no usable (mean, std), or float32 cannot hold the result.
        """
        notes: tuple[str, ...] = ()
        given = normalize or self.constants
        if given is not None:
            mean, std = given
            if not (math.isfinite(mean) and math.isfinite(std) and std > 0):
                raise DataError(f"{self.origin}: normalize: expected [mean, std] with std above 0, got [{mean}, {std}]")
        else:
            mean, std = (value / self.scale for value in mean_std(self.x_train))
            if std == 0:
                std, notes = 1.0, (f"all values of x_train are {mean:g}: centred, not scaled; there is nothing to learn from",)
        train, test = (self._affine(name, mean * self.scale, std * self.scale) for name in ("x_train", "x_test"))
        return train, test, notes

    def _affine(self, name: str, mean: float, std: float) -> NDArray[np.float32]:
        array: NDArray[Any] = getattr(self, name)
        # bytes and halves fit float32; wider types keep their digits until the mean is gone
        wide = array.astype(np.result_type(array.dtype, np.float32), order="C")
        with np.errstate(all="ignore"):  # what overflows is reported by name in the next line
            wide -= mean
            wide /= std
        _check_finite(wide, f"{self.origin}: {name}, normalised")
        return wide.astype(np.float32, copy=False)


def mean_std(x: NDArray[Any]) -> tuple[float, float]:
    """Return the mean and the population standard deviation of all values of `x`, accumulated in float64.

    >>> mean_std(np.array([[1, 3], [1, 3]], dtype=np.uint8))
    (2.0, 1.0)
    """
    if x.min() == x.max():
        return float(x.flat[0]), 0.0  # exactly: the mean of many 0.1 is not quite 0.1
    mean = float(x.mean(dtype=np.float64))
    squares = 0.0
    for start in range(0, len(x), CHUNK_SAMPLES):
        squares += float(np.square(x[start : start + CHUNK_SAMPLES] - np.float64(mean)).sum())
    return mean, math.sqrt(squares / x.size)


def _check_finite(array: NDArray[Any], what: str) -> None:
    """Raise for values that are NaN, infinite, or beyond what float32 can hold (3.4e38)."""
    bad = ~np.isfinite(array)
    if array.dtype.itemsize > 4:
        bad |= np.abs(array) > FLOAT32_MAX
    count = int(bad.sum())
    if count:
        first = [int(axis) for axis in np.unravel_index(int(bad.argmax()), bad.shape)]
        raise DataError(
            f"{what}: expected finite values, got {count} of {array.size} that are NaN, infinite or beyond float32, "
            f"the first at {first}; remove or replace them"
        )


def permutation(count: int, seed: int) -> NDArray[np.intp]:
    """Return 0..count-1 in an order that depends on nothing but `seed`.

    NumPy keeps the raw stream of PCG64 the same in every version, and promises no such thing for Generator.permutation
    (NEP 19); a split that published figures rest on must not change with it.

    >>> permutation(5, seed=0).tolist()
    [3, 2, 1, 0, 4]
    """
    return np.argsort(np.random.PCG64(seed).random_raw(count), kind="stable")


def one_line(error: BaseException, limit: int = 200) -> str:
    """Return the error's text on one line of at most `limit` characters, or the name of its type if it has none."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
