"""The main job: train control, fixes and baseline on paired seeds, judge, compare, and write it all to a run's folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from gradscope.arms import ArmPlan, pack, plan_arms
from gradscope.cause_search import Search, with_causes
from gradscope.cost import measure_costs
from gradscope.data import Data
from gradscope.effects import CONTROL
from gradscope.errors import WriteError
from gradscope.fixes import find_fix
from gradscope.recipe import Recipe
from gradscope.recipe_file import dump_recipe
from gradscope.renderers.tensorboard import TensorBoardLog
from gradscope.report import Report, Timing, save_report
from gradscope.report_builder import RECIPE, TRACES, Circumstances, build_report
from gradscope.run_folder import write_text
from gradscope.trace import Trace
from gradscope.trained_arms import ArmTraining, TrainedArms, memory_told, train_arms
from gradscope.training import task_of
from gradscope.versions import versions


@dataclass(frozen=True)
class Conditions:
    """How a trial is run, beside its recipe."""

    device: torch.device
    folder: Path | None = None  # nothing is written without one
    steps: int | None = None  # at most so many training steps
    allow_code: bool = False
    advance: Callable[[int], None] = lambda steps: None
    should_stop: Callable[[], bool] = lambda: False
    causes: bool = False  # whether causes are found by intervention, which trains again
    options: tuple[str, ...] = ()  # told to the reader with commands that need them: --data-dir, --allow-code


def planned_steps(recipe: Recipe, data: Data, conditions: Conditions) -> int:
    """Return how many steps `run_trial` will report to `advance`, over all groups of networks."""
    groups = len(pack(plan_arms(recipe, allow_code=conditions.allow_code)))
    return groups * task_of(data, recipe.training, conditions.steps).planned_steps


def run_trial(recipe: Recipe, data: Data, conditions: Conditions) -> Report:
    """Train, record, judge and compare; write the run's folder.

    What could not be written (a full disk) does not end the training: it is tried again at the end.

    Args:
        recipe: what to train; `check_fit` has passed.
        data: its samples, on any device, of any shape.
        conditions: device, folder, limits.

    Raises:
        WriteError: the folder cannot be written: at once where nothing can be, else after the training, with its report.
        CodeError: code of the user's own failed.
    """
    data = (data.flattened() if recipe.stack else data).to(conditions.device)
    arms = plan_arms(recipe, allow_code=conditions.allow_code)
    writer = _Writer(conditions.folder)
    writer.start(recipe, conditions.device)
    with memory_told(recipe):
        done = train_arms(arms, recipe, data, _training_of(conditions, writer))
        costs = {} if done.interrupted else _costs(arms, data, conditions)
    done.interrupted |= conditions.should_stop()
    report = build_report(recipe, list(done.traces.values()), _circumstances(recipe, data, arms, done, costs, conditions))
    if conditions.causes and not done.interrupted:
        report = _explained(report, recipe, data, done, conditions)
    writer.finish(report, recipe, list(done.traces.values()), allow_code=conditions.allow_code)
    return report


def _explained(report: Report, recipe: Recipe, data: Data, done: TrainedArms, conditions: Conditions) -> Report:
    search = Search(conditions.device, conditions.allow_code, should_stop=conditions.should_stop)
    control = [done.traces[CONTROL, seed] for seed in recipe.seed_list]
    with memory_told(recipe):
        found = with_causes(report, recipe, data, control, search)
    return found.model_copy(update={"interrupted": conditions.should_stop()})


def _training_of(conditions: Conditions, writer: _Writer) -> ArmTraining:
    return ArmTraining(
        conditions.device, conditions.steps, conditions.allow_code, writer.flush, conditions.advance, conditions.should_stop
    )


def _costs(arms: Sequence[ArmPlan], data: Data, conditions: Conditions) -> dict[str, float]:
    return measure_costs(arms, data, conditions.device, allow_code=conditions.allow_code, should_stop=conditions.should_stop)


def _circumstances(
    recipe: Recipe, data: Data, arms: Sequence[ArmPlan], done: TrainedArms, costs: dict[str, float], conditions: Conditions
) -> Circumstances:
    return Circumstances(
        timing=Timing(train_s=round(done.train_s, 3), recording_frac=round(done.recording_s / max(done.train_s, 1e-9), 4)),
        costs=costs,
        device=str(conditions.device),
        data=data.name,
        parameters=done.parameters,
        versions=versions(),
        notes=data.notes,
        options=conditions.options,
        summaries={arm.name: arm.summary for arm in arms if arm.summary},
        interrupted=done.interrupted,
    )


class _Writer:
    """Writes a run's folder while the training goes on; a failure is kept for the end."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._log = TensorBoardLog(folder / "tensorboard") if folder else None

    def start(self, recipe: Recipe, device: torch.device) -> None:
        if self._folder:
            resolved = recipe.model_copy(update={"seeds": recipe.seed_list, "device": str(device)})
            header = "gradscope diagnose: every default written out\n" + ", ".join(f"{k} {v}" for k, v in versions().items())
            write_text(self._folder / RECIPE, dump_recipe(resolved, header))

    def flush(self, traces: Sequence[Trace]) -> None:
        try:
            self._write(traces)
        except WriteError:
            return  # tried again at the next flush; `finish` raises if the last one fails

    def finish(self, report: Report, recipe: Recipe, traces: Sequence[Trace], *, allow_code: bool) -> None:
        if self._folder is None or self._log is None:
            return
        try:
            save_report(report, self._folder)
            self._write(traces)
            self._log.finish(report, _hyperparameters(recipe))
            if report.recommended:
                fixed = fixed_recipe(recipe, report.recommended, allow_code=allow_code)
                write_text(self._folder / "fixed.yaml", dump_recipe(fixed, f"{recipe.name} with the fix {report.recommended}"))
        except WriteError as error:
            error.report = report
            raise
        finally:
            self._log.close()

    def _write(self, traces: Sequence[Trace]) -> None:
        if self._folder is None or self._log is None:
            return
        for trace in traces:
            trace.save(self._folder / TRACES / f"{trace.arm}-{trace.seed}.npz")
        self._log.update(traces)


def fixed_recipe(recipe: Recipe, fix: str, *, allow_code: bool) -> Recipe:
    """Return the recipe with a fix applied: it expects to be healthy and tries no further fixes."""
    changed = find_fix(fix, allow_code=allow_code, where=recipe.where("fixes")).apply(recipe)
    return changed.model_copy(update={"name": f"{recipe.name}-fixed"[:100], "fixes": (), "expect": "healthy"})


def _hyperparameters(recipe: Recipe) -> dict[str, str | int | float]:
    training = recipe.training
    found: dict[str, str | int | float] = {
        "optimizer": training.optimizer,
        "lr": training.lr,
        "batch_size": training.batch_size,
        "epochs": training.epochs,
        "loss": training.loss,
    }
    if training.uses_momentum:
        found["momentum"] = training.momentum
    if recipe.stack:
        found["activations"] = ", ".join(layer.label for layer in recipe.stack.layers)
    return found
