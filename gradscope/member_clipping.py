"""Clipping of gradients by their norm, of each member of a population by itself."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

SMALLEST = 1e-6
"""Added to a norm that is divided by, as `torch.nn.utils.clip_grad_norm_` does."""


@torch.no_grad()
def clip_members(
    parameters: Sequence[tuple[nn.Parameter, tuple[int, ...]]], members: int, max_norm: float
) -> Float[Tensor, " member"]:
    """Scale each member's gradient so that its norm over all of its parameters is at most `max_norm`; return the norms before.

    Numbers are those of `torch.nn.utils.clip_grad_norm_` on each network alone: a norm that is infinite makes a gradient
    of zeros and NaN, one that is NaN a gradient of NaN, other members' stay what they are. Pascanu et al. 2013, algorithm 1.

    Args:
        parameters: each with the members that lie on its first axis; one of a single member may be of any shape.
        members: how many there are.
        max_norm: above 0.
    """
    held = [(p.grad, rows, torch.tensor(rows, device=p.device)) for p, rows in parameters if p.grad is not None]
    squares = parameters[0][0].new_zeros(members)
    for gradient, rows, places in held:
        squares.index_add_(0, places, torch.linalg.vector_norm(gradient.reshape(len(rows), -1), dim=1).square())
    norms = squares.sqrt()
    longer = norms + SMALLEST
    factors = torch.where(longer < max_norm, torch.ones_like(norms), max_norm / longer)  # no clamp: it might be a site
    for gradient, rows, places in held:
        factor = factors[places]
        gradient.mul_(factor[0] if len(rows) == 1 else factor.view(-1, *[1] * (gradient.dim() - 1)))
    return norms
