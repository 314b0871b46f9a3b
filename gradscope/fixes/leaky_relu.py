"""leaky-relu."""

from __future__ import annotations

from typing import final

from gradscope.fixes.base import Fix
from gradscope.fixes.changes import with_activations
from gradscope.recipe import Recipe


@final
class LeakyRelu(Fix):
    """leaky_relu in the place of every relu: a unit that is shut still has a slope of 0.01 to open by (Maas et al. 2013)."""

    slug, summary, size = "leaky-relu", "leaky_relu instead of relu", 41
    needs = "a stack with relu"
    rules = ("dead-units", "dead-layer", "output-collapse", "common-mode")

    def apply(self, recipe: Recipe) -> Recipe:
        """Return the recipe with this change."""
        return with_activations(recipe, {"relu": "leaky_relu"})
