"""The loss where a test gives none: cross-entropy for whole numbers, squared error for others."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from gradscope.errors import CodeError, DataError

OWN = "or give a loss=function(output, y)"


def default_loss(output: object, y: object) -> Tensor:
    """Return the mean cross-entropy for targets of an integer type, the mean squared error for floats.

    Classes lie on the output's axis 1, as in torch's own cross-entropy, or on its last one, as in language models.

    Raises:
        CodeError: the output is no tensor of numbers.
        DataError: targets are of another shape, or labels have no output.
    """
    if not isinstance(output, Tensor) or not output.is_floating_point():
        got = f"a tensor of {output.dtype}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
        raise CodeError(f"model: expected a tensor of floats as its output, got {got}; return one, {OWN}")
    if not isinstance(y, Tensor):
        raise DataError(f"data: y: expected a tensor or an array, got a {type(y).__name__}; {OWN[3:]}")
    if y.is_complex():
        raise DataError(f"data: y: expected real numbers, got {y.dtype}; {OWN[3:]}")
    return _squared_error(output, y) if y.is_floating_point() else _cross_entropy(output, y)


def _squared_error(output: Tensor, y: Tensor) -> Tensor:
    if output.shape != y.shape:
        if [n for n in output.shape if n != 1] != [n for n in y.shape if n != 1]:  # [batch] and [batch, 1] are the same
            raise DataError(f"data: y: expected shape {list(output.shape)}, as the model's output, got {list(y.shape)}; {OWN}")
        y = y.reshape(output.shape)
    return functional.mse_loss(output, y.to(output.dtype))


def _cross_entropy(output: Tensor, y: Tensor) -> Tensor:
    shape = list(output.shape)
    if y.dim() == output.dim() and y.dim() > 1 and y.shape[1] == 1:
        y = y.squeeze(1)
    axis = 1
    if output.dim() < 2 or list(y.shape) != [shape[0], *shape[2:]]:
        axis = output.dim() - 1
    if output.dim() < 2 or list(y.shape) not in ([shape[0], *shape[2:]], shape[:-1]):
        wanted = f"one label a sample ({shape[:1]})" if output.dim() < 3 else f"labels of shape {[shape[0], *shape[2:]]}"
        raise DataError(
            f"data: y: expected {wanted} for the model's output of shape {shape}, got {list(y.shape)} of {y.dtype}; {OWN}"
        )
    classes, labels = shape[axis], y.long()
    if classes < 2:
        text = "for a single output unit give floats and a loss=, such as torch.nn.functional.binary_cross_entropy_with_logits"
        raise DataError(f"data: y: expected a model with an output unit for each class, got 1 unit; {text}")
    _check_labels(labels, classes)
    return functional.cross_entropy(output.movedim(axis, -1).flatten(0, -2), labels.flatten())


def _check_labels(labels: Tensor, classes: int) -> None:
    counted = labels[labels != -100]  # which torch's cross-entropy leaves out
    if not counted.numel():
        raise DataError("data: y: expected labels, got only -100, which cross-entropy leaves out")
    low, high = (int(value) for value in torch.aminmax(counted))
    if low < 0 or high >= classes:
        wrong = high if high >= classes else low
        raise DataError(f"data: y: expected labels from 0 to {classes - 1}, as the model has {classes} outputs, got {wrong}")


def checked_loss(loss: object) -> Tensor:
    """Return what a user's loss function returned.

    Raises:
        CodeError: it is not one number that depends on the model's parameters.
    """
    if not isinstance(loss, Tensor):
        raise CodeError(f"loss: expected a tensor of one number, got a {type(loss).__name__}")
    if math.prod(loss.shape) != 1:
        raise CodeError(f"loss: expected a tensor of one number, got shape {list(loss.shape)}; take its mean")
    if not loss.requires_grad:
        raise CodeError("loss: expected one that depends on the model's parameters, got none of a gradient; is it detached?")
    return loss.reshape(())
