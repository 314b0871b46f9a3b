"""centre-sigmoid."""

from __future__ import annotations

from typing import final

from gradscope.fixes.base import Fix
from gradscope.fixes.changes import with_activations
from gradscope.recipe import Recipe


@final
class CentreSigmoid(Fix):
    """2 sigmoid(z) - 1 in the place of every sigmoid: outputs of mean 0.

    The mean of a sigmoid's outputs goes to every unit of the next layer, the same for every sample.
    """

    slug, summary, size = "centre-sigmoid", "2 sigmoid(z) - 1 instead of sigmoid(z)", 43
    needs = "a stack with sigmoid"
    rules = ("common-mode", "output-collapse", "vanishing-gradient")

    def apply(self, recipe: Recipe) -> Recipe:
        """Return the recipe with this change."""
        return with_activations(recipe, {"sigmoid": "centred_sigmoid"})
