"""A check of one recipe: the control trained as long as its rules need, judged, compared. What `gradscope check` runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gradscope.arms import plan_arms
from gradscope.baseline import baseline_path
from gradscope.check_budget import FAST_STEPS, steps_for
from gradscope.check_judge import Asked, judge, update_command
from gradscope.check_options import CheckOptions
from gradscope.check_result import CheckResult, Place
from gradscope.data import load_recipe_data
from gradscope.device import choose_device
from gradscope.errors import CannotJudge, CodeError, GradscopeError
from gradscope.first_look import look_once
from gradscope.recipe import Recipe
from gradscope.recipe import replace as changed
from gradscope.recipe_file import load_single
from gradscope.rules import RULES
from gradscope.trace import Trace
from gradscope.trained_arms import ArmTraining, check_fit, memory_told, schedule_of, train_arms
from gradscope.training import task_of
from gradscope.versions import versions

__all__ = ["CheckOptions", "Checked", "check_recipe", "observe", "places_of"]


@dataclass(frozen=True)
class Checked:
    """The traces of a check and what they are compared with."""

    traces: list[Trace]
    asked: Asked


def check_recipe(path: Path, options: CheckOptions | None = None) -> CheckResult:
    """Check one recipe.

    Never raises for what a user can cause: a fault of recipe, data, code or baseline is the outcome "bad recipe" with the lines
    that say where, and nothing recorded is "could not judge".
    """
    start = time.perf_counter()
    try:
        checked = observe(path, options or CheckOptions())
        result = judge(checked.traces, checked.asked)
    except CannotJudge as error:
        return CheckResult(recipe=str(path), name=path.stem, outcome="could not judge", message=f"{path}: {error}")
    except GradscopeError as error:
        return CheckResult(recipe=str(path), name=path.stem, outcome="bad recipe", message=str(error))
    return result.model_copy(update={"seconds": round(time.perf_counter() - start, 3)})


def observe(path: Path, options: CheckOptions) -> Checked:
    """Train what a check of a recipe needs.

    Args:
        path: the recipe's file.
        options: how to check.

    Raises:
        CodeError: the recipe names code that may not run, or that fails.
    """
    recipe = changed(load_single(path), seeds=options.seeds, device=options.device, fixes=[])
    if recipe.needs_code and not options.allow_code:
        named, where = recipe.needs_code[0]
        raise CodeError(f"{where}: '{named}' runs code of its own; read it, then add --allow-code")
    device = choose_device(recipe)
    data = load_recipe_data(
        recipe, data_dir=options.data_dir, download=options.download, allow_code=options.allow_code
    )  # fmt: skip
    check_fit(recipe, data)
    planned = task_of(data, recipe.training).planned_steps
    steps = _steps(recipe, planned, options)
    data = (data.flattened() if recipe.stack else data).to(device)
    arms = plan_arms(recipe, allow_code=options.allow_code)
    with memory_told(recipe):
        if options.fast:
            traces = look_once(arms, recipe, data, device, allow_code=options.allow_code)
        else:
            done = train_arms(arms, recipe, data, ArmTraining(device, steps, options.allow_code))
            traces = list(done.traces.values())
    return Checked(traces, _asked(path, recipe, traces, steps, planned, options))


def _steps(recipe: Recipe, planned: int, options: CheckOptions) -> int:
    if options.fast:
        return min(FAST_STEPS, planned)
    if options.steps is not None:
        return min(options.steps, planned)
    expected = [rule for rule in RULES if rule.slug in recipe.expected]
    return steps_for(expected or RULES, planned, recipe.training.batch_size, schedule_of(recipe))


def _asked(path: Path, recipe: Recipe, traces: Sequence[Trace], steps: int, planned: int, options: CheckOptions) -> Asked:
    more = [*(["--allow-code"] if recipe.needs_code else [])]
    more += ["--data-dir", str(options.data_dir)] if options.data_dir else []
    expect = recipe.mark("expect")
    return Asked(
        subject=str(path),
        name=recipe.name,
        expected=recipe.expected,
        steps=steps,
        planned=planned,
        share=options.share,
        baseline=baseline_path(path),
        update=options.update,
        strict=options.strict,
        update_command=update_command(str(path), more),
        is_fast=options.fast,
        place=Place(file=str(path), line=expect[0], column=expect[1]),
        places=places_of(path, recipe, traces),
        versions=versions(),
    )


def places_of(path: Path, recipe: Recipe, traces: Sequence[Trace]) -> dict[str, Place]:
    """Return where in a recipe's file the layer of each site stands: its activation, or the model as a whole."""
    found: dict[str, Place] = {}
    for site in (site for trace in traces for site in trace.sites):
        number = site.name.partition(".")[0]
        is_layer = recipe.stack is not None and number.isdigit()
        line, column = recipe.mark("stack", "activations", int(number) - 1) if is_layer else recipe.mark("model")
        found[site.name] = Place(file=str(path), line=line, column=column)
    return found
