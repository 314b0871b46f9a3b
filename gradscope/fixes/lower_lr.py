"""lower-lr."""

from __future__ import annotations

from typing import final

from gradscope.fixes.base import Fix
from gradscope.fixes.changes import with_training
from gradscope.recipe import Recipe


@final
class LowerLr(Fix):
    """A tenth of the learning rate."""

    slug, summary, size = "lower-lr", "a tenth of the learning rate", 10
    rules = (
        "dead-units", "dead-layer", "exploding-gradient", "non-finite",
        "oversized-updates", "diverging-loss", "stuck-at-chance",
    )  # fmt: skip

    def apply(self, recipe: Recipe) -> Recipe:
        """Return the recipe with this change."""
        return with_training(recipe, lr=recipe.training.lr / 10)
