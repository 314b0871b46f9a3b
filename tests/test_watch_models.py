"""Models as people train them, under gradscope.watch: it sees every non-linearity, changes no bit, leaves nothing behind."""

import copy
import functools
import gc
import os
import random
import re
import subprocess
import sys
import weakref
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pytest
import torch
import watched_models
from torch import nn
from torch._subclasses import FakeTensor
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks
from torch.overrides import _get_current_function_mode_stack
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack
from watched_models import MODELS

import gradscope

HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)
OPTIMIZER_HOOKS = (
    "_optimizer_step_pre_hooks",
    "_optimizer_step_post_hooks",
    "_optimizer_state_dict_pre_hooks",
    "_optimizer_state_dict_post_hooks",
    "_optimizer_load_state_dict_pre_hooks",
    "_optimizer_load_state_dict_post_hooks",
)
SMALL = [name for name, model in MODELS.items() if not model.is_large]
LARGE = [name for name, model in MODELS.items() if model.is_large]
SCHEDULES = {"default": {}, "every": {"every": 1}, "every 7": {"every": 7}}
IDENTICAL_STEPS, SLOW_STEPS = 100, 30


@functools.cache
def untrained(name):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return MODELS[name].build()


@functools.cache
def data(name):
    return MODELS[name].data()


def built(name):
    model = copy.deepcopy(untrained(name)).train()
    return model, MODELS[name].optimizer(model)


def seed_everything():
    torch.manual_seed(1)
    np.random.seed(2)
    random.seed(3)


def train(name, model, optimizer, steps, batch, scope=None):
    """A loop that draws from more than one source of random numbers, as loops with augmentation do."""
    x, y = data(name)
    losses = []
    for _ in range(steps):
        indices = np.random.permutation(len(x))[:batch].tolist()
        loss = MODELS[name].loss(model(x[indices]), y[indices])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if scope is not None:
            scope.log(loss=loss)
        losses.append(loss.item())
    return losses


def end_of(model, optimizer, losses):
    """All that a training leaves: tensors, numbers and states of random generators, each with its name."""
    _, keys, *rest = np.random.get_state()
    return {
        "loss": losses,
        "weights": model.state_dict(),
        "buffers": dict(model.named_buffers()),
        "gradients": {name: parameter.grad for name, parameter in model.named_parameters()},
        "optimizer": optimizer.state_dict(),
        "torch": torch.get_rng_state(),
        "numpy": [torch.from_numpy(keys.astype(np.int64)), *rest],
        "python": random.getstate(),
    }


def flat(value, path=""):
    if isinstance(value, dict):
        return {k: v for key, inner in value.items() for k, v in flat(inner, f"{path}.{key}").items()}
    if isinstance(value, list | tuple):
        return {k: v for i, inner in enumerate(value) for k, v in flat(inner, f"{path}.{i}").items()}
    return {path: value}


def same(one, other):
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    return one == other


@functools.cache
def trained_alone(name, steps):
    model, optimizer = built(name)
    seed_everything()
    losses = train(name, model, optimizer, steps, batch=2)
    return flat(copy.deepcopy(end_of(model, optimizer, losses)))


def marks(model, optimizer):
    """What could have been hung on a model and its optimizer: attributes, hooks, methods replaced."""
    found = {"optimizer": sorted(vars(optimizer)), "step": type(optimizer).step}
    found |= {hooks: len(getattr(optimizer, hooks)) for hooks in OPTIMIZER_HOOKS}
    for path, module in model.named_modules():
        found[f"{path}: class"], found[f"{path}: attributes"] = type(module), sorted(vars(module))
        found[f"{path}: hooks"] = [len(getattr(module, hooks)) for hooks in HOOKS]
    for path, parameter in model.named_parameters():
        found[f"{path}: parameter"] = type(parameter), sorted(vars(parameter))
        found[f"{path}: hooks"] = [
            len(getattr(parameter, hooks) or ()) for hooks in ("_backward_hooks", "_post_accumulate_grad_hooks")
        ]
    return found


