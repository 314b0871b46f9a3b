"""Trains interventions: every arm with every seed in lock-step, on the batches and from the state of the control."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.hooks import RemovableHandle

from gradscope.activations import ActivationSpec
from gradscope.arms import Batch, build_network
from gradscope.causes import worth_going_on
from gradscope.data import Data
from gradscope.effects import CONTROL
from gradscope.elementwise import build_activation
from gradscope.gradient_probe import GradientProbe
from gradscope.intervention_plan import RATES, STEPS, Arm, Measured, Place
from gradscope.intervention_state import State, draw_again, state_of
from gradscope.interventions import intervene
from gradscope.member_traces import MemberName
from gradscope.recipe import Recipe, Stack, Training
from gradscope.rules.exploding_gradient import GROWN
from gradscope.stack import Population, StackMember
from gradscope.trained_arms import user_code_placed
from gradscope.training import Begin, Watching, task_of, train
from gradscope.unit_gates import Gates

MOST_TEST_SAMPLES = 64  # the metric is of no use here, and evaluating fifty networks costs


class InterventionTraining:
    """Trains the control up to where interventions begin, on from the last state that it knows, and the interventions."""

    def __init__(
        self,
        recipe: Recipe,
        data: Data,
        device: torch.device,
        *,
        allow_code: bool,
        steps: int = STEPS,
        should_stop: Callable[[], bool] = lambda: False,
        advance: Callable[[int], None] = lambda steps: None,
        more_planned: Callable[[int], None] = lambda steps: None,
    ) -> None:
        """Take what the control was trained with.

        Args:
            recipe: of a stack.
            data: on the device, flattened.
            device: where to train.
            allow_code: whether activations of the user's own may be loaded.
            steps: of each intervention; a quarter of them where it does not bring the gradient back.
            should_stop: asked after every step.
            advance: told of every step.
            more_planned: told of steps before they are taken.
        """
        assert recipe.stack is not None
        self._recipe = recipe
        self._stack: Stack = recipe.stack
        self._training: Training = recipe.training
        self._data = replace(data, x_test=data.x_test[:MOST_TEST_SAMPLES], y_test=data.y_test[:MOST_TEST_SAMPLES])
        self._device, self._allow_code, self._steps = device, allow_code, steps
        self._should_stop, self._advance, self._more_planned = should_stop, advance, more_planned
        self._states: dict[tuple[int, ...], list[State]] = {}  # of the control, by its seeds

    def try_at(self, place: Place) -> list[Measured]:
        """Return what each arm came to, the placebo first; nothing if it was stopped."""
        start = self._state_before(place.begin, place.seeds)
        found = self._stage(place, place.arms, start, self._steps // 4)
        going_on = [] if self._should_stop() else worth_going_on(place, list(found.values()))
        if going_on:
            found |= self._stage(place, going_on, start, self._steps)
        return [] if self._should_stop() else list(found.values())

    def _stage(self, place: Place, arms: Sequence[Arm], start: State | None, steps: int) -> dict[Arm, Measured]:
        """Train from the start for so many steps; arms with a learning rate of their own by themselves."""
        found: dict[Arm, Measured] = {}
        for factor in (1.0, *RATES.values()):
            own = [arm for arm in arms if RATES.get(arm.kind, 1.0) == factor]
            if own and not self._should_stop():
                training = self._training.model_copy(update={"lr": self._training.lr * factor})
                found |= self._trained(place, own, start, training, steps)
        return {arm: found[arm] for arm in arms if arm in found}

    def _state_before(self, step: int, seeds: tuple[int, ...]) -> State | None:
        """Return the control's state before a step; None for step 0, which is a new network's."""
        if not step:
            return None
        known = self._states.setdefault(seeds, [])
        last = max((state for state in known if state.step <= step), key=lambda state: state.step, default=None)
        if last is not None and last.step == step:
            return last
        names = [MemberName(CONTROL, seed) for seed in seeds]
        network = self._population(names)
        optimizers: list[torch.optim.Optimizer] = []

        def ready(optimizer: torch.optim.Optimizer) -> None:
            optimizers.append(optimizer)
            if last is not None:
                last.give(network, optimizer)

        self._run(network, names, self._training, Begin(last.step if last else 0, ready), step)
        state = state_of(network, optimizers[0], step)
        if not self._should_stop():  # else it is an earlier step's
            known.append(state)
        return state

    def _trained(
        self, place: Place, arms: Sequence[Arm], start: State | None, training: Training, steps: int
    ) -> dict[Arm, Measured]:
        names = [MemberName(arm.label, seed) for arm in arms for seed in place.seeds]
        network = self._population(names)
        rows = {arm: range(k * len(place.seeds), (k + 1) * len(place.seeds)) for k, arm in enumerate(arms)}
        gates = self._gates(network)
        initial = [weight.detach().flatten(1).norm(dim=1) for weight, _ in network.linear_parameters()]
        probe = GradientProbe(gates[place.layer], range(self._steps // 8, self._steps // 4))

        def ready(optimizer: torch.optim.Optimizer) -> None:
            if start is not None:
                start.give(network, optimizer)
            for arm, own in rows.items():
                for layer in arm.layers if arm.kind == "reset layer" else ():
                    draw_again(network, optimizer, layer, self._stack, names, own, self._build, initial[layer])
            hooks.extend(intervene(network, rows, gates))
            hooks.extend(probe.attach(network, place.layer))

        hooks: list[RemovableHandle] = []
        try:
            losses = self._run(network, names, training, Begin(place.begin, ready), place.begin + steps)
        finally:
            for hook in hooks:
                hook.remove()
        if self._should_stop():
            return {}
        reached = probe.reached_frac(most_left=GROWN if place.grows else math.inf)
        losses = losses[:, place.begin :]
        return {arm: Measured(arm, reached[own], losses[own], probe.spread[own]) for arm, own in rows.items()}

    def _population(self, names: list[MemberName]) -> Population:
        batch = Batch(tuple(names), self._recipe, tuple(StackMember(self._stack, name.seed) for name in names))
        network = build_network(batch, self._data, self._device, allow_code=self._allow_code)
        assert isinstance(network, Population)
        return network

    def _gates(self, network: Population) -> list[Gates]:
        widths = [bias.shape[1] for _, bias in network.linear_parameters()]
        blocks = [layer.resolve(width) for layer, width in zip(self._stack.layers, widths, strict=True)]
        return [Gates.of(own, self._build, self._device) for own in blocks]

    def _run(
        self, network: Population, names: list[MemberName], training: Training, begin: Begin, end: int
    ) -> NDArray[np.float64]:
        """Train up to a step and return every step's loss, [member, step]; nothing is recorded."""
        task = replace(task_of(self._data, training), planned_steps=end)
        watching = Watching(schedule=lambda step: False, should_stop=self._should_stop, advance=self._advance)
        self._more_planned(end - begin.step)
        with user_code_placed(self._recipe):
            result = train(network, names, self._data, training, task, watching, begin=begin)
        return np.stack([trace.loss for trace in result.traces]).astype(np.float64)

    def _build(self, spec: ActivationSpec) -> nn.Module:
        return build_activation(spec, allow_code=self._allow_code)
