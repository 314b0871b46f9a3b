"""Activation modules of the user's own: element-wise, made of several functions, seen as one."""

from __future__ import annotations

import contextlib
import copy
import inspect
import warnings
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from gradscope.random_states import random_states_kept


def call_module(module: nn.Module, z: Tensor) -> Tensor:
    """Call an element-wise module."""
    output: Tensor = module._call_impl(z)
    return output


def find_user_activations(network: nn.Module) -> list[nn.Module]:
    """Return the modules that act element by element and not linearly, beside torch's own.

    Only modules without parts, parameters or buffers are tried, as copies, on a few numbers; random states are put back.
    """
    return [module for module in network.modules() if _may_be(module) and _is_elementwise(module)]


def _may_be(module: nn.Module) -> bool:
    if type(module).__module__.startswith(("torch.", "gradscope.")) or isinstance(module, torch.jit.ScriptModule):
        return False
    if any(True for _ in (*module.children(), *module.parameters(), *module.buffers())):
        return False
    inputs = list(inspect.signature(type(module).forward).parameters.values())[1:]
    return len(inputs) == 1 and inputs[0].kind in (inputs[0].POSITIONAL_ONLY, inputs[0].POSITIONAL_OR_KEYWORD)


def _is_elementwise(module: nn.Module) -> bool:
    try:
        with _nothing_changed(), torch.no_grad():
            return _judge(copy.deepcopy(module))
    except Exception:  # code of the user's own, called with what it may not be meant for
        return False


def _judge(module: nn.Module) -> bool:
    sample = torch.linspace(-3, 3, 24).reshape(2, 3, 4)
    output = module(sample.clone())
    if not isinstance(output, Tensor) or output.shape != sample.shape or output.dtype != sample.dtype:
        return False
    changed = sample.clone()
    changed[0, 1, 2] += 1
    elsewhere = module(changed) == output
    elsewhere[0, 1, 2] = True
    alike = torch.equal(module(sample.clone()), output) and torch.allclose(module(sample.flatten()).view(2, 3, 4), output)
    rises = output.flatten().diff()
    is_linear = torch.allclose(rises, rises[:1].expand_as(rises), rtol=1e-3)
    return bool(elsewhere.all()) and alike and not is_linear


@contextlib.contextmanager
def _nothing_changed() -> Iterator[None]:
    with random_states_kept(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
