"""batchnorm-all."""

from __future__ import annotations

from typing import final

from gradscope.fixes.base import Fix
from gradscope.recipe import Recipe


@final
class BatchnormAll(Fix):
    """Batch-norm between every linear layer and its activation."""

    slug, summary = "batchnorm-all", "batch-norm before every activation"

    def apply(self, recipe: Recipe) -> Recipe:
        """Return the recipe with batch-norm on every layer."""
        if recipe.stack is None:
            return recipe
        return recipe.model_copy(update={"stack": recipe.stack.model_copy(update={"norm": "batchnorm-all"})})
