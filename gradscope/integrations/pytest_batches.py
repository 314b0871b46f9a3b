"""What a test gives as data, made into batches without end: samples, a data set, a loader, any iterable, or a function."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from gradscope.errors import DataError
from gradscope.training import BatchOrder
from gradscope.user_code import running_user_code

Batch = tuple[Any, Any]
FORMS = "expected (x, y), a DataLoader, an iterable of batches (x, y), or a function that returns one of these"


class BatchSource:
    """Gives each seed's batches, the same ones whenever it is asked for the same seed, as far as the data allow it.

    Samples are shuffled anew for each pass, in an order that the seed draws. What can be read only once is kept as it is read.
    """

    def __init__(self, data: object, batch_size: int) -> None:
        """Look what kind of data it is.

        Raises:
            DataError: nothing that batches can be made of.
        """
        self._size = batch_size
        is_function = callable(data) and (isinstance(data, type) or not _is_iterable(data))
        self._again = data if is_function else None
        self._data: Any = None if is_function else _known(data)
        self._kept: list[Any] = []

    def first_size(self) -> int:
        """Return how many samples the first batch has.

        Raises:
            DataError: there is no batch.
        """
        x, _ = next(self.batches(0))
        first = next(_leaves(x), None)
        return len(first) if isinstance(first, Tensor) and first.dim() else 1

    def batches(self, seed: int) -> Iterator[Batch]:
        """Yield batches for as long as they are asked for.

        Raises:
            DataError: there are none, they can be read only once and are too few, or one is no pair.
        """
        number = 0
        for passes in itertools.count():
            before = number
            for batch in self._pass(seed, passes):
                yield _pair(batch, number)
                number += 1
            if number == before:
                again = f" in pass {passes + 1}, after {number} batches" if passes else ""
                raise DataError(f"data: expected batches, got none{again}")
            if isinstance(self._data, Iterator):
                raise DataError(
                    f"data: the generator ended after {number} batches, more are needed, and it cannot be read again; give a "
                    "list, a DataLoader, or the function that makes the generator"
                )

    def _pass(self, seed: int, passes: int) -> Iterator[Any]:
        data = self._data
        if callable(self._again):
            with running_user_code("data: the function failed"):
                made = self._again()
            data = _known(made)
        if self._again is None and isinstance(data, Iterator):
            return self._keeping(data)
        if _is_samples(data):
            return _shuffled(data, self._size, seed, passes)
        if isinstance(data, Dataset):
            return _guarded(DataLoader(data, self._size, shuffle=not isinstance(data, IterableDataset)))
        return _guarded(data)

    def _keeping(self, once: Iterator[Any]) -> Iterator[Any]:
        yield from self._kept
        for batch in _guarded(once):
            self._kept.append(batch)
            yield batch


def _is_iterable(data: object) -> bool:
    return hasattr(data, "__iter__") or hasattr(data, "__getitem__")


def _known(data: object) -> Any:  # noqa: ANN401
    """Return the data, samples as tensors.

    Raises:
        DataError: they are none.
    """
    if _is_pair_of_samples(data):
        assert isinstance(data, tuple | list)
        samples = (as_tensors("x", data[0]), as_tensors("y", data[1]))
        counts = [len(tensor) if tensor.dim() else 0 for tensor in _leaves(samples)]
        if len(set(counts)) > 1:
            raise DataError(f"data: expected as many x as y, got {counts[0]} and {next(n for n in counts if n != counts[0])}")
        if not counts[0]:
            raise DataError("data: expected samples, got none")
        for name, part in zip("xy", samples, strict=True):
            bad = sum(int((~tensor.isfinite()).sum()) for tensor in _leaves(part) if tensor.is_floating_point())
            if bad:
                raise DataError(f"data: expected finite values, got {bad} in {name} that are NaN or infinite")
        return samples
    if data is None:
        raise DataError(f"data: {FORMS}, got nothing")
    if isinstance(data, Tensor | np.ndarray):
        raise DataError(f"data: {FORMS}, got x alone; where x is its own target, give (x, x)")
    if isinstance(data, str | bytes | Mapping) or not _is_iterable(data):
        raise DataError(f"data: {FORMS}, got {_kind(data)}")
    return data


def _kind(value: object) -> str:
    return f"a {type(value).__name__}" if value is not None else "nothing"


def _is_pair_of_samples(data: object) -> bool:
    if not isinstance(data, tuple | list) or len(data) != 2 or not isinstance(data[1], Tensor | np.ndarray):
        return False
    leaves = list(_leaves(data[0]))
    return bool(leaves) and all(isinstance(leaf, Tensor | np.ndarray) for leaf in leaves)


def _is_samples(data: object) -> bool:
    return isinstance(data, tuple) and _is_pair_of_samples(data)


def _leaves(values: object) -> Iterator[Any]:
    if isinstance(values, Mapping):
        values = list(values.values())
    if isinstance(values, tuple | list):
        for value in values:
            yield from _leaves(value)
    else:
        yield values


def mapped(function: Callable[[Any], Any], values: Any) -> Any:  # noqa: ANN401
    """Return a tensor, or the tensors of a tuple, list or mapping, changed by a function."""
    if isinstance(values, Mapping):
        return {key: mapped(function, value) for key, value in values.items()}
    if isinstance(values, tuple | list):
        return tuple(mapped(function, value) for value in values)
    return function(values)


def as_tensors(name: str, values: Any) -> Any:  # noqa: ANN401
    """Return arrays as tensors; floats of numpy's double precision in torch's default one. Other things are left as they are.

    Raises:
        DataError: an array holds no numbers.
    """

    def tensor(value: object) -> object:
        if not isinstance(value, np.ndarray):
            return value
        if value.dtype.kind not in "biufc":
            raise DataError(f"data: {name}: expected numbers, got an array of {value.dtype}")
        made = torch.tensor(value)  # a copy: arrays may be read-only
        return made.to(torch.get_default_dtype()) if made.dtype == torch.float64 else made

    return mapped(tensor, values)


def _shuffled(samples: Any, size: int, seed: int, passes: int) -> Iterator[Any]:  # noqa: ANN401
    count = len(next(_leaves(samples)))
    order = BatchOrder([seed + 1000 * passes], count, min(size, count), torch.device("cpu"))
    for batch in order.epoch():
        yield mapped(functools.partial(_rows, batch[0]), samples)


def _rows(rows: Tensor, tensor: Tensor) -> Tensor:
    return tensor[rows.to(tensor.device)]


def _guarded(data: Iterable[Any]) -> Iterator[Any]:
    """Yield what the user's iterable yields; what it raises becomes one line."""
    with running_user_code("data: reading them failed"):
        batches = iter(data)
    while True:
        with running_user_code("data: reading them failed"):
            try:
                batch = next(batches)
            except StopIteration:
                return
        yield batch


def _pair(batch: object, number: int) -> Batch:
    where = f"data: batch {number}: expected a pair (x, y)"
    if not isinstance(batch, tuple | list):
        raise DataError(f"{where}, got {_kind(batch)}; give a function that yields pairs")
    if len(batch) != 2:
        raise DataError(f"{where}, got {len(batch)} parts; several inputs go in as ((x1, x2), y)")
    x, y = as_tensors("x", batch[0]), as_tensors("y", batch[1])
    first = next(_leaves(x), None)
    if isinstance(first, Tensor) and first.dim() and not len(first):
        raise DataError(f"data: batch {number}: expected samples, got none")
    return x, y