def global_marks():
    optimizer_hooks = dict(_global_optimizer_pre_hooks), dict(_global_optimizer_post_hooks)
    saved = torch._C._autograd._top_saved_tensors_default_hooks(True)
    return _get_current_function_mode_stack(), _get_current_dispatch_mode_stack(), optimizer_hooks, saved, nn.Module.__call__


@pytest.mark.parametrize("name", MODELS)
def test_every_non_linearity_is_seen_or_the_gap_is_named(name):
    expected = MODELS[name]
    model, optimizer = built(name)
    with gradscope.watch(model, optimizer, on_finding="ignore") as scope:
        train(name, model, optimizer, steps=3, batch=2, scope=scope)
    names = [site.name for site in scope.trace.sites]
    assert len(names) == len(expected.sites)
    assert all(fnmatchcase(seen, pattern) for seen, pattern in zip(names, expected.sites, strict=True)), names
    assert scope.coverage.sites_seen == len(expected.sites)
    assert {gap.partition(" (")[0] for gap in scope.coverage.sites_unseen} == set(expected.gaps)
    assert all(re.fullmatch(r"\S+ \(\w+(@watched_models.py:\d+)?\)", gap) for gap in scope.coverage.sites_unseen)
    assert scope.step == 3
    assert scope.trace.steps.tolist() == [0, 1, 2]
    assert scope.trace.samples.tolist() == [2, 2, 2]
    scope.trace.self_check()


@pytest.mark.parametrize("name", MODELS)
def test_every_statistic_of_every_site_is_a_number(name):
    model, optimizer = built(name)
    with gradscope.watch(model, optimizer) as scope:
        train(name, model, optimizer, steps=2, batch=4, scope=scope)
    trace = scope.trace
    missing = {(site.name, s) for s, values in trace.site_statistics.items() for i, site in enumerate(trace.sites)
               if np.isnan(values[:, i]).any()}  # fmt: skip
    missing |= {(site.name, s) for s, values in trace.unit_statistics.items() for i, site in enumerate(trace.sites)
                if np.isnan(values[i]).any()}  # fmt: skip
    assert not missing
    assert (trace.output_grad_norm > 0).all()


def test_a_function_is_named_by_its_line():
    model, optimizer = built("gpt")
    with gradscope.watch(model, optimizer) as scope:
        train("gpt", model, optimizer, steps=1, batch=2)
    lines = Path(watched_models.__file__).read_text().splitlines()
    for site in scope.trace.sites:
        place, line = site.name.split(":")
        function = place.partition("@")[0].rpartition(".")[2]
        assert f"{function}(" in lines[int(line) - 1]


def differences(name, steps, **schedule):
    """Return what differs between a training alone and a watched one."""
    alone = trained_alone(name, steps)
    model, optimizer = built(name)
    seed_everything()
    with gradscope.watch(model, optimizer, on_finding="ignore", **schedule) as scope:
        losses = train(name, model, optimizer, steps, batch=2, scope=scope)
        str(scope.diagnosis)
    watched = flat(end_of(model, optimizer, losses))
    assert watched.keys() == alone.keys()
    assert scope.step == steps
    assert np.isfinite(losses).all()
    return [key for key in alone if not same(alone[key], watched[key])]


@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        *((name, schedule) for name in SMALL for schedule in ("default", "every")),
        ("vgg11", "default"),
        *(pytest.param(name, "every 7", marks=pytest.mark.slow) for name in LARGE),
    ],
)
def test_watching_changes_no_bit(name, schedule):
    found = differences(name, IDENTICAL_STEPS, **SCHEDULES[schedule])
    assert [key for key in found if not key.startswith(".python")] == []  # the type checker of the tests draws from it


def test_watching_draws_no_random_number_of_python():
    """In a process of its own, in which no type checker draws."""
    code = "import test_watch_models as t; print([t.differences(name, 3, every=1) for name in t.SMALL])"
    paths = os.pathsep.join(str(Path(file).parent) for file in (__file__, Path(gradscope.__file__).parent))
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str([[] for _ in SMALL])


