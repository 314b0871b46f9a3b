"""drop-output-activation."""

from __future__ import annotations

from typing import final

from gradscope.activations import NONE, ActivationSpec, Block, LayerActivation
from gradscope.fixes.base import Fix
from gradscope.fixes.changes import with_stack
from gradscope.recipe import Recipe


@final
class DropOutputActivation(Fix):
    """No activation on the output: the loss sees the last linear layer's values.

    With nll the output must be log-probabilities, which an activation makes; there it stays.
    """

    slug, summary, size = "drop-output-activation", "no activation on the output", 40
    needs = "a stack with an activation on its output, and a loss other than nll"
    rules = ("output-collapse", "saturation", "common-mode")

    def apply(self, recipe: Recipe) -> Recipe:
        """Return the recipe with this change."""
        if recipe.stack is None or recipe.training.loss == "nll":
            return recipe
        plain = LayerActivation((Block(ActivationSpec(NONE)),))
        return with_stack(recipe, activations=(*recipe.stack.layers[:-1], plain))
