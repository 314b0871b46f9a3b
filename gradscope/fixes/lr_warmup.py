"""lr-warmup."""

from __future__ import annotations

from typing import final

from gradscope.fixes.base import Fix
from gradscope.fixes.changes import with_training
from gradscope.recipe import Recipe

WARMUP = 0.1
"""Share of the training. Goyal et al. take 5 of 90 epochs; here trainings are short, and a few hundred steps are the least."""


@final
class LrWarmup(Fix):
    """A learning rate that rises to its value over the first tenth of the training (Goyal et al. 2017, section 2.2).

    A large step does most harm while the network is still the random one: units that it shuts may never open again.
    """

    slug, summary, size = "lr-warmup", "the learning rate rises over the first tenth of the training", 11
    needs = "a training without warm-up"
    rules = ("dead-units", "dead-layer", "exploding-gradient", "oversized-updates", "diverging-loss")

    def apply(self, recipe: Recipe) -> Recipe:
        """Return the recipe with this change."""
        return recipe if recipe.training.warmup else with_training(recipe, warmup=WARMUP)
