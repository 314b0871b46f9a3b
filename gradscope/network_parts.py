"""The network behind its wrappers, and the optimizers behind theirs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from gradscope.errors import WatchError

_WRAPPERS = ("DistributedDataParallel", "DataParallel", "OptimizedModule")
_MOST_WRAPPERS = 16  # around one optimizer; more are a wrapper around itself


@runtime_checkable
class OptimizerWrapper(Protocol):
    """What libraries put around an optimizer of torch's."""

    @property
    def optimizer(self) -> Any:  # noqa: ANN401  another wrapper, perhaps
        """The optimizer within."""


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the network that data-parallel and compiling wrappers stand around."""
    while type(model).__name__ in _WRAPPERS:
        inner = getattr(model, "_orig_mod", None) if type(model).__name__ == "OptimizedModule" else model.module
        assert isinstance(inner, nn.Module)
        model = inner
    return model


def torch_optimizers(given: object) -> list[torch.optim.Optimizer]:
    """Return torch's optimizers behind what was given: one, several, or wrappers with an `optimizer` of their own.

    Raises:
        WatchError: something else was given, or nothing.
    """
    items = list(given) if isinstance(given, Iterable) and not isinstance(given, torch.optim.Optimizer) else [given]
    found: list[torch.optim.Optimizer] = []
    for item in items:
        optimizer = item
        for _ in range(_MOST_WRAPPERS):
            if isinstance(optimizer, torch.optim.Optimizer) and not _is_wrapper(optimizer):
                break
            optimizer = getattr(optimizer, "optimizer", getattr(optimizer, "_optimizer", None))
        else:
            raise WatchError(
                f"watch: optimizer: expected a torch.optim.Optimizer or several, got {type(item).__name__}; "
                "steps are counted by the optimizer's"
            )
        if all(optimizer is not other for other in found):
            found.append(optimizer)
    if not found:
        raise WatchError("watch: optimizer: expected a torch.optim.Optimizer or several, got none")
    return found


def _is_wrapper(optimizer: torch.optim.Optimizer) -> bool:
    """Tell whether it only passes `step` on: Accelerate's optimizer inherits from torch's, but never runs its constructor."""
    return not hasattr(optimizer, "_optimizer_step_pre_hooks") or type(optimizer).__name__ == "AcceleratedOptimizer"
