"""The arms of a trial as networks: control, fixes and the reseed baseline, packed into as few populations as can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import nn

from gradscope.data import Data
from gradscope.effects import CONTROL, PLACEBO, RESEED
from gradscope.errors import CodeError
from gradscope.fixes import find_fix
from gradscope.initial_weights import seeded
from gradscope.member_traces import MemberName
from gradscope.recipe import Recipe
from gradscope.stack import Population, StackMember
from gradscope.unit_variance import scale_to_unit_variance
from gradscope.user_code import load_reference, running_user_code


@dataclass(frozen=True)
class ArmPlan:
    """One arm before training: its name, the recipe it trains, its seeds."""

    name: str
    recipe: Recipe
    seeds: tuple[int, ...]
    summary: str = ""
    size: int = 0  # of the change, see `Fix`


@dataclass(frozen=True)
class Batch:
    """Networks that train in lock-step: one population, or one network of the user's own."""

    members: tuple[MemberName, ...]
    recipe: Recipe  # whose training they share
    stacks: tuple[StackMember, ...]  # empty for `model:`


def plan_arms(recipe: Recipe, *, allow_code: bool) -> list[ArmPlan]:
    """Return the control, each fix, and where fixes are tried the control again with as many unused seeds, and a placebo.

    A fix that would change nothing in the recipe is left out: `gradscope.fixes.left_out` says which and why.
    """
    seeds = recipe.seed_list
    arms = [ArmPlan(CONTROL, recipe, seeds)]
    for i, name in enumerate(recipe.fix_names):
        fix = find_fix(name, allow_code=allow_code, where=recipe.where("fixes", i))
        with running_user_code(f"{recipe.where('fixes', i)}: '{name}'"):
            if not fix.changes(recipe):
                continue
            changed: object = fix.apply(recipe)
        if not isinstance(changed, Recipe):
            raise CodeError(
                f"{recipe.where('fixes', i)}: '{name}': expected apply to return a Recipe, got {type(changed).__name__}"
            )
        arms.append(ArmPlan(name, changed, seeds, fix.summary, fix.size))
    if len(arms) > 1:
        placebo = find_fix(PLACEBO, allow_code=False)
        arms.append(ArmPlan(RESEED, recipe, other_seeds(seeds)))
        arms.append(ArmPlan(PLACEBO, placebo.apply(recipe), seeds, placebo.summary))
    return arms


def other_seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    """Return as many seeds that are not among these.

    >>> other_seeds((1, 2, 3))
    (4, 5, 6)
    """
    return tuple(max(seeds) + 1 + i for i in range(len(seeds)))


def further_seeds(seeds: Sequence[int], most_seeds: int) -> tuple[int, ...]:
    """Return the seeds that a trial goes on with, up to so many in all: neither these nor those of the reseed arm.

    >>> further_seeds((1, 2, 3), 5)
    (7, 8)
    """
    return tuple(max(other_seeds(seeds)) + 1 + i for i in range(most_seeds - len(seeds)))


def pack(arms: Sequence[ArmPlan]) -> list[Batch]:
    """Return the networks in groups that can train in lock-step: equal samples, training, widths; the control's group first."""
    if arms[0].recipe.stack is None:
        return [Batch((MemberName(arm.name, seed),), arm.recipe, ()) for arm in arms for seed in arm.seeds]
    keys = [(arm.recipe.normalize, arm.recipe.training, arm.recipe.stack.hidden if arm.recipe.stack else ()) for arm in arms]
    order = sorted(range(len(arms)), key=lambda i: keys.index(keys[i]))
    batches = []
    for _, run in groupby(order, key=lambda i: keys[i]):
        chosen = [arms[i] for i in run]
        named = [(MemberName(arm.name, seed), arm.recipe.stack) for arm in chosen for seed in arm.seeds]
        stacks = tuple(StackMember(stack, name.seed) for name, stack in named if stack is not None)
        batches.append(Batch(tuple(name for name, _ in named), chosen[0].recipe, stacks))
    return batches


def build_network(batch: Batch, data: Data, device: torch.device, *, allow_code: bool) -> nn.Module:
    """Return the group's network on the device.

    Raises:
        CodeError: the user's model cannot be built, or is no module.
    """
    if batch.stacks:
        inputs = data.x_train[0].numel()
        population = Population(batch.stacks, inputs, data.outputs, allow_code=allow_code)
        scale_to_unit_variance(population, data.x_train)  # on the host: the same weights on every device
        return population.to(device)
    recipe = batch.recipe
    where, reference = recipe.where("model"), str(recipe.model)
    build = load_reference(reference, allowed=allow_code, where=where)
    if isinstance(build, nn.Module):
        text = "expected a callable that returns a new torch.nn.Module, got a module that all seeds would share"
        raise CodeError(f"{where}: '{reference}': {text}; name its class or a function")
    with seeded(batch.members[0].seed), running_user_code(f"{where}: '{reference}' failed"):
        network = build() if callable(build) else build
    if not isinstance(network, nn.Module):
        raise CodeError(
            f"{where}: '{reference}': expected a callable that returns a torch.nn.Module, got {type(network).__name__}"
        )
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise CodeError(f"{where}: '{reference}': expected a model with parameters to train, got one without")
    return network.to(device)
