"""Activations as torch modules, made from what a recipe names."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function_unary

from gradscope.activations import OWN, TABLE, ActivationSpec
from gradscope.errors import CodeError
from gradscope.user_code import load_reference, running_user_code


def build_activation(spec: ActivationSpec, *, allow_code: bool, where: str = "") -> nn.Module:
    """Return a new module for one activation.

    Raises:
        CodeError: the user's own callable may not be run, fails, or does not keep the shape of its input.
    """
    if not spec.is_reference:
        if spec.name in OWN:
            return CentredSigmoid()
        module = getattr(nn, TABLE[spec.name].torch_class)(**spec.parameters)
        assert isinstance(module, nn.Module)
        return module
    found = load_reference(spec.name, allowed=allow_code, where=where)
    built = _from_callable(spec.name, found, where)
    _check_elementwise(spec.name, built, where)
    return built


def module_classes() -> tuple[type[nn.Module], ...]:
    """Return torch.nn's element-wise activation classes, the identity left out."""
    return tuple(getattr(nn, entry.torch_class) for name, entry in TABLE.items() if name != "none")


class CentredSigmoid(nn.Module):
    """2 sigmoid(z) - 1, which is tanh(z / 2): the sigmoid's shape around 0, where the outputs' mean is near 0."""

    def forward(self, z: Tensor) -> Tensor:
        """Apply the function."""
        return torch.tanh(z / 2)


class Elementwise(nn.Module):
    """A plain function of a tensor as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, z: Tensor) -> Tensor:
        """Apply the function. A torch function mode sees the whole as one function, not what it is made of."""
        if has_torch_function_unary(z):
            return handle_torch_function(Elementwise.forward, (z,), self, z)
        return self.function(z)


def _from_callable(name: str, found: object, where: str) -> nn.Module:
    prefix = f"{where}: " if where else ""
    if isinstance(found, type) and issubclass(found, nn.Module):
        with running_user_code(f"{prefix}'{name}' cannot be built"):
            return found()
    if isinstance(found, nn.Module):
        return copy.deepcopy(found)  # each layer of each member has weights of its own
    if not callable(found):
        raise CodeError(f"{prefix}'{name}': expected a function or a torch.nn.Module class, got {type(found).__name__}")
    return Elementwise(found)


def _check_elementwise(name: str, module: nn.Module, where: str) -> None:
    prefix = f"{where}: " if where else ""
    sample = torch.linspace(-2, 2, 6).reshape(2, 3)
    what = f"{prefix}'{name}' failed on a [2, 3] tensor"
    with running_user_code(what), torch.no_grad(), torch.random.fork_rng(devices=[]):
        result = module(sample)
    shape = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
    if shape != (2, 3):
        raise CodeError(f"{prefix}'{name}': expected an element-wise function, [2, 3] in and out, got {shape} out")
