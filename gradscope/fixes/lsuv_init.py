"""lsuv-init."""

from __future__ import annotations

from typing import final

from gradscope.fixes.base import Fix
from gradscope.fixes.changes import with_stack
from gradscope.recipe import Recipe


@final
class LsuvInit(Fix):
    """Orthogonal initial weights, scaled layer by layer to pre-activations of variance 1 (Mishkin & Matas 2016)."""

    slug, summary, size = "lsuv-init", "initial weights scaled until each layer's z has variance 1", 22
    needs = "a stack whose init is not lsuv yet"
    rules = ("saturation", "vanishing-gradient", "exploding-gradient", "non-finite", "identical-units", "dead-layer")

    def apply(self, recipe: Recipe) -> Recipe:
        """Return the recipe with this change."""
        return with_stack(recipe, init="lsuv")
