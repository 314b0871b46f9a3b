"""Recipes as YAML files: read with the position of every fault; `recipe_text` writes them."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

import yaml

from gradscope.errors import RecipeError
from gradscope.recipe import Recipe, build_recipe
from gradscope.recipe_faults import Fault, Positions, show
from gradscope.recipe_nodes import TooMuch, read_yaml
from gradscope.recipe_text import dump_recipe

__all__ = ["SUFFIXES", "dump_recipe", "load_recipe", "load_single", "parse_recipe"]

LARGEST_BYTES = 1_000_000
SUFFIXES = (".yaml", ".yml")


def load_recipe(path: Path) -> Recipe:
    """Return the recipe in a file; its name defaults to the file's.

    A file that cannot be read or is no recipe raises a RecipeError with one line for each fault.
    """
    return parse_recipe(_read(path), file=str(path), folder=path.parent.absolute())


def load_single(path: Path) -> Recipe:
    """Return the recipe of one experiment in a file.

    Raises:
        RecipeError: it has a grid, or is no recipe.
    """
    recipe = load_recipe(path)
    if recipe.grid:
        text = f"expected a recipe of one network here, got a grid of them; run `gradscope sweep {path}`"
        raise recipe.fault(text, "grid", of_key=True)
    return recipe


def parse_recipe(text: str, file: str = "recipe", folder: Path | None = None) -> Recipe:
    """Return the recipe in a text; `file` names it in messages, `folder` is where relative paths start.

    Raises:
        RecipeError: the text is no recipe; one line for each fault.
    """
    try:
        document = read_yaml(text)
    except yaml.YAMLError as error:
        raise RecipeError([_syntax(error, text, file)]) from error
    if document.data is None and not document.faults:
        raise RecipeError([f"{file}:1:1: recipe: expected a mapping with data and stack, got an empty file"])
    data = document.data
    if isinstance(data, dict) and ("name",) not in document.marks:
        data = {"name": _name_from(file), **data}
    positions = Positions(file, folder, document.marks, document.key_marks)
    late = [Fault(keys, "expected a value, got nothing; write one or delete the line") for keys in document.nulls]
    return build_recipe(data, positions, document.faults, late)


def _name_from(file: str) -> str:
    """Return a name that a folder can have from a file's.

    >>> _name_from("a/my (first) try.yaml")
    'my -first- try'
    """
    return re.sub(r"[^\w .+-]", "-", Path(file).stem).lstrip(" .+-")[:100] or "recipe"


def _syntax(error: yaml.YAMLError, text: str, file: str) -> str:
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if isinstance(error, yaml.reader.ReaderError):
        before = text[: error.position]
        line, column = before.count("\n") + 1, error.position - before.rfind("\n")
        return f"{file}:{line}:{column}: recipe: expected text, got the character {show(chr(error.character))}; is it a recipe?"
    where = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else f"{file}:1:1"
    if isinstance(error, TooMuch):
        return f"{where}: recipe: {problem}"
    if "single document" in str(error):
        return f"{where}: recipe: expected one document, got another behind '---'; write one recipe a file"
    hint = "; indent with spaces, not tabs" if "\\t" in problem else ""
    return f"{where}: recipe: expected YAML, got a syntax error: {' '.join(problem.split())}{hint}"


def _read(path: Path) -> str:
    """Return the text of a file, without reading more of it than a recipe can be.

    Raises:
        RecipeError: it is missing, no file, too large, not readable or not UTF-8.
    """
    try:
        if path.is_dir():
            raise RecipeError([f"{path}: expected a recipe file, got a folder; name a file in it"])
        if not path.exists():
            raise RecipeError([f"{path}: expected a recipe file, got nothing of that name{_neighbour(path)}"])
        if not path.is_file():
            raise RecipeError([f"{path}: expected a recipe file, got a device or pipe"])
        if path.stat().st_size > LARGEST_BYTES:
            raise RecipeError([f"{path}: expected a recipe of at most 1 MB, got {path.stat().st_size / 1e6:.1f} MB"])
        with path.open("rb") as file:
            raw = file.read(LARGEST_BYTES + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, RecipeError):
            raise
        raise RecipeError([f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}"]) from error
    if b"\0" in raw:
        raise RecipeError([f"{path}: expected a text file, got a binary one or UTF-16; save it as UTF-8"])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise RecipeError([f"{path}:{line}:1: recipe: expected text in UTF-8, got byte 0x{raw[error.start]:02x}"]) from error


def _neighbour(path: Path) -> str:
    try:
        others = [other.name for other in path.parent.iterdir() if other.suffix in SUFFIXES]
    except OSError:
        return ""
    near = difflib.get_close_matches(path.name, others, n=1, cutoff=0.6)
    return f"; did you mean '{path.parent / near[0]}'?" if near else ""
