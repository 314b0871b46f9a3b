"""scale-input."""

from __future__ import annotations

from typing import final

from gradscope.fixes.base import Fix
from gradscope.recipe import Recipe
from gradscope.recipe_fields import PER_FEATURE


@final
class ScaleInput(Fix):
    """Each input feature standardised by the training set's own mean and deviation (LeCun et al. 1998, section 4.3)."""

    slug, summary, size = "scale-input", "each input feature less its mean, over its standard deviation", 14
    needs = "samples that are not standardised by feature yet"
    rules = ("unscaled-input", "saturation", "dead-layer", "exploding-gradient", "non-finite", "diverging-loss")

    def apply(self, recipe: Recipe) -> Recipe:
        """Return the recipe with this change."""
        return recipe.model_copy(update={"normalize": PER_FEATURE})
