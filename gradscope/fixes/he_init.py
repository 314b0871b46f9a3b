"""he-init."""

from __future__ import annotations

from typing import final

from gradscope.fixes.base import Fix
from gradscope.fixes.changes import with_stack
from gradscope.recipe import Recipe


@final
class HeInit(Fix):
    """Initial weights of variance 2 / fan-in, biases 0 (He et al. 2015): made for relu and its kin."""

    slug, summary, size = "he-init", "initial weights by He, biases 0", 20
    needs = "a stack whose init is not kaiming-normal yet"
    rules = (
        "dead-units", "dead-layer", "vanishing-gradient", "exploding-gradient",
        "non-finite", "identical-units", "diverging-loss", "stuck-at-chance",
    )  # fmt: skip

    def apply(self, recipe: Recipe) -> Recipe:
        """Return the recipe with this change."""
        return with_stack(recipe, init="kaiming-normal")
