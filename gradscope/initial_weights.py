"""Initial weights and biases of one linear layer of one member."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from gradscope.recipe import NormalInit


def layer_seed(seed: int, layer: int) -> int:
    """Return the seed of one layer's draw: networks of one seed agree wherever their layers' shapes do.

    A fix that changes the width of one layer leaves the draws of all others as they are.
    """
    return (seed * 1_000_003 + layer) % 2**63


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from this seed on the host within the block; before and after it, torch's random state is what it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every GPU as well
        yield


def initial_linear(
    inputs: int, outputs: int, init: str | NormalInit, seed: int, layer: int, gain: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Return weight [output, input] and bias [output] in float32, the same on every device.

    `default` is exactly what `torch.manual_seed(layer_seed(seed, layer)); torch.nn.Linear(inputs, outputs)` gives; every
    other initialisation sets the biases to zero. torch's global random state is left as it was.

    Args:
        inputs: units of the layer before.
        outputs: units of the layer.
        init: how to draw.
        seed: of the network.
        layer: its number, from 0.
        gain: of the activation before, 1.0 for the first layer (`activation_gain.matched_gain`); for `matched-normal` only.
    """
    with seeded(layer_seed(seed, layer)), torch.no_grad():
        linear = nn.Linear(inputs, outputs, dtype=torch.float32)
        if init != "default":
            linear.bias.zero_()
            _fill(linear.weight, init, gain)
    return linear.weight.detach(), linear.bias.detach()


def _fill(weight: Tensor, init: str | NormalInit, gain: float) -> None:
    if isinstance(init, NormalInit):
        nn.init.normal_(weight, std=init.std)
    elif init == "lecun-normal":  # LeCun et al. 1998, Efficient BackProp: variance 1 / fan-in
        nn.init.normal_(weight, std=weight.shape[1] ** -0.5)
    elif init == "matched-normal":
        nn.init.normal_(weight, std=gain * weight.shape[1] ** -0.5)
    elif init == "zeros":
        nn.init.zeros_(weight)
    elif init in ("orthogonal", "lsuv"):  # `unit_variance` scales the latter on samples
        nn.init.orthogonal_(weight)
    elif init == "kaiming-normal":
        nn.init.kaiming_normal_(weight, nonlinearity="relu")
    elif init == "kaiming-uniform":
        nn.init.kaiming_uniform_(weight, nonlinearity="relu")
    elif init == "xavier-normal":
        nn.init.xavier_normal_(weight)
    else:
        assert init == "xavier-uniform"
        nn.init.xavier_uniform_(weight)
