"""gelu."""

from __future__ import annotations

from typing import final

from gradscope.fixes.base import Fix
from gradscope.fixes.changes import with_activations
from gradscope.recipe import Recipe


@final
class Gelu(Fix):
    """gelu in the place of every relu: below zero it has a slope, which fades a few deviations further down."""

    slug, summary, size = "gelu", "gelu instead of relu", 42
    needs = "a stack with relu"
    rules = ("dead-units", "dead-layer")

    def apply(self, recipe: Recipe) -> Recipe:
        """Return the recipe with this change."""
        return with_activations(recipe, {"relu": "gelu"})
