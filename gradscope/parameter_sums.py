"""What a step is to the parameters: their norms, their gradients' norms, and how far the optimizer moved them."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gradscope import statistics
from gradscope.parameters import MemberParameter, groups_of, momentum_of, wants_copy
from gradscope.statistics import wide

BEFORE_CLIPPING = "grad_norm_before"
# Records between counts of the weights below zero: as dear as three norms, and a step changes next to none of the signs.
SIGNS_EVERY = 10
ALL = "parameters"
"""The place under which a record keeps a statistic of all parameters at once, [parameter]."""

# Optimizers that shrink the weights themselves by learning rate times decay; Muon came with torch 2.9.
_DECOUPLED = (torch.optim.AdamW, torch.optim.Adafactor, *([torch.optim.Muon] if hasattr(torch.optim, "Muon") else []))

Found = dict[tuple[str, str], Tensor]


def place_of(parameter: int) -> str:
    """Return the place under which a record keeps a statistic of one parameter."""
    return f"parameter {parameter}"


class ParameterSums:
    """Looks at the parameters of one network, step by step."""

    def __init__(self, parameters: Sequence[MemberParameter], members: int, left_over: Sequence[int]) -> None:
        """Take the parameters and, by number, those that no optimizer holds."""
        self.parameters, self.members = parameters, members
        self._left_over = left_over
        self._places = {id(p.parameter): i for i, p in enumerate(parameters)}
        self._is_plain = not any(p.is_stacked for p in parameters)
        self._copies: dict[nn.Parameter, Tensor | None] = {}  # None: the optimizer's state tells the step
        self._own = [p.parameter for p in parameters]
        self._is_fast = False  # gradients, weights and steps can be taken in one go
        self._norms: list[Tensor] = []  # of gradients, weights and steps, where they are
        self.found: Found = {}
        self.sparse: set[int] = set()  # parameters that had a gradient of which there are no statistics

    def begin(self) -> None:
        """Forget the last step."""
        self.found, self._copies, self._norms = {}, {}, []

    def decay_rates(self, optimizers: Sequence[torch.optim.Optimizer]) -> list[float]:
        """Return what weight decay alone shrinks each parameter by in a step, in units of its size; copies tensor rates.

        Where decay is part of the gradient and passes through an adaptive scaling, its share is not known and given as 0.
        """
        rates = [0.0] * len(self.parameters)
        for optimizer in optimizers:
            for key, group in groups_of(optimizer).items():
                if key in self._places:
                    rates[self._places[key]] = _decay_rate(optimizer, group)
        return rates

    def take_unclipped(self) -> None:
        """Take the gradients before they are clipped."""
        present = [i for i, p in enumerate(self.parameters) if p.gradient is not None]
        self._put(BEFORE_CLIPPING, present, [self._gradient(i) for i in present])

    def take_gradients(self, optimizer: torch.optim.Optimizer, *, looks_at_signs: bool) -> None:
        """Take weights and gradients as an optimizer will use them, and the weights' signs if wanted."""
        if not looks_at_signs and self._take_all_gradients(optimizer):
            return
        groups, parameters = groups_of(optimizer), self._own
        self._is_fast = self._can_be_fast(optimizer)
        self.sparse |= {i for i, p in enumerate(parameters) if p.grad is not None and p.grad.is_sparse}
        held = [i for i, p in enumerate(parameters) if id(p) in groups and p.grad is not None and not p.grad.is_sparse]
        left = [i for i in self._left_over if self.parameters[i].gradient is not None]
        present = held + left
        scale = getattr(optimizer, "grad_scale", None)  # a fused optimizer unscales within its step
        self._put("grad_norm", present, [self._gradient(i) for i in present], None if scale is None else 1 / scale)
        self._put("weight_norm", present, [parameters[i] for i in present])
        if looks_at_signs:
            for i in present:
                share = statistics.nonpositive_weight_frac(self.parameters[i].values)
                self.found[place_of(i), "nonpositive_weight_frac"] = self._spread(i, share)
        copies = wants_copy(optimizer)
        for i in held:
            self._copies[parameters[i]] = parameters[i].detach().clone() if copies else None
        for i in left:
            values = self.parameters[i].values
            self.found[place_of(i), "update_norm"] = self._spread(i, values.new_zeros(len(values)))

    def take_updates(self, optimizer: torch.optim.Optimizer) -> None:
        """Take how far the step that the optimizer has just made moved its parameters."""
        if self._norms:
            self._take_all_updates(optimizer)
            return
        for group in optimizer.param_groups if self._copies else ():
            steps = list(self._steps(optimizer, group))
            for is_whole in (False, True):
                chosen = [(i, step) for i, step, whole in steps if whole == is_whole]
                factor = None if is_whole else group["lr"]
                self._put("update_norm", [i for i, _ in chosen], [step for _, step in chosen], factor)

    def _take_all_gradients(self, optimizer: torch.optim.Optimizer) -> bool:
        """Take the gradients in one go where that is plain: one group that holds all parameters in order, SGD with momentum.

        How the tensors are made (dense, on one device, ...) was looked at in the last record that went the long way.
        """
        groups = optimizer.param_groups
        if not self._is_fast or len(groups) != 1 or wants_copy(optimizer) or getattr(optimizer, "grad_scale", None) is not None:
            return False
        chosen: list[nn.Parameter] = groups[0]["params"]
        if len(chosen) != len(self.parameters) or not all(map(operator.is_, chosen, self._own)):
            return False
        gradients = [parameter.grad for parameter in chosen]
        if any(gradient is None or gradient.is_sparse for gradient in gradients):
            return False
        self._norms = [*torch._foreach_norm(gradients), *torch._foreach_norm(chosen)]  # type: ignore[arg-type]
        return True

    def _take_all_updates(self, optimizer: torch.optim.Optimizer) -> None:
        """Take the steps of all parameters in one go: the momentum, in units of the learning rate."""
        count = len(self._own)
        momenta = [momentum_of(optimizer, parameter) for parameter in self._own]
        known = [momentum for momentum in momenta if momentum is not None]
        if len(known) == count:
            self._norms += torch._foreach_norm(known)
        norms = torch.stack(self._norms)
        self.found[ALL, "grad_norm"], self.found[ALL, "weight_norm"] = norms[:count], norms[count : 2 * count]
        if len(norms) > 2 * count:
            self.found[ALL, "update_norm"] = norms[2 * count :].mul_(optimizer.param_groups[0]["lr"])
        self._norms = []  # another optimizer's step may follow

    def _can_be_fast(self, optimizer: torch.optim.Optimizer) -> bool:
        """Tell whether all parameters, gradients and momenta are dense numbers on one device."""
        if not self._is_plain or not self._own:
            return False
        buffers = [momentum_of(optimizer, parameter) for parameter in self._own]
        tensors = [*self._own, *(parameter.grad for parameter in self._own), *buffers]
        device = self._own[0].device
        return all(t is not None and not t.is_sparse and t.dtype is torch.float32 and t.device == device for t in tensors)

    def _steps(self, optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> Iterator[tuple[int, Tensor, bool]]:
        """Yield the step of each of a group's parameters, whole or still to be multiplied by the learning rate."""
        for parameter in group["params"]:
            if parameter not in self._copies:
                continue
            before, i = self._copies.pop(parameter), self._places[id(parameter)]
            if before is not None:
                yield i, parameter.detach() - before, True
                continue
            momentum = momentum_of(optimizer, parameter)
            yield i, torch.zeros_like(parameter) if momentum is None else momentum, False

    def _gradient(self, i: int) -> Tensor:
        gradient = self.parameters[i].parameter.grad
        assert gradient is not None
        return gradient

    def _put(
        self, statistic: str, where: Sequence[int], tensors: Sequence[Tensor], factor: float | int | Tensor | None = None
    ) -> None:
        """Note the norms of tensors that are shaped like the parameters at some places, all of them at once if it may be."""
        if not where:
            return
        if not self._is_plain:
            rows = [t if self.parameters[i].is_stacked else t[None] for i, t in zip(where, tensors, strict=True)]
            norms = [statistics.plain_norm(row) for row in rows]
        else:
            norms = _norms(tensors)
            if len(where) == len(self.parameters) and where == list(range(len(where))) and _on_one_device(norms):
                together = torch.stack(norms)
                self.found[ALL, statistic] = together if factor is None else together * factor
                return
        for i, norm in zip(where, norms, strict=True):
            self.found[place_of(i), statistic] = self._spread(i, norm if factor is None else norm * factor)

    def _spread(self, i: int, value: Tensor) -> Tensor:
        """Return a number per member; one network's is a number without axes."""
        return value.reshape(()) if self._is_plain else self.parameters[i].spread(value, self.members)


def _decay_rate(optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> float:
    decay = group.get("weight_decay") or 0.0
    if isinstance(optimizer, torch.optim.SGD):
        momentum = float(group.get("momentum") or 0.0)
        gain = (1 - float(group.get("dampening") or 0.0)) if momentum else 1.0
        return float(group["lr"]) * float(decay) * gain / (1 - momentum) if momentum < 1 else 0.0
    is_decoupled = isinstance(optimizer, _DECOUPLED) or group.get("decoupled_weight_decay", False)
    return float(group["lr"]) * float(decay) if is_decoupled else 0.0


def _on_one_device(tensors: Sequence[Tensor]) -> bool:
    first = tensors[0]
    return all(tensor.device == first.device and tensor.dtype == first.dtype for tensor in tensors)


def _norms(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the Euclidean norms."""
    return list(torch._foreach_norm([wide(tensor) for tensor in tensors]))
