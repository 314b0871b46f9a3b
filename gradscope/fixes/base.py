"""What a fix is: one change to a recipe."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from gradscope.recipe import Recipe

KIND = 20
"""Sizes of one kind of change lie within so many: 0 training, 20 start, 40 activations, 60 layers that were not there."""


class Fix(ABC):
    """One change, with a name and a sentence that says what it does."""

    slug: ClassVar[str]
    summary: ClassVar[str]
    size: ClassVar[int] = 5 * KIND
    """How large the change is, so that the smallest one that suffices can be recommended; one that does not say comes last."""
    needs: ClassVar[str | None] = None
    """What a recipe must have for the fix to change anything, in words behind "needs"; None where it always does."""
    rules: ClassVar[tuple[str, ...]] = ()
    """The rules whose findings it is a remedy for."""

    @abstractmethod
    def apply(self, recipe: Recipe) -> Recipe:
        """Return the recipe with this one change; everything else stays as it is. Where nothing is to change: the recipe."""

    def changes(self, recipe: Recipe) -> bool:
        """Tell whether the fix would change anything; one that would not needs no trial."""
        return self.needs is None or self.apply(recipe) != recipe

    @classmethod
    def kind(cls) -> int:
        """Return the number of its kind of change."""
        return cls.size // KIND
