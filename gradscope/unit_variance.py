"""LSUV: orthonormal weights, layer by layer scaled so that the pre-activations of samples have variance 1.

Mishkin & Matas 2016, All you need is a good init, algorithm 1. Biases are zero, so pre-activations are linear in the weights
and one division is exact; the paper's loop is for layers where it is not.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from gradscope.fused_update import linear
from gradscope.initial_weights import layer_seed, seeded
from gradscope.recipe_stack import MOST_LAYERS
from gradscope.stack import MemberNorm, Population, StackLayer

SAMPLES = 256
"""On which variances are measured: of more values than that for each layer, so within a per cent or two of those of all."""


@torch.no_grad()
def scale_to_unit_variance(network: Population, samples: Float[Tensor, " sample *input"]) -> None:
    """Scale the weights of the members whose recipe says `init: lsuv`; all others stay as they are.

    Variance is taken over samples and units, of the linear layer's outputs before any norm. A layer whose outputs are all
    equal, or not finite, is left as it is. Batch-norm is passed with the samples' own statistics and remembers none of them.

    Args:
        network: untrained.
        samples: the training set's, on any device; each member looks at `SAMPLES` of them, chosen by its seed.
    """
    rows = [i for i, member in enumerate(network.members) if member.stack.init == "lsuv"]
    if not rows:
        return
    places = torch.stack([chosen(member.seed, len(samples)) for member in network.members])
    x = samples[places.to(samples.device)].flatten(2).to(network.layers[0].weight.device)  # type: ignore[arg-type]
    with seeded(0):  # activations that draw
        network.eval()
        for layer in network.layers:
            assert isinstance(layer, StackLayer)
            z = linear(x, layer.weight, layer.bias)
            for row in rows:
                std = float(z[row].double().std(correction=0))
                if 0 < std < float("inf"):
                    layer.weight[row] /= std
            _measure_batches(layer)
            x = layer(x)
        network.train()
    for module in network.modules():
        if isinstance(module, MemberNorm):
            module.forget()


def chosen(seed: int, count: int) -> Tensor:
    """Return the indices of the samples that a member looks at: at most `SAMPLES`, another choice for each seed."""
    draw = torch.Generator().manual_seed(layer_seed(seed, 5 * MOST_LAYERS))
    return torch.randperm(count, generator=draw)[:SAMPLES]


def _measure_batches(layer: StackLayer) -> None:
    """Let the layer's norms take statistics of the samples, as in training, where everything else is as in evaluation."""
    for norm in layer.norms:
        norm.train()
