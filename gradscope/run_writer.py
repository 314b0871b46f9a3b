"""What a trial writes into its run's folder, while it trains and at the end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from gradscope.errors import WriteError
from gradscope.fixes import find_fix
from gradscope.recipe import Recipe
from gradscope.recipe_file import dump_recipe
from gradscope.renderers.tensorboard import TensorBoardLog
from gradscope.report import Report, save_report
from gradscope.report_builder import RECIPE, TRACES
from gradscope.run_folder import write_text
from gradscope.trace import Trace
from gradscope.versions import versions


class RunWriter:
    """Writes a run's folder; a failure while the training goes on is kept for the end. Without a folder it writes nothing."""

    def __init__(self, folder: Path | None, device: torch.device) -> None:
        self._folder, self._device = folder, device
        self._log = TensorBoardLog(folder / "tensorboard") if folder else None
        self._recipe: Recipe | None = None  # not yet written

    def start(self, recipe: Recipe) -> None:
        """Write the recipe with every default.

        Raises:
            WriteError: nothing can be written.
        """
        self._recipe = recipe
        self._write([])

    def chosen(self, recipe: Recipe) -> None:
        """Write the recipe again, now that it names its fixes: at the next flush."""
        self._recipe = recipe

    def flush(self, traces: Sequence[Trace]) -> None:
        """Write what there is of some arms."""
        try:
            self._write(traces)
        except WriteError:
            return  # tried again at the next flush; `finish` raises if the last one fails

    def finish(self, report: Report, recipe: Recipe, traces: Sequence[Trace], *, allow_code: bool) -> None:
        """Write all of it.

        Raises:
            WriteError: something cannot be written; the error holds the report.
        """
        if self._folder is None or self._log is None:
            return
        try:
            save_report(report, self._folder)
            self._write(traces)
            self._log.finish(report, _hyperparameters(recipe))
            if report.recommended:
                fixed = fixed_recipe(recipe, report.recommended, allow_code=allow_code)
                header = f"{recipe.name} with the fix {report.recommended}"
                header += f"\nIn a loop of your own:\n{report.hint}" if report.hint else ""
                write_text(self._folder / "fixed.yaml", dump_recipe(fixed, header))
        except WriteError as error:
            error.report = report
            raise
        finally:
            self._log.close()

    def _write(self, traces: Sequence[Trace]) -> None:
        if self._folder is None or self._log is None:
            return
        if self._recipe is not None:
            resolved = self._recipe.model_copy(update={"seeds": self._recipe.seed_list, "device": str(self._device)})
            header = "gradscope diagnose: every default written out\n" + ", ".join(f"{k} {v}" for k, v in versions().items())
            write_text(self._folder / RECIPE, dump_recipe(resolved, header))
            self._recipe = None
        for trace in traces:
            trace.save(self._folder / TRACES / f"{trace.arm}-{trace.seed}.npz")
        if traces:
            self._log.update(traces)


def fixed_recipe(recipe: Recipe, fix: str, *, allow_code: bool) -> Recipe:
    """Return the recipe with a fix applied: it expects to be healthy and tries no further fixes."""
    changed = find_fix(fix, allow_code=allow_code, where=recipe.where("fixes")).apply(recipe)
    update = {"name": f"{recipe.name}-fixed"[:100], "fixes": (), "most_seeds": None, "expect": "healthy"}
    return changed.model_copy(update=update)


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
