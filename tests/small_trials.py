"""Small recipes, data and trials for the tests of what trains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from gradscope.data import Data, NpzSource, load_data
from gradscope.recipe import Recipe
from gradscope.recipe_file import parse_recipe
from gradscope.report import Report
from gradscope.trace import Trace
from gradscope.trained_arms import check_fit
from gradscope.trial import Conditions, run_trial

CPU = torch.device("cpu")
STACK = """
name: {name}
data: digits
stack: {{hidden: [16, 8], activations: {activations}, norm: {norm}}}
training: {training}
seeds: {seeds}
fixes: {fixes}
"""
PUBLISHED = """
name: small-published
data: digits
stack: {hidden: [64, 32], activations: [relu, sigmoid, relu]}
training: {lr: 0.05, epochs: 6}
seeds: 3
expect: [output-collapse]
"""
"""The published failure in small: sick, and cured by batchnorm-last. A trial takes about two seconds."""

MODEL = """
name: own
data: digits
model: {model}
training: {training}
seeds: {seeds}
fixes: {fixes}
"""


def stack_text(
    activations: str = "[relu, tanh, none]",
    *,
    name: str = "small",
    training: str = "{lr: 0.1, epochs: 1}",
    seeds: object = 2,
    fixes: str = "[]",
    norm: str = "none",
    extra: str = "",
) -> str:
    """A recipe of a small stack."""
    return STACK.format(name=name, activations=activations, training=training, seeds=seeds, fixes=fixes, norm=norm) + extra


def model_text(model: str, *, training: str = "{lr: 0.1, epochs: 1}", seeds: object = 1, fixes: str = "[]") -> str:
    """A recipe of the user's own model."""
    return MODEL.format(model=model, training=training, seeds=seeds, fixes=fixes)


def recipe_of(text: str, folder: Path | None = None) -> Recipe:
    return parse_recipe(text, folder=folder)


def data_of(recipe: Recipe) -> Data:
    if isinstance(recipe.data, str):
        return load_data(recipe.data)
    assert recipe.data_path is not None
    return load_data(NpzSource(recipe.data_path, recipe.data.train, recipe.data.test, recipe.data.seed))


def trial(
    text: str,
    folder: Path | None = None,
    *,
    steps: int | None = None,
    allow_code: bool = False,
    stop_after: int | None = None,
    recipe_folder: Path | None = None,
    causes: bool = False,
    more_planned: Callable[[int], None] = lambda steps: None,
) -> Report:
    """Run a recipe's trial on the CPU; `stop_after` so many steps it is interrupted."""
    recipe = recipe_of(text, recipe_folder)
    data = data_of(recipe)
    check_fit(recipe, data)
    done = [0]

    def advance(steps: int) -> None:
        done[0] += steps

    should_stop: Callable[[], bool] = lambda: stop_after is not None and done[0] >= stop_after  # noqa: E731
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    how = Conditions(CPU, folder, steps, allow_code, advance, should_stop, causes, more_planned=more_planned)
    return run_trial(recipe, data, how)


def traces_in(folder: Path) -> dict[tuple[str, int], Trace]:
    found = [Trace.load(path) for path in (folder / "trace").glob("*.npz")]
    return {(trace.arm, trace.seed): trace for trace in found}


def write_npz(
    path: Path, *, train: int = 96, test: int = 48, classes: int | None = 3, features: int = 5, one_class_test: bool = False
) -> Path:
    """Data that can be learnt: classes by a linear rule, or one number that is linear in x (`classes` None)."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(train + test, features)).astype(np.float32)
    weights = rng.normal(size=(features, classes or 1))
    scores = x @ weights
    y = scores[:, 0].astype(np.float32) if classes is None else scores.argmax(axis=1)
    y_test = np.zeros_like(y[train:]) if one_class_test else y[train:]
    np.savez(path, x_train=x[:train], y_train=y[:train], x_test=x[train:], y_test=y_test)
    return path
