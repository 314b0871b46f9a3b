"""The recipes that a path on the command line stands for: a file, a folder, or a pattern."""

from __future__ import annotations

import glob
from pathlib import Path

from gradscope.errors import RecipeError
from gradscope.recipe_file import SUFFIXES, load_recipe


def find_recipes(path: Path) -> list[Path]:
    """Return the recipe files below a folder or matching a pattern, sorted; any other path stands for itself.

    Raises:
        RecipeError: there are none.
    """
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES)
        if not found:
            raise RecipeError([f"{path}: expected a folder with recipes (*.yaml, *.yml), got none in it"])
        return found
    if not glob.has_magic(str(path)) or path.exists():
        return [path]
    found = sorted(Path(name) for name in glob.glob(str(path), recursive=True) if Path(name).suffix in SUFFIXES)
    if not found:
        raise RecipeError([f"{path}: expected recipes (*.yaml, *.yml), got none that match"])
    return found


def singles_and_sweeps(path: Path) -> tuple[list[Path], list[Path]]:
    """Return the recipes of one network that a path stands for, and the sweeps; a file that is named counts as the first.

    Raises:
        RecipeError: there are none of one network.
    """
    found = find_recipes(path)
    sweeps = [file for file in found if found != [path] and _is_sweep(file)]
    if sweeps == found:
        raise RecipeError([f"{path}: expected recipes of one network, got only such with a grid; `gradscope sweep` runs those"])
    return [file for file in found if file not in sweeps], sweeps


def _is_sweep(file: Path) -> bool:
    try:
        return load_recipe(file).grid is not None
    except RecipeError:
        return False  # told where it is used
