"""Notices a gradient that is not finite in a step that the schedule leaves out, while there is time to look at it after all.

A step later the weights are lost, and every site shows it. Before the optimizer's step they are still in order: the network,
run once more on the batch that it was called with, shows where it begins. For that the network's call is stood in for, which
keeps the batch until the optimizer's step, and one small gradient is asked whether it is finite: a few microseconds a step.

Only on the processor: asking a GPU would hold up each step. Not where anything is compiled, which this would disturb.
"""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from gradscope.stand_ins import Call, StandIns

FEW = 128
Inputs = tuple[tuple[Any, ...], dict[str, Any]]


class LateLook:
    """Stands by in the steps that are not looked at; at the first gradient that is not finite it calls `look`, once."""

    def __init__(self, network: nn.Module, optimizer: torch.optim.Optimizer, look: Callable[[Inputs], None]) -> None:
        """Prepare; nothing is attached yet.

        Args:
            network: what is called.
            optimizer: the only one.
            look: is called before the optimizer's step, with what the network was last called with.
        """
        self._network, self._optimizer, self._look = network, optimizer, look
        self._asked: Tensor | None = None
        self._stand_ins = StandIns()
        self._handle: Any = None
        self._inputs: Inputs | None = None
        self._is_spent = False

    def stand_by(self) -> None:
        """Begin to keep what the network is called with, if that has not begun."""
        if self._handle is None and not self._is_spent:
            self._asked = _last_vector(self._optimizer)
            self._is_spent = self._asked is None
        if self._handle is None and not self._is_spent:
            self._stand_ins.put(self._network, self._keeping)
            self._handle = self._optimizer.register_step_pre_hook(self._before_step)

    def stand_down(self) -> None:
        """Leave the network and the optimizer as they were."""
        if self._handle is not None:
            self._handle.remove()
            self._stand_ins.clear()
            self._handle = self._inputs = None

    def _keeping(self, call: Call) -> Call:
        def called(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            if torch.is_grad_enabled():
                self._inputs = args, kwargs
            return call(*args, **kwargs)

        return called

    def _before_step(self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        inputs, self._inputs = self._inputs, None  # kept no longer than the gradients
        gradient = self._asked.grad if self._asked is not None else None
        if inputs is None or gradient is None or len(args) > 1 or kwargs:  # a closure has yet to compute it
            return
        if not _is_finite(gradient):
            self._is_spent = True
            self.stand_down()
            self._look(inputs)


def _is_finite(gradient: Tensor) -> bool:
    """Tell whether a small tensor is finite; of a few numbers, asking for each is quicker than an operation for all."""
    total = sum(gradient.tolist()) if gradient.dim() == 1 and len(gradient) <= FEW else gradient.sum().item()
    return math.isfinite(total)


def _last_vector(optimizer: torch.optim.Optimizer) -> Tensor | None:
    """Return the parameter whose gradient is asked: the last one that is a vector, as the output's bias mostly is.

    None where there is none to ask: on a GPU, of a class of its own, or without a shape yet.
    """
    held = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad and not is_lazy(p)]
    vectors = [p for p in held if p.dim() <= 1]
    chosen = (vectors or held)[-1] if held else None
    can_ask = chosen is not None and type(chosen) in (nn.Parameter, Tensor) and chosen.device.type == "cpu"
    return chosen if can_ask else None


@contextlib.contextmanager
def nothing_changed(network: nn.Module) -> Iterator[None]:
    """Leave random states and the network's buffers as they were before the block."""
    of_python, of_numpy = random.getstate(), np.random.get_state()
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
