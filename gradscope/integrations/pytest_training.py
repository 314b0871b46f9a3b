"""A short training of a test's model, watched: one trace for each seed."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from gradscope.errors import CodeError, WatchError
from gradscope.integrations.pytest_batches import Batch, BatchSource, mapped
from gradscope.integrations.pytest_loss import checked_loss, default_loss
from gradscope.integrations.pytest_state import seed_all
from gradscope.scope import watch
from gradscope.trace import Trace
from gradscope.user_code import running_user_code

# Where the user names no optimizer: small enough for networks of a few layers to be safe from steps that kill relus.
LR, MOMENTUM = 0.01, 0.9


@dataclass(frozen=True)
class Plan:
    """How a model is trained, beside its data."""

    steps: int
    seeds: Sequence[int]
    loss: Callable[[Any, Any], Any] | None = None
    optimizer: Callable[[Any], Any] | None = None
    sites: str | Sequence[str] = ()


def train_watched(model: object, data: object, source: BatchSource, plan: Plan) -> list[Trace]:
    """Train a copy of a model, or new ones, once for each seed, and return what was recorded.

    A given model keeps its weights, and the seed draws the order of the batches, dropout and the like; a function that returns
    a model draws its initial weights from the seed, too. To be called `apart`.

    Args:
        model: a module, or a function (or class) that returns a new one.
        data: what `source` was made of.
        source: its batches.
        plan: the rest.

    Raises:
        CodeError: code of the user's own failed, or returned what cannot be trained.
        DataError: the data are unfit.
        WatchError: the model or an argument is unfit.
    """
    traces = []
    for seed in plan.seeds:
        seed_all(seed, data)
        traces.append(replace(_train(_network(model), source, plan, seed), seed=seed))
    return traces


def _network(model: object) -> nn.Module:
    if isinstance(model, nn.Module):
        try:
            return copy.deepcopy(model).train()
        except Exception as error:
            text = " ".join(str(error).split())[:200]
            raise CodeError(f"model: cannot be copied ({text}); give a function that returns a new one") from error
    assert callable(model)
    with running_user_code("model: the function that makes it failed"):
        made = model()
    if not isinstance(made, nn.Module):
        raise CodeError(f"model: expected a function that returns a torch.nn.Module, got a {type(made).__name__} from it")
    return made.train()


def _train(network: nn.Module, source: BatchSource, plan: Plan, seed: int) -> Trace:
    batches = source.batches(seed)
    if any(is_lazy(parameter) for parameter in network.parameters()):
        first = next(batches)
        batches = itertools.chain([first], batches)
        with torch.no_grad():
            _output(network, _moved(first, network)[0], 0)
    optimizer = _optimizer(network, plan)
    with watch(network, optimizer, every=1, sites=plan.sites, on_finding="ignore") as scope:
        for step, batch in zip(range(plan.steps), batches, strict=False):
            loss = _loss(network, _moved(batch, network), plan, step)
            with running_user_code(f"optimizer: failed at step {step}"):
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            scope.log(loss=loss)
    return scope.trace


def _optimizer(network: nn.Module, plan: Plan) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not parameters:
        frozen = "all of its parameters are frozen" if any(True for _ in network.parameters()) else "it has no parameters"
        raise WatchError(f"model: expected one that can be trained, got {type(network).__name__}: {frozen}")
    if plan.optimizer is None:
        return torch.optim.SGD(parameters, lr=LR, momentum=MOMENTUM)
    with running_user_code("optimizer: the function that makes it failed"):
        made = plan.optimizer(parameters)
    if not isinstance(made, torch.optim.Optimizer):
        raise CodeError(f"optimizer: expected a function that returns a torch.optim.Optimizer, got a {type(made).__name__}")
    return made


def _loss(network: nn.Module, batch: Batch, plan: Plan, step: int) -> Tensor:
    x, y = batch
    output = _output(network, x, step)
    if plan.loss is None:
        return checked_loss(default_loss(output, y))
    with running_user_code(f"loss: failed at step {step}"):
        loss = plan.loss(output, y)
    return checked_loss(loss)


def _output(network: nn.Module, x: Any, step: int) -> Any:  # noqa: ANN401
    with running_user_code(f"model: failed at step {step} on x {_shapes(x)}"):
        if isinstance(x, Mapping):
            return network(**x)
        return network(*x) if isinstance(x, tuple) else network(x)


def _shapes(x: Any) -> str:  # noqa: ANN401
    def shape(value: object) -> str:
        return f"of shape {list(value.shape)}" if isinstance(value, Tensor) else f"of type {type(value).__name__}"

    shapes = mapped(shape, x)
    return shapes if isinstance(shapes, str) else str(shapes)


def _moved(batch: Batch, network: nn.Module) -> Batch:
    """Return the batch on the device of the model's first parameter."""
    device = next(network.parameters()).device
    x, y = mapped(lambda value: value.to(device) if isinstance(value, Tensor) else value, batch)
    return x, y
