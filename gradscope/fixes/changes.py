"""Recipes with one part changed."""

from __future__ import annotations

from collections.abc import Mapping

from gradscope.activations import ActivationSpec, LayerActivation
from gradscope.recipe import Recipe, Training
from gradscope.recipe_grid import said


def with_stack(recipe: Recipe, **changed: object) -> Recipe:
    """Return the recipe with keys of its stack changed; one without a stack as it is."""
    if recipe.stack is None:
        return recipe
    return recipe.model_copy(update={"stack": recipe.stack.model_copy(update=changed)})


def with_training(recipe: Recipe, **changed: object) -> Recipe:
    """Return the recipe with keys of its training changed, without a momentum that the optimizer has no use for."""
    raw = said(recipe.training) | changed
    if not Training.model_construct(**raw).uses_momentum:
        raw.pop("momentum", None)
    return recipe.model_copy(update={"training": Training.model_validate(raw)})


def with_activations(recipe: Recipe, others: Mapping[str, str]) -> Recipe:
    """Return the recipe with activations replaced by name, in every layer and in every block of units."""
    if recipe.stack is None:
        return recipe
    return with_stack(recipe, activations=tuple(_replaced(layer, others) for layer in recipe.stack.layers))


def _replaced(layer: LayerActivation, others: Mapping[str, str]) -> LayerActivation:
    """Return the layer with other activations; their parameters are their own defaults."""
    return LayerActivation(
        tuple(
            block.__class__(ActivationSpec(others[block.activation.name]), block.share)
            if block.activation.name in others
            else block
            for block in layer.blocks
        )
    )
