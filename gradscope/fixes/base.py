"""What a fix is: one change to a recipe."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from gradscope.recipe import Recipe


class Fix(ABC):
    """One change, with a name and a sentence that says what it does."""

    slug: ClassVar[str]
    summary: ClassVar[str]

    @abstractmethod
    def apply(self, recipe: Recipe) -> Recipe:
        """Return the recipe with this one change; everything else stays as it is."""
