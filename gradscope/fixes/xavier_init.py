"""xavier-init."""

from __future__ import annotations

from typing import final

from gradscope.fixes.base import Fix
from gradscope.fixes.changes import with_stack
from gradscope.recipe import Recipe


@final
class XavierInit(Fix):
    """Initial weights of variance 2 / (fan-in + fan-out), biases 0 (Glorot & Bengio 2010): made for tanh and its kin."""

    slug, summary, size = "xavier-init", "initial weights by Glorot, biases 0", 21
    needs = "a stack whose init is not xavier-uniform yet"
    rules = ("saturation", "vanishing-gradient", "exploding-gradient", "identical-units")

    def apply(self, recipe: Recipe) -> Recipe:
        """Return the recipe with this change."""
        return with_stack(recipe, init="xavier-uniform")
