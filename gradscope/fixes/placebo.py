"""placebo."""

from __future__ import annotations

from typing import final

from gradscope.fixes.base import Fix
from gradscope.fixes.changes import with_training
from gradscope.recipe import Recipe

NUDGE = 1.001
"""Far below what anyone tunes a learning rate by, far above the rounding of float32: runs part, and none is better for it."""


@final
class Placebo(Fix):
    """A learning rate larger by a thousandth: no number stays what it was, and nothing that matters changes.

    What a trial finds of it is what it finds where there is nothing to be found. It is no remedy, and no recipe names it.
    """

    slug, summary, size = "placebo", "a learning rate larger by a thousandth: nothing that matters", 0

    def apply(self, recipe: Recipe) -> Recipe:
        """Return the recipe with this change."""
        return with_training(recipe, lr=recipe.training.lr * NUDGE)
