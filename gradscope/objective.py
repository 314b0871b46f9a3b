"""What a network is trained for and how well it does: losses and metrics, one value per member."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Num
from torch import Tensor
from torch.nn import functional

from gradscope.data import Data

Output = Float[Tensor, "member batch output"]
Target = Num[Tensor, "member batch *output"]

CLASS_LOSSES = ("cross-entropy", "nll")
_aten: Any = torch.ops.aten


def unfit(loss: str, data: Data) -> str | None:
    """Return why a loss does not fit the data, in the words of an error message; None where it does."""
    if loss in CLASS_LOSSES and not data.classes:
        return f"expected mse or bce-with-logits for targets that are numbers ({data.name}), got {loss}"
    if loss == "bce-with-logits" and not data.classes and not _are_shares(data.y_train):
        return f"expected targets from 0 to 1 for bce-with-logits, got others in {data.name}; use mse"
    return None


def losses(kind: str, output: Output, target: Target) -> Float[Tensor, " member"]:
    """Return the mean loss over the batch of each member.

    Class labels become one-hot vectors for mse and bce-with-logits. All is computed by output, as a population's outputs lie.

    Args:
        kind: cross-entropy (over the activated output), nll (the output holds log-probabilities), mse, bce-with-logits.
        output: the networks' outputs.
        target: labels [member batch] or numbers [member batch output].
    """
    if kind in CLASS_LOSSES:
        per_sample = functional.cross_entropy if kind == "cross-entropy" else functional.nll_loss
        return per_sample(output.mT, target, reduction="none").mean(dim=1)
    if not target.is_floating_point():
        target = functional.one_hot(target, output.shape[-1]).to(output.dtype)
    per_element = functional.mse_loss if kind == "mse" else functional.binary_cross_entropy_with_logits
    return per_element(output.mT, target.to(output.dtype).mT, reduction="none").mean(dim=(1, 2))


def losses_with_gradient(kind: str, output: Output, target: Target) -> tuple[Float[Tensor, " member"], Output]:
    """Return each member's loss, see `losses`, and its gradient at the outputs: to the bit what autograd makes of `losses`."""
    if kind != "cross-entropy":
        with torch.enable_grad():
            leaf = output.detach().requires_grad_()
            found = losses(kind, leaf, target)
            (gradient,) = torch.autograd.grad(found, leaf, torch.ones_like(found))
        return found.detach(), gradient
    labels, none, ignored = target.unsqueeze(1), 0, -100  # torch's codes: no reduction; a label that is left out
    logs = torch.log_softmax(output.mT, dim=1)
    each, total = _aten.nll_loss2d_forward(logs.unsqueeze(2), labels, None, none, ignored)
    share = torch.full_like(each, 1 / output.shape[1])
    gradient = _aten.nll_loss2d_backward(share, logs.unsqueeze(2), labels, None, none, ignored, total).squeeze(2)
    return each.squeeze(1).mean(dim=1), _aten._log_softmax_backward_data(gradient, logs, 1, logs.dtype).mT


class Score:
    """The test metric and loss over any number of batches: accuracy for classes, R2 (mean over outputs) for numbers."""

    def __init__(self, kind: str, data: Data) -> None:
        self._kind, self._classes, self._count = kind, data.classes, len(data.y_test)
        self._mean = None if data.classes else data.y_test.mean(dim=0)
        self._right: Tensor | float = 0.0
        self._loss: Tensor | float = 0.0
        self._residual: Tensor | float = 0.0
        self._total: Tensor | float = 0.0

    def add(self, output: Output, target: Target) -> None:
        """Count one batch in."""
        self._loss = self._loss + losses(self._kind, output, target) * output.shape[1]
        if self._mean is None:
            self._right = self._right + (output.argmax(dim=-1) == target).sum(dim=1)
        else:
            self._residual = self._residual + (target - output).square().sum(dim=1)
            self._total = self._total + (target - self._mean).square().sum(dim=1)

    def result(self) -> tuple[Float[Tensor, " member"], Float[Tensor, " member"]]:
        """Return metric and mean loss, per member. R2 leaves out outputs that are constant in the test set."""
        assert isinstance(self._loss, Tensor)
        if self._mean is None:
            assert isinstance(self._right, Tensor)
            return self._right / self._count, self._loss / self._count
        assert isinstance(self._residual, Tensor)
        assert isinstance(self._total, Tensor)
        explained = torch.where(self._total > 0, 1 - self._residual / self._total, torch.nan)
        return explained.nanmean(dim=1), self._loss / self._count


def _are_shares(values: Tensor) -> bool:
    return bool(((values >= 0) & (values <= 1)).all())
