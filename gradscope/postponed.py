"""Sums of several sites' calls in one go, when the network's call is over: a step of small layers is made of little else.

Only small tensors wait, so few of them that memory does not grow with the batch, and only those of sites that nothing
overwrites meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gradscope.apart import Apart
from gradscope.gates import Gate, IntervalGate
from gradscope.recorded_site import RecordedSite, SiteCall
from gradscope.site_sums import sums_together

MOST_OF_ONE, MOST = 2**16, 2**20
"""Elements of one tensor that waits, and of all of them together."""


@dataclass(frozen=True)
class _Waiting:
    call: SiteCall
    gate: Gate
    z: Tensor
    a: Tensor
    versions: tuple[int, int]  # an operation in place makes a new one


class Postponed:
    """The calls of one pass that wait."""

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []
        self._elements = 0

    def takes(self, site: RecordedSite, z: Tensor) -> bool:
        """Tell whether a call may wait: rows of units, a gate of z alone, and room for it."""
        size = z.numel()
        return (
            site.keeps_still
            and site.axis == z.dim() - 1 > 0
            and type(site.gate) is IntervalGate
            and z.dtype is torch.float32
            and size <= MOST_OF_ONE
            and self._elements + 2 * size <= MOST
        )

    def put(self, call: SiteCall, z: Tensor, a: Tensor) -> None:
        """Keep z and a = f(z) until `finish`."""
        assert call.site.gate is not None
        self._waiting.append(_Waiting(call, call.site.gate, z, a, (z._version, a._version)))
        self._elements += 2 * z.numel()

    def clear(self) -> None:
        """Let go of what waits."""
        self._waiting, self._elements = [], 0

    def finish(self) -> None:
        """Fill in the sums that calls lack; note at a site that its tensors were overwritten, and leave its sums out."""
        alike: dict[int, list[_Waiting]] = {}
        for one in self._waiting:
            if (one.z._version, one.a._version) != one.versions:
                one.call.site.keeps_still = False
            elif not one.call.is_summed:
                alike.setdefault(one.z.numel() // one.z.shape[-1], []).append(one)
        self.clear()
        for group in alike.values():
            zs, outputs = [_rows(one.z) for one in group], [_rows(one.a) for one in group]
            gates = [one.gate for one in group]
            with Apart(zs[0]):
                together = sums_together(tuple(one.call.site.key for one in group), zs, gates, outputs)
            for i, one in enumerate(group):
                one.call.together, one.call.index = together, i


def _rows(values: Tensor) -> Tensor:
    return values if values.dim() == 2 else values.reshape(-1, values.shape[-1])
