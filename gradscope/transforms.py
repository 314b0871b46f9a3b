"""Tensors inside torch.func's transforms (vmap, grad, ...), as plain tensors."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch._C import _functorch


def is_transformed(tensor: Tensor) -> bool:
    """Tell whether a transform of torch.func is at work on the tensor."""
    return bool(_functorch.is_functorch_wrapped_tensor(tensor))


def undisturbed(tensor: Tensor | None) -> AbstractContextManager[Any]:
    """Return a context in which no transform acts on what is computed, where one is at work on the tensor."""
    if tensor is None or not _functorch.is_functorch_wrapped_tensor(tensor):
        return nullcontext()
    return torch._C._DisableFuncTorch()


def without_transforms(tensor: Tensor) -> Tensor:
    """Return the values behind a transformed tensor; what vmap maps over comes first, as further samples."""
    mapped: list[int] = []  # an axis of what stands behind each wrapper, the axes of wrappers further in not counted
    while _functorch.is_functorch_wrapped_tensor(tensor):
        if _functorch.is_batchedtensor(tensor):
            mapped.append(_functorch.maybe_get_bdim(tensor))
        tensor = _functorch.get_unwrapped(tensor)
    for moved, axis in enumerate(reversed(mapped)):
        tensor = tensor.movedim(moved + axis, 0)
    return tensor


def unwrapped(tensor: Tensor) -> Tensor:
    """Return the tensor behind a transformed one, as it is: its graph is that of the plain operations."""
    while _functorch.is_functorch_wrapped_tensor(tensor):
        tensor = _functorch.get_unwrapped(tensor)
    return tensor
