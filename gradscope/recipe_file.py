"""Recipes as YAML files: read with the position of every fault, written with every default."""

from __future__ import annotations

import difflib
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from gradscope.activation_entries import entry_of
from gradscope.errors import RecipeError
from gradscope.recipe import NormalInit, NpzData, Recipe, build_recipe
from gradscope.recipe_faults import Fault, Positions, show
from gradscope.recipe_nodes import FLOAT, TooMuch, read_yaml

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
        raise recipe.fault(f"expected a recipe of one network here, got a grid of them; run `gradscope sweep {path}`", "grid")
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


def dump_recipe(recipe: Recipe, header: str = "") -> str:
    """Return the recipe as YAML with every default written out; `header` becomes comment lines.

    A relative npz path of a recipe from a file is written absolute, so that the text may be stored in another folder.
    """
    lines = [f"# {line}".rstrip() for line in header.splitlines()]
    for key, value in _data_of(recipe).items():
        if key in ("stack", "training", "grid"):
            lines += [f"{key}:", *(f"  {inner}: {_flow(item)}" for inner, item in value.items())]
        else:
            lines.append(f"{key}: {_flow(value)}")
    return "\n".join(lines) + "\n"


def _data_of(recipe: Recipe) -> dict[str, Any]:
    data: dict[str, Any] = {"name": recipe.name, "data": _value(recipe, recipe.data)}
    if recipe.normalize is not None:
        data["normalize"] = list(recipe.normalize)
    if recipe.stack:
        stack = recipe.stack
        data["stack"] = {
            "hidden": list(stack.hidden),
            "activations": [entry_of(layer) for layer in stack.layers],
            "norm": _value(recipe, stack.norm),
            "init": _value(recipe, stack.init),
        }
    else:
        data["model"] = recipe.model
    data["training"] = recipe.training.model_dump(exclude=None if recipe.training.uses_momentum else {"momentum"})
    data["seeds"] = _value(recipe, recipe.seeds)
    data["watch"] = {"schedule": recipe.watch.schedule} if recipe.watch.every is None else {"every": recipe.watch.every}
    data["fixes"] = list(recipe.fix_names)
    if recipe.expect is not None:
        data["expect"] = _value(recipe, recipe.expect)
    return _with_grid(data, recipe) | {"device": recipe.device}


def _with_grid(data: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    """Return a recipe's data with its grid, and outside of it without the keys that it holds."""
    grid = recipe.grid
    if grid is None:
        return data
    left = {key: value for key, value in data.items() if key not in grid.names}
    for part in ("stack", "training"):
        left[part] = {key: value for key, value in data[part].items() if key not in grid.names}
    varied = {axis.name: [_value(recipe, value) for value in axis.values] for axis in grid.axes}
    activations = {"activations": grid.activations.entry} if grid.activations else {}
    return left | {"grid": activations | varied | ({"sample": grid.sample.model_dump()} if grid.sample else {})}


def _value(recipe: Recipe, value: object) -> object:
    """Return the value of a key as YAML has it."""
    if isinstance(value, NpzData):
        return value.model_dump(exclude_none=True) | {"path": str(recipe.path_of(value))}
    if isinstance(value, NormalInit):
        return value.model_dump()
    return list(value) if isinstance(value, tuple) else value


class _Dumper(yaml.SafeDumper):
    """Quotes what our own reader would take for a number, such as a name `1e-3`; writes no aliases."""

    def ignore_aliases(self, data: object) -> bool:
        return True


_Dumper.add_implicit_resolver(FLOAT, re.compile(r"[-+]?[0-9.]+([eE][-+]?[0-9]+)?\Z"), list("-+.0123456789"))


def _flow(value: object) -> str:
    """Return a value on one line."""
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    if isinstance(value, str | int | float):
        return _scalar(type(value).__name__, value)
    return _dumped(value)


@lru_cache(maxsize=10_000)
def _scalar(kind: str, value: str | int | float) -> str:
    """Return a plain value on one line; the cells of a sweep have most of them in common."""
    return _dumped(value)


def _dumped(value: object) -> str:
    """Return what YAML makes of a value in a list, whose brackets come off again."""
    text: str = yaml.dump([value], Dumper=_Dumper, default_flow_style=True, width=10**9, sort_keys=False, allow_unicode=True)
    return text.strip()[1:-1]


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
