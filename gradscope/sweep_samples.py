"""The samples of a sweep's cells, and what follows from them: the networks' shapes, and the keys of their results."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import torch

from gradscope.cell import PopulationTask, Precision, run_keys
from gradscope.data import Data, load_recipe_data
from gradscope.recipe import Recipe
from gradscope.shared_samples import SampleFile, SharedSamples, digest_of
from gradscope.sweep_plan import Shape, count_parameters, samples_key
from gradscope.trained_arms import check_fit
from gradscope.training import task_of
from gradscope.user_code import code_digest


@dataclass(frozen=True)
class Sweeping:
    """How a sweep is run, beside its recipe."""

    folder: Path
    device: torch.device
    steps: int | None = None  # at most so many, of each network
    precision: Precision = "float32"
    allow_code: bool = False
    data_dir: Path | None = None
    download: bool = False
    look: Callable[[], None] = lambda: None
    """Called for each cell while the sweep is made ready; what it raises ends that."""


class SweepSamples:
    """The samples of a sweep's cells, each set read once and held where the processes find it."""

    def __init__(self, how: Sweeping, held: ExitStack) -> None:
        self._how, self._held = how, held
        self._read: dict[str, Data] = {}
        self._digests: dict[str, str] = {}
        self._code: dict[str, str] = {}
        self.shared: dict[str, SharedSamples] = {}

    def read(self, recipe: Recipe) -> None:
        """Read the samples of a recipe, unless they are read, and check that both fit.

        Raises:
            RecipeError: they do not.
            CodeError: code of the user's own may not be run, or cannot be loaded.
            DataError: the samples cannot be read.
        """
        key, how = samples_key(recipe), self._how
        how.look()
        if recipe.stack is None:
            raise recipe.fault("expected a stack, whose networks train together, got model; diagnose takes it", "model")
        if key not in self._read:
            data = load_recipe_data(recipe, data_dir=how.data_dir, download=how.download, allow_code=how.allow_code)
            file = self._held.enter_context(closing(SampleFile(data.flattened())))
            self.shared[key] = file.shared
            self._read[key] = file.shared.open()  # instead of `data`, so that there is one copy
            self._digests[key] = digest_of(self._read[key])
        check_fit(recipe, self._read[key])
        self._code_of(recipe)

    def shape_of(self, recipe: Recipe) -> Shape:
        """Return the shapes that a recipe's samples ask for, and its steps."""
        data = self._read[samples_key(recipe)]
        task = task_of(data, recipe.training, self._how.steps)
        return Shape(data.x_train.shape[1], data.outputs, task.planned_steps)

    def keys_of(self, recipe: Recipe) -> dict[int, str]:
        """Return the keys of a recipe's results, by seed."""
        how, samples = self._how, self._digests[samples_key(recipe)]
        how.look()
        code = self._code_of(recipe)
        return run_keys(recipe, recipe.seed_list, steps=how.steps, precision=how.precision, samples=samples, code=code)

    def steps_of(self, task: PopulationTask) -> int:
        """Return the steps of a population, of all its networks together."""
        return self.shape_of(task.members[0].recipe).steps * len(task.members)

    def work_of(self, task: PopulationTask) -> float:
        """Return how much there is to a population, in proportion to its duration."""
        recipe = task.members[0].recipe
        return self.steps_of(task) * float(count_parameters(recipe, self.shape_of(recipe)))

    def _code_of(self, recipe: Recipe) -> list[str]:
        """Return the digests of the user's own code in a stack; each is read once."""
        named = [(text, where) for text, where in recipe.needs_code if text != recipe.data]
        for text, where in named:
            if text not in self._code:
                self._code[text] = code_digest(text, allowed=self._how.allow_code, where=where)
        return [self._code[text] for text, _ in named]
