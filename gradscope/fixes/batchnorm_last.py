"""batchnorm-last."""

from __future__ import annotations

from typing import final

from gradscope.fixes.base import Fix
from gradscope.recipe import Recipe


@final
class BatchnormLast(Fix):
    """Batch-norm between the last linear layer and its activation; other layers keep what they have."""

    slug, summary = "batchnorm-last", "batch-norm before the last layer's activation"

    def apply(self, recipe: Recipe) -> Recipe:
        """Return the recipe with batch-norm on its last layer."""
        if recipe.stack is None:
            return recipe
        norms = recipe.stack.norms[:-1]
        norm = "batchnorm-last" if set(norms) <= {"none"} else (*norms, "batchnorm")
        return recipe.model_copy(update={"stack": recipe.stack.model_copy(update={"norm": norm})})
