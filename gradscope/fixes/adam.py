"""adam."""

from __future__ import annotations

from typing import final

from gradscope.fixes.base import Fix
from gradscope.fixes.changes import with_training
from gradscope.recipe import Recipe

LR = 0.001
"""Kingma & Ba's own, and torch's default."""


@final
class Adam(Fix):
    """Adam at its usual learning rate (Kingma & Ba 2015) in the place of the optimizer and its learning rate.

    It divides by the gradients' own size, so that layers whose gradients are small move as far as the others.
    """

    slug, summary, size = "adam", "adam at its usual learning rate, 0.001", 13
    needs = "an optimizer other than adam and adamw"
    rules = (
        "vanishing-gradient", "dead-units", "dead-layer", "non-finite",
        "oversized-updates", "diverging-loss", "stuck-at-chance",
    )  # fmt: skip

    def apply(self, recipe: Recipe) -> Recipe:
        """Return the recipe with this change."""
        if recipe.training.optimizer in ("adam", "adamw"):
            return recipe
        return with_training(recipe, optimizer="adam", lr=LR)
