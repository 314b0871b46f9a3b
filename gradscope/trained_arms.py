"""The arms of a recipe, trained: groups of networks in turn, each under a recorder, to one trace for each arm and seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn

from gradscope import schedule
from gradscope.arms import ArmPlan, build_network, pack
from gradscope.data import Data
from gradscope.errors import CodeError
from gradscope.objective import unfit
from gradscope.recipe import Recipe
from gradscope.recipe_fields import PER_FEATURE
from gradscope.stack import Population
from gradscope.trace import Trace
from gradscope.training import Trained, Watching, task_of, train


@dataclass(frozen=True)
class ArmTraining:
    """How arms are trained, beside their recipe."""

    device: torch.device
    steps: int | None = None  # at most so many
    allow_code: bool = False
    flush: Callable[[Sequence[Trace]], None] | None = None
    advance: Callable[[int], None] = lambda steps: None
    should_stop: Callable[[], bool] = lambda: False


@dataclass
class TrainedArms:
    """What came of it; `traces` by arm and seed."""

    traces: dict[tuple[str, int], Trace] = field(default_factory=dict)
    train_s: float = 0.0
    recording_s: float = 0.0
    parameters: int = 0
    interrupted: bool = False

    def add(self, others: TrainedArms) -> None:
        """Take in what was trained after it."""
        self.traces |= others.traces
        self.train_s += others.train_s
        self.recording_s += others.recording_s
        self.parameters = self.parameters or others.parameters
        self.interrupted |= others.interrupted


def check_fit(recipe: Recipe, data: Data) -> None:
    """Check what shows only when recipe and data are together: batch size, loss, output width, batch-norm's needs.

    Raises:
        RecipeError: they do not fit.
    """
    training, samples = recipe.training, len(data.x_train)
    if training.batch_size > samples:
        text = f"expected at most the {samples} training samples of {data.name}, got {training.batch_size}"
        raise recipe.fault(text, "training", "batch_size")
    if reason := unfit(training.loss, data):
        raise recipe.fault(reason, "training", "loss")
    has_batchnorm = recipe.stack is not None and "batchnorm" in recipe.stack.norms
    tries_batchnorm = any(name.startswith("batchnorm") for name in recipe.fix_names)
    if (has_batchnorm or tries_batchnorm) and min(training.batch_size, samples) < 2:
        advice = "" if has_batchnorm else "; or name other fixes (--fixes none)"
        raise recipe.fault(f"expected at least 2 with batch-norm, got 1{advice}", "training", "batch_size")
    recipe.check_output_width(data.outputs)


def samples_of(recipe: Recipe, control: Recipe, data: Data) -> Data:
    """Return the samples that an arm trains on: the control's, normalised as the arm's own recipe says."""
    return data.per_feature() if recipe.normalize == PER_FEATURE != control.normalize else data


def schedule_of(recipe: Recipe) -> schedule.Schedule:
    """Return at which steps the recipe looks."""
    return schedule.every(recipe.watch.every) if recipe.watch.every else schedule.default


def train_arms(arms: Sequence[ArmPlan], recipe: Recipe, data: Data, how: ArmTraining) -> TrainedArms:
    """Train all networks of the arms, groups that can train in lock-step together.

    Args:
        arms: the control first.
        recipe: the control's.
        data: on the device; flattened for a stack.
        how: device, limits, who looks on.

    Raises:
        CodeError: code of the user's own failed.
    """
    done = TrainedArms()
    every = recipe.watch.every
    for batch in pack(arms):
        samples = samples_of(batch.recipe, recipe, data)
        network = build_network(batch, samples, how.device, allow_code=how.allow_code)
        training = batch.recipe.training
        watching = Watching(
            schedule=schedule_of(recipe),
            schedule_name=f"every {every}" if every else "default",
            flush=how.flush,
            advance=how.advance,
            should_stop=how.should_stop,
        )
        task = task_of(samples, training, how.steps)
        with user_code_placed(recipe):
            result: Trained = train(network, batch.members, samples, training, task, watching)
        done.traces |= {(trace.arm, trace.seed): trace for trace in result.traces}
        done.train_s += result.train_s
        done.recording_s += result.recording_s
        done.parameters = done.parameters or count_parameters(network)
        done.interrupted = result.interrupted
        if done.interrupted:
            break
    return done


@contextmanager
def user_code_placed(recipe: Recipe) -> Iterator[None]:
    """Say where the recipe names the code that fails in the block.

    Raises:
        CodeError: it failed.
    """
    try:
        yield
    except CodeError as error:
        where = recipe.where("model") if recipe.model else recipe.where("stack", "activations")
        if str(error).startswith(f"{where}: "):  # what cannot be loaded says so itself
            raise
        raise CodeError(f"{where}: {error}") from error


@contextmanager
def memory_told(recipe: Recipe, advice: str = "fewer --seeds, smaller batches") -> Iterator[None]:
    """Say in one line what can be done where the memory does not suffice: what `advice` names.

    Raises:
        RecipeError: it does not.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "memory" not in str(error).lower():
            raise
        where = ("stack", "hidden") if recipe.stack else ("model",)
        text = f"expected networks that fit into memory, got too many or too large ones; try {advice}"
        raise recipe.fault(text, *where) from error


def count_parameters(network: nn.Module) -> int:
    """Return the number of weights of a network, or of a population's first member."""
    if not isinstance(network, Population):
        return sum(parameter.numel() for parameter in network.parameters())
    return sum(parameter[0].numel() for _, parameter, rows in network.named_member_parameters() if 0 in rows)
