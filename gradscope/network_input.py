"""The scale of what a network is fed: mean and spread of its first input, in the first few records."""

from __future__ import annotations

import torch
from torch import Tensor

from gradscope.apart import Apart
from gradscope.row_layout import Key
from gradscope.statistics import wide
from gradscope.transforms import without_transforms

MOST_LOOKS = 3  # records: the scale of the data does not change, and a large input is dear to read


class NetworkInput:
    """Looks at the first tensor that the network is called with; words and other symbols have no scale."""

    def __init__(self, members: int, *, has_members: bool) -> None:
        self.found: dict[Key, Tensor] = {}  # of the step under way
        self._members, self._has_members = members, has_members
        self._looks = 0

    def begin(self) -> None:
        """Forget the last step."""
        self.found = {}

    def look(self, first: Tensor) -> None:
        """Take mean and standard deviation over all values of a pass, in float32 or wider; once a step."""
        if self.found or self._looks >= MOST_LOOKS or not first.is_floating_point() or not first.numel():
            return
        self._looks += 1
        with Apart(first):
            plain = without_transforms(first)  # of vmap, that it may be kept: all samples at once
            has_rows = self._has_members and plain.dim() > 2  # else members share their input
            variance, mean = torch.var_mean(wide(plain).reshape(len(plain) if has_rows else 1, -1), dim=1, correction=0)
            self.found = {("", "input_mean"): self._spread(mean), ("", "input_std"): self._spread(variance.sqrt())}

    def _spread(self, values: Tensor) -> Tensor:
        return values.expand(self._members).contiguous() if self._has_members else values.reshape(())
