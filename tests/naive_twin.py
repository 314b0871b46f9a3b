"""A training done twice, alone and watched: the bits must be the same, and the trace what plain torch finds by hand."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor

import gradscope

INPUTS, HIDDEN, OUTPUTS, BATCH = 6, 8, 4, 16
STEPS = 3

_kept: dict[str, list[tuple[Tensor, Tensor, int]]] | None = None


def noted(name: str, z: Tensor, a: Tensor, axis: int = -1) -> Tensor:
    """Tell the twin of a non-linearity's input and output, and return the output. Costs nothing where no twin listens."""
    if _kept is not None and not is_functorch_wrapped_tensor(z):
        for tensor in (z, a):
            if tensor.requires_grad:
                tensor.retain_grad()
        _kept.setdefault(name, []).append((z, a, axis))
    return a


@contextlib.contextmanager
def noting():
    global _kept
    _kept = found = {}
    try:
        yield found
    finally:
        _kept = None


@dataclass
class Ending:
    """What a training leaves, and what was noted on the way."""

    model: nn.Module
    state: list[Any]
    scope: Any = None
    kept: list[dict[str, list[tuple[Tensor, Tensor, int]]]] = field(default_factory=list)
    gradients: list[dict[str, float]] = field(default_factory=list)  # rms of each parameter's as the optimizer got it, by step

    @property
    def trace(self):
        return self.scope.trace


def batch(i: int, *shape: int) -> Tensor:
    return torch.randn(BATCH, *(shape or (INPUTS,)), generator=torch.Generator().manual_seed(100 + i))


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1, momentum=0.5)


def plain_step(model, optimizer, i):
    loss = model(batch(i)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


def rms(values: Tensor) -> float:
    values = values.detach().to_dense() if values.is_sparse else values.detach()
    return values.abs().double().square().mean().sqrt().item()


def flat(value):
    if isinstance(value, Tensor):
        return [value.detach().to_dense() if value.is_sparse else value.detach().clone()]
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else []
    return [tensor for inner in values for tensor in flat(inner)]


def train(
    build: Callable[[], nn.Module],
    step: Callable = plain_step,
    *,
    optimizer: Callable = sgd,
    steps: int = STEPS,
    watched: bool,
    watched_part: Callable[[nn.Module], nn.Module] = lambda model: model,
    **options: Any,
) -> Ending:
    torch.manual_seed(3)
    model = build()
    optimizers = optimizer(model)
    several = list(optimizers) if isinstance(optimizers, list | tuple) else [optimizers]
    names = {id(p): name for name, p in model.named_parameters()}
    gradients: list[dict[str, float]] = [{}]

    def before(stepping, args, kwargs):
        held = [p for group in stepping.param_groups for p in group["params"]]
        gradients[-1] |= {names[id(p)]: rms(p.grad) for p in held if p.grad is not None}

    hooks = [] if watched else [one.register_step_pre_hook(before) for one in several]
    torch.manual_seed(4)
    kept, losses = [], []
    options = {"every": 1, "on_finding": "ignore"} | options
    with gradscope.watch(watched_part(model), optimizers, **options) if watched else contextlib.nullcontext() as scope:
        for i in range(steps):
            with contextlib.nullcontext() if watched else noting() as found:
                losses.append(step(model, optimizers, i))
            kept.append(found)
            gradients.append({})
    for hook in hooks:
        hook.remove()
    ends = [losses, model.state_dict(), [p.grad for p in model.parameters()], [one.state_dict()["state"] for one in several]]
    return Ending(model, [*flat(ends), torch.get_rng_state()], scope, kept, gradients[:-1])


def twice(build, step=plain_step, *, alone=None, **options) -> tuple[Ending, Ending]:
    """Train alone and watched, check that the bits are the same and nothing failed to be recorded; return both ends.

    `alone` builds another model to be looked at: one that does the same in a way that is easier to look at.
    """
    plain = {k: v for k, v in options.items() if k in ("optimizer", "steps")}
    first = train(alone or build, step, watched=False, **plain)
    second = train(build, step, watched=True, **options)
    assert same_bits(train(build, step, watched=False, **plain) if alone else first, second)
    assert not lost(second.scope)
    second.trace.self_check()
    return first, second


def same_bits(one: Ending, other: Ending) -> bool:
    return len(one.state) == len(other.state) and all(torch.equal(a, b) for a, b in zip(one.state, other.state, strict=True))


def lost(scope) -> list[str]:
    return [note for note in scope.trace.notes if "could not be recorded" in note]


def rows(tensor: Tensor, axis: int) -> np.ndarray:
    """[sample, unit] in float64."""
    moved = tensor.detach().double()
    return (moved.movedim(axis, -1).flatten(0, -2) if moved.dim() > 1 else moved.unsqueeze(-1)).numpy()


def together(passes, which) -> np.ndarray | None:
    found = [rows(t.grad if grad else t, axis) for z, a, axis in passes for t, grad in [((z, a)[which // 2], which % 2)]
             if not grad or t.grad is not None]  # fmt: skip
    return np.concatenate(found) if found else None


def assert_sites(alone: Ending, watched: Ending, names=None, *, tolerance=2e-4, outputs=True):
    """Compare every statistic of every site at every step; `names` are patterns or None for those that were noted."""
    trace = watched.trace
    assert len(trace.steps) == len(alone.kept)
    wanted = list(alone.kept[0])
    assert len(trace.sites) == len(wanted), ([site.name for site in trace.sites], wanted)
    if names is not None:
        assert [site.name.partition("@")[0] for site in trace.sites] == list(names)
    for record, kept in enumerate(alone.kept):
        for k, passes in enumerate(kept.values()):
            _compare(trace, record, k, passes, tolerance)
    if outputs:
        assert (trace.output_grad_norm > 0).all()


def _compare(trace, record, k, passes, tolerance):
    def same(got, wanted, what, loose=1.0):
        message = f"{what} at {trace.sites[k].name}, step {record}"
        np.testing.assert_allclose(got, wanted, rtol=tolerance * loose, atol=1e-7, err_msg=message)

    z, grad_z, a, grad_a = (together(passes, which) for which in range(4))
    unit = {name: values[k][record] for name, values in trace.unit_statistics.items()}
    site = {name: values[record, k] for name, values in trace.site_statistics.items()}
    assert unit["nonpositive_frac"].shape == (z.shape[1],)
    same(unit["nonpositive_frac"], (z <= 0).mean(0), "nonpositive_frac")
    with np.errstate(divide="ignore"):
        same(unit["common_mode"], np.abs(z.mean(0)) / z.std(0), "common_mode", 20)
    same(site["act_rms"], np.sqrt((a**2).mean()), "act_rms")
    if grad_a is None:
        assert np.isnan(site["gate_transmission"])
        return
    into = np.linalg.norm(grad_a)
    if grad_z is not None:
        same(site["grad_rms"], np.sqrt((grad_z**2).mean()), "grad_rms")
        same(site["gate_transmission"], np.linalg.norm(grad_z) / into if into else np.nan, "gate_transmission")


def assert_parameters(alone: Ending, watched: Ending, *, tolerance=1e-4):
    """Compare the gradients that the optimizer got."""
    trace = watched.trace
    for record, wanted in enumerate(alone.gradients):
        got = dict(zip(trace.parameters, trace.parameter_statistics["grad_rms"][record], strict=True))
        assert wanted.keys() <= got.keys()
        for name, value in wanted.items():
            np.testing.assert_allclose(got[name], value, rtol=tolerance, atol=1e-9, err_msg=f"{name}, step {record}")
