"""Notices a gradient that is not finite in a step that the schedule leaves out, while there is time to look at it after all.

A step later the weights are lost, and every site shows it. Before the optimizer's step they are still in order: the network,
run once more on the batch that it was called with, shows where it begins. For that the network's call is stood in for, which
keeps the batch until the optimizer's step, and one small gradient is asked whether it is finite: a few microseconds a step.

Only on the processor: asking a GPU would hold up each step. Not where anything is compiled, which this would disturb, nor with
closures, which compute the gradient within the step.
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

from gradscope.random_states import random_states_kept
from gradscope.stand_ins import CALL, Call, StandIns

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
        """Begin to keep what the network is called with, if that has not begun; stand down for good once it has looked."""
        if self._handle is None and not self._is_spent:
            self._asked = _last_vector(self._optimizer)
            self._is_spent = self._asked is None
        if self._is_spent:
            self.stand_down()
        elif self._handle is None:
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
            if torch.is_grad_enabled() and not self._is_spent:
                self._inputs = args, kwargs
            return call(*args, **kwargs)

        return called

    def _before_step(self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Ask, and look; the hook itself stays until the step is over, since torch goes through its hooks just now."""
        inputs, self._inputs = self._inputs, None  # kept no longer than the gradients
        if self._is_spent:
            return
        if callable(args[1] if len(args) > 1 else kwargs.get("closure")):
            self._is_spent = True
            return
        gradient = self._asked.grad if self._asked is not None else None
        if inputs is None or gradient is None or getattr(optimizer, "found_inf", None) is not None or _is_finite(gradient):
            return
        self._is_spent = True
        held = (p for group in optimizer.param_groups for p in group["params"] if not is_lazy(p))
        if all(bool(p.isfinite().all()) for p in held):  # else it began before
            self._look(inputs)


def _is_finite(gradient: Tensor) -> bool:
    """Tell whether a small tensor is finite; of a few numbers, asking for each is quicker than an operation for all."""
    total = sum(gradient.tolist()) if gradient.dim() == 1 and len(gradient) <= FEW else gradient.sum().item()
    return math.isfinite(total)


def _last_vector(optimizer: torch.optim.Optimizer) -> Tensor | None:
    """Return the parameter whose gradient is asked: the last one that is a vector, as the output's bias mostly is.

    None where there is none to ask: on a GPU, of a class of its own, complex, or without a shape yet.
    """
    held = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad and not is_lazy(p)]
    vectors = [p for p in held if p.dim() <= 1]
    chosen = (vectors or held)[-1] if held else None
    if chosen is None or type(chosen) not in (nn.Parameter, Tensor) or not chosen.is_floating_point():
        return None
    return chosen if chosen.device.type == "cpu" else None


def copied(value: Any, known: dict[int, Any] | None = None) -> Any:  # noqa: ANN401
    """Return a copy of tensors, arrays, random generators and containers of these; of anything else the thing itself.

    Args:
        value: what to copy.
        known: copies by the identity of what they are of, so that what is shared stays so.
    """
    known = {} if known is None else known
    if id(value) not in known:
        known[id(value)] = value  # a container that holds itself
        known[id(value)] = _copied(value, known)
    return known[id(value)]


def _copied(value: Any, known: dict[int, Any]) -> Any:  # noqa: ANN401
    if type(value) is nn.Parameter:
        return nn.Parameter(value.detach().clone(), requires_grad=value.requires_grad)
    if type(value) is Tensor:
        return value.detach().clone().requires_grad_(value.requires_grad)
    if type(value) is np.ndarray:
        return value.copy()
    if isinstance(value, torch.Generator):
        return value.clone_state()
    if isinstance(value, random.Random):
        drawn = random.Random()
        drawn.setstate(value.getstate())
        return drawn
    if isinstance(value, np.random.Generator):
        again = np.random.Generator(type(value.bit_generator)())
        again.bit_generator.state = value.bit_generator.state
        return again
    if type(value) in (list, tuple, set):
        return type(value)(copied(one, known) for one in value)
    if isinstance(value, dict):
        made = value.copy()  # of the same class
        for key, one in value.items():
            made[key] = copied(one, known)
        return made
    return value


@contextlib.contextmanager
def nothing_changed(network: nn.Module) -> Iterator[None]:
    """Let the network run on copies of its parameters, buffers and other state; leave random states as they were.

    What it keeps in objects of other kinds, and what its hooks do elsewhere, is not covered.
    """
    own = {module: module.__dict__ for module in network.modules()}
    known: dict[int, Any] = {}
    try:
        for module, state in own.items():
            call = {CALL: state[CALL]} if CALL in state else {}
            module.__dict__ = {key: copied(value, known) for key, value in state.items()} | call
        with random_states_kept():
            yield
    finally:
        for module, state in own.items():
            module.__dict__ = state
