"""How the values of one record stand in a row: which statistic from where to where."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

import torch
from torch import Tensor

Key = tuple[str, str]  # place (site or parameter), statistic
Layout = tuple[tuple[Key, torch.Size], ...]


Found = Mapping[Key, Tensor]


class RowLayout:
    """The order of the values: vectors (a population's matrices among them), then single numbers."""

    def __init__(self, found: Found, before: RowLayout | None) -> None:
        """Take what a record holds, and the layout before, whose keys stay."""
        sizes: dict[Key, torch.Size] = ({} if before is None else before.sizes) | {
            key: values.shape for key, values in found.items()
        }
        self.sizes: dict[Key, torch.Size] = dict(sorted(sizes.items(), key=lambda item: len(item[1]) == 0))
        self.vectors = sum(len(shape) > 0 for shape in self.sizes.values())
        self.device = next(iter(found.values())).device
        self._missing = {key: torch.full(shape, torch.nan, device=self.device) for key, shape in self.sizes.items()}
        self._keys: tuple[Key, ...] = ()  # of the last record, and their shapes
        self._shapes: list[torch.Size] = []
        self._on: torch.device | None = None  # its first value
        self._is_plain = False  # vectors, then numbers, all on one device

    @property
    def layout(self) -> Layout:
        """Each key and its shape in the row's order."""
        return tuple(self.sizes.items())

    def fits(self, found: Found) -> bool:
        """Tell whether a record's values have a place. Most records are like the last one, and need no closer look."""
        keys, shapes = tuple(found), [values.shape for values in found.values()]
        on = next(iter(found.values())).device
        if keys == self._keys and shapes == self._shapes and on == self._on:
            return True
        if any(self.sizes.get(key) != shape for key, shape in zip(keys, shapes, strict=True)):
            return False
        self._keys, self._shapes, self._on = keys, shapes, on
        self._is_plain = all(len(shape) <= 1 for shape in (*shapes, *self.sizes.values())) and all(
            values.device == self.device for values in found.values()
        )
        return True

    def parts(self, found: Found) -> list[Tensor]:
        """Return vectors which, end to end, are the row; NaN for what the record lacks."""
        row = [found.get(key, missing) for key, missing in self._missing.items()]
        if not self._is_plain:
            return _flat(row, self.device)
        vectors, numbers = row[: self.vectors], row[self.vectors :]
        return [*vectors, torch.stack(numbers)] if numbers else vectors


def _flat(row: list[Tensor], device: torch.device) -> list[Tensor]:
    """Return the values as vectors; neighbouring single numbers are put together first, in one operation."""
    parts: list[Tensor] = []
    for single, run in groupby(row, key=lambda part: part.dim() == 0):
        if single:
            numbers = [part if part.device == device else part.to(device) for part in run]  # of a network on several devices
            parts.append(torch.stack(numbers).float())
        else:
            parts += [part.flatten().to(device, torch.float32) for part in run]
    return parts
