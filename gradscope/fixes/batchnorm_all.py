"""batchnorm-all."""

from __future__ import annotations

from typing import final

from gradscope.fixes.base import Fix
from gradscope.fixes.changes import with_stack
from gradscope.recipe import Recipe


@final
class BatchnormAll(Fix):
    """Batch-norm between every linear layer and its activation (Ioffe & Szegedy 2015)."""

    slug, summary, size = "batchnorm-all", "batch-norm before every activation", 61
    needs = "a stack that does not have batch-norm everywhere yet, and batches of two samples or more"
    rules = (
        "output-collapse", "common-mode", "dead-units", "dead-layer",
        "saturation", "vanishing-gradient", "exploding-gradient", "stuck-at-chance",
    )  # fmt: skip

    def apply(self, recipe: Recipe) -> Recipe:
        """Return the recipe with this change."""
        if recipe.stack is None or recipe.training.batch_size < 2 or set(recipe.stack.norms) == {"batchnorm"}:
            return recipe
        return with_stack(recipe, norm="batchnorm-all")