@pytest.mark.parametrize("ends", ["in order", "with an error"])
@pytest.mark.parametrize("name", MODELS)
def test_nothing_is_left_behind(name, ends):
    model, optimizer = built(name)
    train(name, model, optimizer, steps=1, batch=2)  # what training itself adds is there already
    before, before_globally = marks(model, optimizer), global_marks()
    scope = gradscope.watch(model, optimizer, on_finding="ignore")
    try:
        with scope:
            train(name, model, optimizer, steps=2, batch=2, scope=scope)
            if ends == "with an error":
                model(data(name)[0][:2])  # a forward pass that no backward pass follows
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert marks(model, optimizer) == before
    assert global_marks() == before_globally
    watched = [
        weakref.ref(model),
        weakref.ref(optimizer),
        *map(weakref.ref, model.modules()),
        *map(weakref.ref, model.parameters()),
    ]
    del model, optimizer
    gc.collect()
    assert [type(left()) for left in watched if left() is not None] == []
    assert scope.coverage.sites_seen == len(MODELS[name].sites)
    assert scope.diagnosis.to_dict()


@pytest.mark.parametrize("name", MODELS)
def test_a_healthy_start_is_not_called_sick(name):
    model, optimizer = built(name)
    seed_everything()
    with gradscope.watch(model, optimizer, on_finding="raise") as scope:
        losses = train(name, model, optimizer, SLOW_STEPS, batch=16, scope=scope)
    assert np.mean(losses[-5:]) < np.mean(losses[:5]), "the start is no healthy one"
    assert scope.trace.samples.sum() >= 300, "the dead-* rules have too little to judge"
    assert [finding.text for finding in scope.diagnosis.findings if finding.severity == "error"] == []
    assert scope.diagnosis.verdict != "sick"
    assert not any(item.crashed for item in scope.diagnosis.undecided)


def test_branches_that_start_small_are_not_called_sick():
    """ConvNeXt multiplies its branches by 1e-6 at first: with SGD they stand still, and the way around them learns."""
    name = "convnext_tiny"
    model, _ = built(name)
    seed_everything()
    optimizer = watched_models.sgd(0.01)(model)
    with gradscope.watch(model, optimizer, on_finding="ignore") as scope:
        losses = train(name, model, optimizer, SLOW_STEPS, batch=16, scope=scope)
    assert losses[-1] < 0.1
    assert [finding.text for finding in scope.diagnosis.findings if finding.severity == "error"] == []


def alive():
    """Return the bytes of all tensors that Python can reach, and how many of those objects hold on to a graph of autograd."""
    gc.collect()
    objects = gc.get_objects()
    tensors = [o for o in objects if issubclass(type(o), torch.Tensor) and not issubclass(type(o), FakeTensor)]  # a compiler's
    graphs = sum(tensor.grad_fn is not None for tensor in tensors)
    graphs += sum(re.fullmatch(r"\w+Backward\d*", type(o).__name__) is not None for o in objects)
    tensors += [tensor.grad for tensor in tensors if tensor.is_leaf and tensor.grad is not None]
    sizes = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return np.array([sum(sizes.values()), graphs])


def held_while_training(name, batch):
    """Train some steps; return the bytes of the trace, those of all new tensors that live between two steps, and the graphs."""
    model, optimizer = built(name)
    train(name, model, optimizer, steps=1, batch=2)  # what training itself keeps is there already
    before = alive()
    with gradscope.watch(model, optimizer, on_finding="ignore", every=1) as scope:
        train(name, model, optimizer, steps=2, batch=batch, scope=scope)
        live, graphs = alive() - before
    trace = scope.trace
    arrays = [values for per_site in trace.unit_statistics.values() for values in per_site]
    arrays += [*trace.site_statistics.values(), *trace.parameter_statistics.values(), trace.output_grad_norm, trace.loss]
    return sum(values.nbytes for values in arrays), live, graphs


@pytest.mark.parametrize("name", MODELS)
def test_memory_does_not_grow_with_the_batch(name):
    (small_trace, small_live, _), (large_trace, large_live, graphs) = (
        held_while_training(name, 4),
        held_while_training(name, 16 if MODELS[name].is_large else 64),
    )
    assert small_trace == large_trace > 0
    assert large_live <= small_live
    assert graphs <= 0
