"""residual."""

from __future__ import annotations

from typing import final

from gradscope.fixes.base import Fix
from gradscope.fixes.changes import with_stack
from gradscope.recipe import Recipe


@final
class Residual(Fix):
    """Identity shortcuts around the hidden layers that are as wide as the one before (He et al. 2016): a way past each gate."""

    slug, summary, size = "residual", "shortcuts around hidden layers of equal width", 63
    needs = "a stack with two hidden layers of equal width in a row"
    rules = ("vanishing-gradient", "dead-layer")

    def apply(self, recipe: Recipe) -> Recipe:
        """Return the recipe with this change."""
        if recipe.stack is None:
            return recipe
        changed = with_stack(recipe, residual=True)
        assert changed.stack is not None
        return changed if any(map(changed.stack.has_shortcut, range(len(recipe.stack.hidden)))) else recipe
