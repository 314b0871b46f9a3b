"""Whether the tables in a sweep's folder are of another sweep than the one that is about to replace them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from gradscope.recipe import Recipe
from gradscope.recipe_text import dump_recipe

RECIPE_FILE, TABLE_FILE = "sweep.yaml", "results.csv"
OF_THE_TABLES = ("data", "normalize", "stack", "model", "training", "grid")
"""Keys of a recipe that say which networks the rows are."""


def replaced_tables(folder: Path, recipe: Recipe) -> list[str]:
    """Return what of a recipe is other than of the sweep whose tables `folder` holds; empty where there are none.

    A grid that has all the values of the earlier one, and more, is the same sweep gone on with.
    """
    try:
        if not (folder / TABLE_FILE).exists():
            return []
        before = yaml.safe_load((folder / RECIPE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):  # written over by somebody: there is nothing to compare with
        return []
    now = yaml.safe_load(dump_recipe(recipe))
    if not isinstance(before, dict):
        return []
    return [key for key in OF_THE_TABLES if not _goes_on(before.get(key), now.get(key))]


def _goes_on(before: object, now: object) -> bool:
    """Tell whether all that was there is there still.

    >>> _goes_on({"lr": [0.1]}, {"lr": [0.01, 0.1]}), _goes_on({"lr": [0.1, 1]}, {"lr": [0.1]})
    (True, False)
    """
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        return before.keys() == now.keys() and all(_goes_on(before[key], now[key]) for key in before)
    if isinstance(before, list) and isinstance(now, list):
        return all(item in now for item in before)
    return before == now
