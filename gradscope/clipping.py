"""Notices that gradients are about to be clipped by `torch.nn.utils`: what they were before is read then."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad

CLIPPING_FUNCTIONS: tuple[Callable[..., Any], ...] = (
    torch._foreach_norm,
    torch.linalg.vector_norm,
    torch._foreach_clamp_min_,
    torch._foreach_clamp_max_,
    Tensor.clamp_,
    Tensor.clamp_min_,
    Tensor.clamp_max_,
)
"""The first things that clipping does with gradients, by norm and by value."""

_FILE = clip_grad.__file__
_FURTHEST = 16  # frames between a clipping function and here


def is_clipping() -> bool:
    """Tell whether one of `CLIPPING_FUNCTIONS` is being called by torch's clipping."""
    frame = sys._getframe(1)
    for _ in range(_FURTHEST):
        if frame.f_code.co_filename == _FILE:
            return True
        if frame.f_back is None:
            return False
        frame = frame.f_back
    return False
