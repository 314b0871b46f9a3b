"""How much of one layer the gradient reaches, member by member, over a span of training steps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from gradscope.rules.vanishing_gradient import LEFT_FRAC
from gradscope.stack import Population, StackLayer
from gradscope.statistics import SATURATED_SLOPE
from gradscope.unit_gates import Gates


class GradientProbe:
    """Adds up, over steps and samples, the gradients at a layer's pre-activations z and activations a, and at the output."""

    def __init__(self, gates: Gates, steps: range) -> None:
        """Begin with nothing.

        Args:
            gates: the layer's.
            steps: which training passes to look at, counted from the first one seen.
        """
        self._steps, self._step, self._gates = steps, -1, gates
        self._is_training = False
        self._sums: dict[str, Tensor] = {}
        self._at_a: Tensor | None = None

    def attach(self, network: Population, layer: int) -> list[RemovableHandle]:
        """Look at a layer (counted from 0) of a population from now on; return the hooks, for the caller to remove."""
        host = network.layers[layer]
        assert isinstance(host, StackLayer)
        return [
            network.register_forward_pre_hook(self._begin),
            network.register_forward_hook(self._output),
            host.activation.register_forward_pre_hook(self._before),
            host.activation.register_forward_hook(self._after),
        ]

    def reached_frac(self, *, most_left: float = math.inf) -> NDArray[np.float64]:
        """Return the share of the layer that the gradient reaches, [member].

        Of units that shut (relu) it is the share of units of which the gradient reaches any value; of others (sigmoid, tanh)
        the share of values. A value is reached where the gradient at z is at least 5 % of that at a times the largest slope:
        the 5 % below which a value counts as saturated. Nothing is reached where less than a thousandth of the norm at the
        network's output is left at the layer (what counts as vanished) or more than `most_left`, or where it is not finite.
        """
        sums = {name: value.double().cpu().numpy() for name, value in self._sums.items()}
        shares = sums["reached"] / sums["samples"]
        shares = np.where(self._gates.shuts.cpu().numpy(), shares > 0, shares).mean(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            left = np.sqrt(sums["z"] / sums["output"])
        return np.asarray(np.where((left >= LEFT_FRAC) & (left <= most_left), shares, 0.0))  # a NaN is neither

    @property
    def spread(self) -> NDArray[np.float64]:
        """The standard deviation of z over the batch of the first pass, root mean square over units, [member]."""
        return np.asarray(np.sqrt(self._sums["variance"].double().cpu().numpy()))

    @property
    def _is_looking(self) -> bool:
        return self._is_training and self._step in self._steps

    def _begin(self, module: nn.Module, args: Any) -> None:  # noqa: ANN401
        self._is_training = module.training
        self._step += self._is_training

    def _before(self, module: nn.Module, args: tuple[Tensor]) -> None:
        if self._is_training and self._step == 0:
            self._add("variance", args[0].detach().var(dim=1, correction=0).mean(dim=1))
        if self._is_looking:
            args[0].register_hook(self._at_z)

    def _after(self, module: nn.Module, args: tuple[Tensor], a: Tensor) -> None:
        if self._is_looking and a is not args[0]:
            a.register_hook(self._keep)

    def _output(self, module: nn.Module, args: Any, output: Tensor) -> None:  # noqa: ANN401
        if self._is_looking:
            output.register_hook(lambda gradient: self._add("output", _squares(gradient)))

    def _keep(self, at_a: Tensor) -> None:
        self._at_a = at_a

    def _at_z(self, at_z: Tensor) -> None:
        at_a, self._at_a = self._at_a, None  # the way back comes through a first
        at_a = at_z if at_a is None else at_a  # without an activation they are one
        least = SATURATED_SLOPE * self._gates.largest_slope * at_a.abs()
        self._add("reached", ((at_z.abs() >= least) & (at_z != 0)).sum(dim=1).double())
        self._add("samples", torch.full((len(at_z), 1), at_z.shape[1], device=at_z.device))
        self._add("z", _squares(at_z))

    def _add(self, name: str, value: Tensor) -> None:
        self._sums[name] = self._sums[name] + value if name in self._sums else value


def _squares(gradient: Tensor) -> Tensor:
    """Return the sum of squares per member; by norms, so that small gradients do not underflow before they are summed."""
    squares: Tensor = torch.linalg.vector_norm(gradient, dim=(1, 2)).double().square()
    return squares
