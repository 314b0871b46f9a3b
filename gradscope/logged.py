"""What the user's loop reports beside the network: its loss and metrics, kept on the device until they are asked for."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradscope.errors import WatchError

_CHUNK = 256  # values on the device that are put together into one tensor
MOST_VALUES = 50_000  # then every second one is let go, the latest ones excepted: a run may last forever


class Series:
    """Numbers in the order of their steps, at most one per step."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self._open: list[Tensor | float] = []
        self._chunks: list[Tensor] = []
        self._host: NDArray[np.float32] = np.empty(0, np.float32)  # every `_stride`-th value
        self._stride, self._copied = 1, 0

    def put(self, step: int, value: Tensor | float) -> None:
        """Append a value, or replace that of the same step."""
        if self.steps and self.steps[-1] == step and self._open:
            self._open[-1] = value
            return
        self.steps.append(step)
        self._open.append(value)
        if len(self._open) > _CHUNK:
            kept = self._open.pop()
            self._chunks.append(_together(self._open))
            self._open = [kept]

    def values(self) -> NDArray[np.float32]:
        """Return all values, copied to the host once each (but for the last, which may yet be replaced)."""
        if self._chunks:
            new = np.concatenate([chunk.cpu().numpy() for chunk in self._chunks])
            self._chunks = []
            self._keep(new)
        rest = [_together(self._open).cpu().numpy()] if self._open else []
        return np.concatenate([self._host, *rest])

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
    """Return what a series keeps of a logged value: no graph, no copy to the host, but one beside it, as sums go on in place.

    Raises:
        WatchError: it is not one number.
    """
    if isinstance(value, Tensor):
        if not value.dim() and value.is_floating_point():  # nearly always
            return value.detach().clone()
        if value.numel() != 1 or value.is_complex():
            raise WatchError(f"log: {name}: expected one number, got a tensor of shape {list(value.shape)}; log its mean")
        return value.detach().reshape(()).clone()
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
