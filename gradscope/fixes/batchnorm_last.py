"""batchnorm-last."""

from __future__ import annotations

from typing import final

from gradscope.fixes.base import Fix
from gradscope.fixes.changes import with_stack
from gradscope.recipe import Recipe


@final
class BatchnormLast(Fix):
    """Batch-norm between the last linear layer and its activation; other layers keep what they have."""

    slug, summary, size = "batchnorm-last", "batch-norm before the last layer's activation", 60
    needs = "a stack without batch-norm on its last layer, and batches of two samples or more"
    rules = ("output-collapse", "common-mode")

    def apply(self, recipe: Recipe) -> Recipe:
        """Return the recipe with this change."""
        if recipe.stack is None or recipe.training.batch_size < 2 or recipe.stack.norms[-1] == "batchnorm":
            return recipe
        norms = recipe.stack.norms[:-1]
        return with_stack(recipe, norm="batchnorm-last" if set(norms) <= {"none"} else (*norms, "batchnorm"))
