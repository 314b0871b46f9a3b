"""How the values of one record stand in a row: which statistic from where to where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

Key = tuple[str, str]  # place (site or parameter), statistic
Layout = tuple[tuple[Key, torch.Size], ...]


@dataclass(frozen=True, eq=False)
class Block:
    """Several keys whose values stand end to end in one vector already; the same object for all records that are alike."""

    keys: tuple[Key, ...]
    sizes: tuple[int, ...]


Slot = Key | Block
Found = Mapping[Slot, Tensor]


class RowLayout:
    """The order of the slots: blocks, vectors (a population's matrices among them), single numbers."""

    def __init__(self, found: Found, before: RowLayout | None) -> None:
        """Take what a record holds, and the layout before, whose keys stay."""
        blocks = [slot for slot in found if isinstance(slot, Block)]
        covered = {key for block in blocks for key in block.keys}
        if before is not None:
            kept = [slot for slot in before.slots if isinstance(slot, Block) and not covered & {*slot.keys}]
            blocks = [*kept, *(block for block in blocks if block not in kept)]
        self.sizes: dict[Key, torch.Size] = ({} if before is None else before.sizes) | dict(_expanded(found))
        covered = {key for block in blocks for key in block.keys}
        alone = [key for key in self.sizes if key not in covered]
        self.slots: list[Slot] = [*blocks, *sorted(alone, key=lambda key: len(self.sizes[key]) == 0)]
        self.vectors = sum(isinstance(slot, Block) or len(self.sizes[slot]) > 0 for slot in self.slots)
        self.device = next(iter(found.values())).device
        self._missing: dict[Key, Tensor] = {}
        self._keys: tuple[Slot, ...] = ()  # of the last record, and their shapes
        self._shapes: list[torch.Size] = []
        self._is_plain = False  # vectors, then numbers, all on one device

    @property
    def layout(self) -> Layout:
        """Each key and its shape in the row's order."""
        keys = (key for slot in self.slots for key in (slot.keys if isinstance(slot, Block) else (slot,)))
        return tuple((key, self.sizes[key]) for key in keys)

    def fits(self, found: Found) -> bool:
        """Tell whether a record's values have a place. Most records are like the last one, and need no closer look."""
        keys, shapes = tuple(found), [values.shape for values in found.values()]
        if keys == self._keys and shapes == self._shapes:
            return True
        if any(isinstance(slot, Block) and slot not in self.slots for slot in found):
            return False
        if any(self.sizes.get(key) != shape for key, shape in _expanded(found)):
            return False
        self._keys, self._shapes = keys, shapes
        self._is_plain = all(len(shape) <= 1 for shape in (*shapes, *self.sizes.values())) and all(
            values.device == self.device for values in found.values()
        )
        return True

    def parts(self, found: Found) -> list[Tensor]:
        """Return vectors which, end to end, are the row; NaN for what the record lacks."""
        row = [self._value(slot, found) for slot in self.slots]
        if not self._is_plain:
            return _flat(row, self.device)
        vectors, numbers = row[: self.vectors], row[self.vectors :]
        return [*vectors, torch.stack(numbers)] if numbers else vectors

    def _value(self, slot: Slot, found: Found) -> Tensor:
        value = found.get(slot)
        if value is not None:
            return value
        if isinstance(slot, Block):
            return torch.cat(_flat([self._value(key, found) for key in slot.keys], self.device))
        missing = self._missing.get(slot)
        if missing is None:
            missing = self._missing[slot] = torch.full(self.sizes[slot], torch.nan, device=self.device)
        return missing


def _expanded(found: Found) -> Iterable[tuple[Key, torch.Size]]:
    for slot, values in found.items():
        if isinstance(slot, Block):
            yield from zip(slot.keys, (torch.Size([size]) for size in slot.sizes), strict=True)
        else:
            yield slot, values.shape


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
