"""The two things that a test can check: a model, which is trained here, and a recipe, which `gradscope check` knows."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from math import ceil
from pathlib import Path

from torch import nn

from gradscope.check_judge import Asked, judge
from gradscope.check_result import CheckResult
from gradscope.checking import CheckOptions, check_recipe
from gradscope.errors import BaselineError, CodeError, WatchError
from gradscope.integrations.pytest_batches import BatchSource
from gradscope.integrations.pytest_options import BATCH_SIZE, HEALTHY, SEEDS_OF_A_FUNCTION, Options
from gradscope.integrations.pytest_place import TestPlace
from gradscope.integrations.pytest_state import apart
from gradscope.integrations.pytest_training import Plan, train_watched
from gradscope.rules import RULES
from gradscope.rules.window import WINDOW_SAMPLES
from gradscope.trace import Trace
from gradscope.versions import versions

# Networks that collapse do so within the first dozens of steps; every step is looked at, so that the last 300 samples, which
# decide who is dead, are those of the last ten steps at a batch size of 32.
STEPS = 100


def check_model(place: TestPlace, model: object, data: object, options: Options) -> CheckResult:
    """Train a model as the options say, judge it, and compare it with its baseline or write that.

    Raises:
        GradscopeError: whatever the user can change, in one line.
    """
    if not isinstance(model, nn.Module) and not callable(model):
        forms = "expected a torch.nn.Module, a function that returns one, or the path of a recipe"
        raise WatchError(f"model: {forms}, got a {type(model).__name__}")
    start = time.perf_counter()
    seeds = options.seeds or tuple(range(1, 1 + (1 if isinstance(model, nn.Module) else SEEDS_OF_A_FUNCTION)))
    with apart(data):
        source = BatchSource(data, options.batch_size or BATCH_SIZE)
        steps = options.steps or max(STEPS, ceil(WINDOW_SAMPLES / source.first_size()))
        plan = Plan(steps, seeds, options.loss, options.optimizer, options.sites)
        traces = train_watched(model, data, source, plan)
    _expect_same_sites(traces)
    asked = Asked(
        subject=place.place.file,
        name=place.name,
        expected=options.expect or (HEALTHY,),
        steps=steps,
        planned=steps,
        baseline=place.baseline,
        update=place.is_update,
        rules=options.rules or RULES,
        place=place.place,
        versions=versions(),
    )
    try:
        result = judge(traces, asked)
    except BaselineError as error:
        raise BaselineError(_own_option(str(error))) from error
    if result.is_updated:
        place.note_written(place.baseline)
    return _in_tests_words(result, place).model_copy(update={"seconds": round(time.perf_counter() - start, 3)})


def _expect_same_sites(traces: Sequence[Trace]) -> None:
    """Check that the seeds' networks are one network.

    Raises:
        CodeError: they have other sites.
    """
    first = {site.name for site in traces[0].sites}
    for trace in traces[1:]:
        if differing := first ^ {site.name for site in trace.sites}:
            raise CodeError(
                f"model: expected the same network for each seed, got one with and one without {min(differing)} (seeds "
                f"{traces[0].seed} and {trace.seed})"
            )


def check_recipe_of_test(place: TestPlace, recipe: str | os.PathLike[str], data: object, options: Options) -> CheckResult:
    """Check a recipe as `gradscope check` does: with its own data, expectation and baseline.

    Raises:
        WatchError: an argument that the recipe itself states.
    """
    stated = {"data": data, "expect": options.expect, "loss": options.loss, "optimizer": options.optimizer}
    stated |= {"batch_size": options.batch_size, "sites": options.sites, "rules": options.rules}
    for name, value in stated.items():
        if value is not None and not (isinstance(value, tuple) and not value):
            raise WatchError(f"{name}: expected none beside a recipe, which states its own; got one for {recipe}")
    asked = CheckOptions(seeds=options.seeds, steps=options.steps, update=place.is_update, allow_code=options.allow_code)
    with apart():
        result = check_recipe(place.found(Path(recipe)), asked)
    if result.is_updated and result.baseline:
        place.note_written(Path(result.baseline))
    return _in_tests_words(result, place)


def _in_tests_words(result: CheckResult, place: TestPlace) -> CheckResult:
    baseline = result.baseline and place.shown(Path(result.baseline))
    differences = [one.model_copy(update={"text": _own_option(one.text)}) for one in result.differences]
    for text in (one.text for one in differences if one.kind == "undecided" and not one.fails):
        place.note_told(text)
    told = {"differences": differences, "message": _own_option(result.message), "baseline": baseline}
    return result.model_copy(update=told)


def _own_option(text: str) -> str:
    """Return a text of the command's with what a test has in its place."""
    return text.replace("--update", "--gradscope-update").replace("add --allow-code", "add allow_code=True")
