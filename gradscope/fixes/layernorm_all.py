"""layernorm-all."""

from __future__ import annotations

from typing import final

from gradscope.fixes.base import Fix
from gradscope.fixes.changes import with_stack
from gradscope.recipe import Recipe


@final
class LayernormAll(Fix):
    """Layer-norm between every linear layer and its activation (Ba et al. 2016)."""

    slug, summary, size = "layernorm-all", "layer-norm before every activation", 62
    needs = "a stack that does not have layer-norm everywhere yet"
    rules = ("vanishing-gradient", "saturation", "exploding-gradient", "non-finite")

    def apply(self, recipe: Recipe) -> Recipe:
        """Return the recipe with this change."""
        if recipe.stack is None or set(recipe.stack.norms) == {"layernorm"}:
            return recipe
        return with_stack(recipe, norm="layernorm-all")
