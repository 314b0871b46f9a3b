"""A context to compute in apart from the training."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor

from gradscope.transforms import is_transformed, undisturbed


class Apart:
    """No graph, no autocast, no transforms of torch.func. A class, since it stands in the way of every step looked at."""

    def __init__(self, like: Tensor | None = None) -> None:
        """Take the tensor that is computed with, to know its device."""
        self._like, self._had_grad = like, True
        self._contexts: contextlib.ExitStack | None = None

    def __enter__(self) -> None:
        """Leave the training's contexts."""
        like = self._like
        device = "cpu" if like is None else like.device.type
        if torch.is_autocast_enabled(device) or (like is not None and is_transformed(like)):
            self._contexts = contextlib.ExitStack()
            self._contexts.enter_context(torch.autocast(device, enabled=False))
            self._contexts.enter_context(undisturbed(like))
        self._had_grad = torch.is_grad_enabled()
        torch._C._set_grad_enabled(False)

    def __exit__(self, *error: object) -> None:
        """Go back into them."""
        torch._C._set_grad_enabled(self._had_grad)
        if self._contexts is not None:
            self._contexts.close()
