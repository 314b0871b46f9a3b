"""The gradients that arrive at a site and leave it, measured when they pass in the backward pass, and not kept."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gradscope import statistics
from gradscope.autograd_graph import Node, comes_straight_from
from gradscope.timing import Timed
from gradscope.transforms import without_transforms


@dataclass
class Gradients:
    """Norms of Ga and Gz of one pass; the last backward through the site counts (a penalty's comes before the loss's)."""

    has_members: bool
    timed: Timed
    into_gate: Tensor | None = None  # norm of Ga
    out_of_gate: Tensor | None = None  # norm of Gz
    hooked_before: bool = False  # Gz is read from z itself

    def take(self, into_gate: Tensor | None, out_of_gate: Tensor | None) -> None:
        """Measure gradients that pass."""
        if torch.is_grad_enabled():  # the graph of a penalty is being made
            with torch.no_grad():
                self.take(into_gate, out_of_gate)
            return
        with self.timed:
            if into_gate is not None:
                self.into_gate = measure(into_gate, self.has_members)
            if out_of_gate is not None:
                self.out_of_gate = measure(out_of_gate, self.has_members)

    @property
    def has_come(self) -> bool:
        """Whether a backward pass has reached the site."""
        return self.into_gate is not None or self.out_of_gate is not None


def measure(gradient: Tensor, has_members: bool) -> Tensor:
    """Return a gradient's norm per member, one network's without axes; see `statistics.norm`."""
    plain = without_transforms(gradient)
    if has_members or plain.is_mps:
        return statistics.norm(plain if has_members else plain.unsqueeze(0)).squeeze(0)
    norm: Tensor = torch.linalg.vector_norm(plain, dtype=torch.float64)
    return norm.float()  # numbers of one type are put together fastest


def hook_output(output: Tensor, z: Tensor, made_z: Node | None, into: Gradients) -> bool:
    """Fill `into` when the gradient passes; return whether Gz will be had as well.

    One operation's own gradients are exact where z feeds others, too; of several operations only the output's can be had.
    """
    if not comes_straight_from(output, z, made_z):
        output.register_hook(lambda gradient: into.take(gradient, None))
        return False

    assert output.grad_fn is not None
    output.grad_fn.register_hook(lambda sent, arrived: into.take(arrived[0], sent[0] if sent else None))
    return True


def hook_before(z: Tensor, into: Gradients) -> None:
    """Fill in Gz from the tensor itself: all that flows back into z."""
    into.hooked_before = True
    z.register_hook(lambda gradient: into.take(None, gradient))


def hook_network(output: Tensor, into: Gradients) -> None:
    """Fill in the gradient at the network's output."""
    output.register_hook(lambda gradient: into.take(gradient, None))


def combined(norms: list[Tensor], *, drop_overflows: bool) -> Tensor | None:
    """Return the norm over several passes together, None for no pass.

    Args:
        norms: of each pass.
        drop_overflows: leave out passes that are not finite where others are: under a loss scale they overflowed, and the
            optimizer's step after them was left out.
    """
    if len(norms) < 2:
        return norms[0] if norms else None
    together = torch.stack(norms, dim=-1)
    if drop_overflows:
        finite = together.isfinite()
        together = torch.where(finite | ~finite.any(dim=-1, keepdim=True), together, 0)
    return together.double().square().sum(dim=-1).sqrt()
