"""swap-sigmoid-tanh."""

from __future__ import annotations

from typing import final

from gradscope.fixes.base import Fix
from gradscope.fixes.changes import with_activations
from gradscope.recipe import Recipe


@final
class SwapSigmoidTanh(Fix):
    """tanh in the place of every sigmoid: outputs of mean 0, and a largest slope of 1 instead of 1/4 (LeCun et al. 1998)."""

    slug, summary, size = "swap-sigmoid-tanh", "tanh instead of sigmoid", 44
    needs = "a stack with sigmoid"
    rules = ("common-mode", "output-collapse", "saturation", "vanishing-gradient")

    def apply(self, recipe: Recipe) -> Recipe:
        """Return the recipe with this change."""
        return with_activations(recipe, {"sigmoid": "tanh"})
