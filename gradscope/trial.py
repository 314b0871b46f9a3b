"""The main job: train control, fixes and baselines on paired seeds, judge, compare, and write it all to a run's folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from gradscope.arms import ArmPlan, further_seeds, pack, plan_arms
from gradscope.auto_fixes import with_chosen_fixes
from gradscope.cause_search import Search, with_causes, without_causes
from gradscope.cost import measure_costs
from gradscope.data import Data
from gradscope.diagnosis import diagnose
from gradscope.effects import CONTROL, arm_of
from gradscope.fixes import left_out
from gradscope.intervention_plan import STEPS
from gradscope.recipe import Recipe
from gradscope.report import Report, Timing
from gradscope.report_builder import Circumstances, build_report, comparable, family_of
from gradscope.run_writer import RunWriter
from gradscope.surgery.hints import HINTS
from gradscope.trained_arms import ArmTraining, TrainedArms, memory_told, train_arms
from gradscope.training import task_of
from gradscope.versions import versions


@dataclass(frozen=True)
class Conditions:
    """How a trial is run, beside its recipe."""

    device: torch.device
    folder: Path | None = None  # nothing is written without one
    steps: int | None = None  # at most so many training steps, of each arm and of each intervention
    allow_code: bool = False
    advance: Callable[[int], None] = lambda steps: None
    should_stop: Callable[[], bool] = lambda: False
    causes: bool = False  # whether causes are found by intervention, which trains again
    options: tuple[str, ...] = ()  # told to the reader with commands that need them: --data-dir, --allow-code
    more_planned: Callable[[int], None] = lambda steps: None  # told of steps that `planned_steps` could not know of
    doing: Callable[[str], None] = lambda text: None  # told what is going on, where that is not the training of arms


def planned_steps(recipe: Recipe, data: Data, conditions: Conditions) -> int:
    """Return how many steps `run_trial` will report to `advance` at first; of more it tells `more_planned`."""
    return _steps_of(plan_arms(recipe, allow_code=conditions.allow_code), recipe, data, conditions)


def run_trial(recipe: Recipe, data: Data, conditions: Conditions) -> Report:
    """Train, record, judge and compare; write the run's folder.

    With `fixes: auto` the control is trained first, and the fixes that suit what is found in it after it; with `most_seeds` the
    fixes whose verdict is open go on with further seeds. What could not be written (a full disk) does not end the training: it
    is tried again at the end.

    Args:
        recipe: what to train; `check_fit` has passed.
        data: its samples, on any device, of any shape.
        conditions: device, folder, limits.

    Raises:
        WriteError: the folder cannot be written: at once where nothing can be, else after the training, with its report.
        CodeError: code of the user's own failed.
    """
    data = (data.flattened() if recipe.stack else data).to(conditions.device)
    trial = _Trial(recipe, data, conditions)
    with memory_told(recipe):
        trial.train()
        costs = {} if trial.done.interrupted else trial.costs()
    report = trial.report(costs)
    if conditions.causes and not report.interrupted:
        report = _explained(report, recipe, data, trial.done, conditions)
    trial.writer.finish(report, trial.recipe, list(trial.done.traces.values()), allow_code=conditions.allow_code)
    return report


class _Trial:
    """The stages of a trial: control (and what is named), chosen fixes, further seeds."""

    def __init__(self, recipe: Recipe, data: Data, conditions: Conditions) -> None:
        self.recipe, self.data, self.conditions = recipe, data, conditions
        self.arms = plan_arms(recipe, allow_code=conditions.allow_code)
        self.done = TrainedArms()
        self.notes = left_out(recipe, recipe.fix_names)
        self.writer = RunWriter(conditions.folder, conditions.device)
        self.writer.start(recipe)

    def train(self) -> None:
        self._train(self.arms)
        if self.recipe.chooses_fixes and not self.done.interrupted:
            self._choose()
            self._train_more(self.arms[1:])
        if self.recipe.most_seeds and not self.done.interrupted:
            self._train_more(self._open_arms(self.recipe.most_seeds))
        self.done.interrupted |= self.conditions.should_stop()

    def costs(self) -> dict[str, float]:
        how = self.conditions
        return measure_costs(self.arms, self.data, how.device, allow_code=how.allow_code, should_stop=how.should_stop)

    def report(self, costs: dict[str, float]) -> Report:
        self.done.interrupted |= self.conditions.should_stop()
        around = _circumstances(self, costs)
        report = build_report(self.recipe, list(self.done.traces.values()), around)
        hint = HINTS.get(report.recommended or "", "") if self.recipe.model else ""
        return report.model_copy(update={"hint": hint})

    def _choose(self) -> None:
        findings = diagnose(list(self.done.traces.values())).findings
        self.recipe, notes = with_chosen_fixes(self.recipe, findings)
        self.notes += notes
        self.arms = plan_arms(self.recipe, allow_code=self.conditions.allow_code)
        self.writer.chosen(self.recipe)

    def _open_arms(self, most_seeds: int) -> list[ArmPlan]:
        """Return the arms that go on with further seeds, and the control with them; none where no verdict is open."""
        found = comparable(self.recipe, list(self.done.traces.values()))
        arms = {name: arm_of(name, traces) for name, traces in found.items()}
        going_on = family_of(self.recipe, arms, found[CONTROL][0].task.chance).worth_more_seeds()
        seeds = further_seeds(self.recipe.seed_list, most_seeds)
        names = [CONTROL, *going_on] if going_on else []
        return [replace(arm, seeds=seeds) for arm in self.arms if arm.name in names]

    def _train_more(self, arms: Sequence[ArmPlan]) -> None:
        if arms:
            self.conditions.more_planned(_steps_of(arms, self.recipe, self.data, self.conditions))
            self._train(arms)

    def _train(self, arms: Sequence[ArmPlan]) -> None:
        how = self.conditions
        training = ArmTraining(how.device, how.steps, how.allow_code, self.writer.flush, how.advance, how.should_stop)
        self.done.add(train_arms(arms, self.recipe, self.data, training))


def _steps_of(arms: Sequence[ArmPlan], recipe: Recipe, data: Data, conditions: Conditions) -> int:
    return len(pack(arms)) * task_of(data, recipe.training, conditions.steps).planned_steps


def _explained(report: Report, recipe: Recipe, data: Data, done: TrainedArms, conditions: Conditions) -> Report:
    search = Search(
        conditions.device,
        conditions.allow_code,
        min(STEPS, conditions.steps or STEPS),
        conditions.should_stop,
        conditions.advance,
        conditions.more_planned,
    )
    conditions.doing("finding causes")
    control = [trace for (arm, _), trace in done.traces.items() if arm == CONTROL]
    try:
        with memory_told(recipe):
            found = with_causes(report, recipe, data, control, search)
    except Exception as error:  # the trial is done: what goes wrong in looking for causes must not take it away
        text = " ".join(str(error).split())[:200]
        found = without_causes(report, f"{type(error).__name__}: {text}; --no-causes leaves the search out")
    return found.model_copy(update={"interrupted": conditions.should_stop()})


def _circumstances(trial: _Trial, costs: dict[str, float]) -> Circumstances:
    done, arms = trial.done, trial.arms
    return Circumstances(
        timing=Timing(train_s=round(done.train_s, 3), recording_frac=round(done.recording_s / max(done.train_s, 1e-9), 4)),
        costs=costs,
        device=str(trial.conditions.device),
        data=trial.data.name,
        parameters=done.parameters,
        versions=versions(),
        notes=[*trial.data.notes, *trial.notes],
        options=trial.conditions.options,
        summaries={arm.name: arm.summary for arm in arms if arm.summary},
        sizes={arm.name: arm.size for arm in arms if arm.summary},
        interrupted=done.interrupted,
    )
