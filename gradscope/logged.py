"""What the user's loop reports beside the network: its loss and metrics, kept on the device until they are asked for."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradscope.errors import WatchError

_CHUNK = 256  # values on the device that are put together into one tensor
_SEEN = 8  # values copied at first, to see whether they are ever written into
_OWN_BYTES = 64  # of a value that is not part of something larger
MOST_VALUES = 50_000  # then every second one is let go, the latest ones excepted: a run may last forever


class Series:
    """Numbers in the order of their steps, at most one per step.

    On the CPU a loss is a new tensor at each step, and kept as it is; a copy of it would be the dearest part of a step that is
    not looked at. What is written into, as a running sum is, or is part of something larger, is copied.
    """

    def __init__(self) -> None:
        self.steps: list[int] = []
        self._open: list[Tensor | float] = []
        self._versions: list[int] = []  # of those, to see that nobody has written into them
        self._last: Tensor | None = None  # as it was given
        self._last_version = 0
        self._seen, self._copies = 0, False
        self._chunks: list[Tensor] = []
        self._host: NDArray[np.float32] = np.empty(0, np.float32)  # every `_stride`-th value
        self._stride, self._copied = 1, 0

    def put(self, step: int, value: Tensor | float) -> None:
        """Append a value, or replace that of the same step; a tensor without graph."""
        version = 0
        if isinstance(value, Tensor) and not value.is_cpu:
            value = value.clone()  # CUDA graphs write into their outputs again, and no version tells
        elif isinstance(value, Tensor):
            version, last = value._version, self._last
            self._last = value
            if last is not None and (last._version != self._last_version or last.data_ptr() == value.data_ptr()):
                self._copies = True
            self._last_version = version
            if self._copies or self._seen < _SEEN:
                self._seen += 1
                self._copies |= value.untyped_storage().nbytes() > _OWN_BYTES
                value, version = value.clone(), 0
        if self.steps and self.steps[-1] == step and self._open:
            self._open[-1], self._versions[-1] = value, version
            return
        self.steps.append(step)
        self._open.append(value)
        self._versions.append(version)
        if len(self._open) > _CHUNK:
            self._drop_overwritten()
            if len(self._open) > 1:
                self._chunks.append(_together(self._open[:-1]))
                self._open, self._versions = self._open[-1:], self._versions[-1:]

    def values(self) -> NDArray[np.float32]:
        """Return all values, copied to the host once each (but for the last, which may yet be replaced)."""
        self._drop_overwritten()
        if self._chunks:
            new = np.concatenate([chunk.cpu().numpy() for chunk in self._chunks])
            self._chunks = []
            self._keep(new)
        rest = [_together(self._open).cpu().numpy()] if self._open else []
        return np.concatenate([self._host, *rest])

    def _drop_overwritten(self) -> None:
        """Let go of values that were written into after they were put: NaN in their place would be taken for the loss's."""
        start = len(self.steps) - len(self._open)
        rows = zip(self.steps[start:], self._open, self._versions, strict=True)
        left = [row for row in rows if not isinstance(row[1], Tensor) or row[1]._version == row[2]]
        if len(left) < len(self._open):
            self.steps[start:] = [step for step, _, _ in left]
            self._open, self._versions = [value for _, value, _ in left], [version for _, _, version in left]

    def _keep(self, new: NDArray[np.float32]) -> None:
        """Append values to those on the host, at one stride over the whole run."""
        start = len(self._host)
        steps, new_steps, latest = self.steps[:start], self.steps[start : start + len(new)], self.steps[start + len(new) :]
        first = -self._copied % self._stride
        self._copied += len(new)
        self._host = np.concatenate([self._host, new[first :: self._stride]])
        steps += new_steps[first :: self._stride]
        while len(self._host) > MOST_VALUES:
            self._host, steps, self._stride = self._host[::2].copy(), steps[::2], self._stride * 2
        self.steps = steps + latest


def as_number(name: str, value: object) -> Tensor | float:
    """Return a logged value without its graph; nothing is copied to the host.

    Raises:
        WatchError: it is not one number.
    """
    if isinstance(value, Tensor):
        if not value.dim() and value.is_floating_point():  # nearly always
            return value.detach()
        if value.numel() != 1 or value.is_complex():
            raise WatchError(f"log: {name}: expected one number, got a tensor of shape {list(value.shape)}; log its mean")
        return value.detach().reshape(())
    if isinstance(value, np.ndarray | np.generic) and value.size == 1 and value.dtype.kind in "biuf":
        return float(value.item())
    if isinstance(value, int | float):
        return float(value)
    raise WatchError(f"log: {name}: expected a number or a tensor of one, got {type(value).__name__}")


def _together(values: list[Tensor | float]) -> Tensor:
    device = next((value.device for value in values if isinstance(value, Tensor)), torch.device("cpu"))
    parts = [value.to(device, torch.float32) if isinstance(value, Tensor) else _constant(value, device) for value in values]
    return torch.stack(parts)


def _constant(value: float, device: torch.device) -> Tensor:
    return torch.full((), value, dtype=torch.float32, device=device)
