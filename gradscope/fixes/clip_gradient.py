"""clip-gradient."""

from __future__ import annotations

from typing import final

from gradscope.fixes.base import Fix
from gradscope.fixes.changes import with_training
from gradscope.recipe import Recipe

LARGEST = 1.0
"""The norm that Pascanu et al. and most since then use where they say no other."""


@final
class ClipGradient(Fix):
    """Gradients whose norm is above 1 are scaled down to it (Pascanu et al. 2013)."""

    slug, summary, size = "clip-gradient", "gradients clipped to a norm of 1", 12
    needs = "gradients that are not clipped to a norm of 1 or less"
    rules = ("exploding-gradient", "non-finite", "oversized-updates", "diverging-loss")

    def apply(self, recipe: Recipe) -> Recipe:
        """Return the recipe with this change."""
        limit = recipe.training.max_norm
        return with_training(recipe, clip=LARGEST) if limit is None or limit > LARGEST else recipe
