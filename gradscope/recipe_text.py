"""A recipe as YAML, with every default written out, so that it can be read again."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import yaml

from gradscope.activation_entries import entry_of
from gradscope.recipe import NormalInit, NpzData, Recipe, Stack
from gradscope.recipe_fields import AUTO
from gradscope.recipe_nodes import FLOAT
from gradscope.recipe_training import MOMENTUM_OPTIMIZERS, OFF


def dump_recipe(recipe: Recipe, header: str = "") -> str:
    """Return the recipe as YAML with every default written out; `header` becomes comment lines.

    What is off (warm-up, clipping, shortcuts) is left away, so that results kept before there was such a key are found again.

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
        data["normalize"] = _value(recipe, recipe.normalize)
    if recipe.stack:
        stack = recipe.stack
        data["stack"] = {
            "hidden": list(stack.hidden),
            "activations": [entry_of(layer) for layer in stack.layers],
            "norm": _value(recipe, stack.norm),
            **({"norm_weight": _value(recipe, stack.norm_weight)} if _has_norm(stack) else {}),
            "init": _value(recipe, stack.init),
        } | ({"residual": True} if stack.residual else {})
    else:
        data["model"] = recipe.model
    optimizers = recipe.grid.values("optimizer") if recipe.grid else ()
    uses_momentum = set(optimizers or [recipe.training.optimizer]) & set(MOMENTUM_OPTIMIZERS)
    off = {name for name, value in OFF.items() if getattr(recipe.training, name) == value}
    data["training"] = recipe.training.model_dump(exclude=off if uses_momentum else off | {"momentum"})
    data["seeds"] = _value(recipe, recipe.seeds)
    if recipe.most_seeds is not None:
        data["most_seeds"] = recipe.most_seeds
    data["watch"] = {"schedule": recipe.watch.schedule} if recipe.watch.every is None else {"every": recipe.watch.every}
    data["fixes"] = AUTO if recipe.chooses_fixes else list(recipe.fix_names)
    if recipe.expect is not None:
        data["expect"] = _value(recipe, recipe.expect)
    return _with_grid(data, recipe) | {"device": recipe.device}


def _has_norm(stack: Stack) -> bool:
    """Tell whether the initial weights of norms are of any meaning."""
    return stack.norm_weight != "ones" or any(kind != "none" for kind in stack.norms)


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
    sample = {"sample": grid.sample.model_dump()} if grid.sample else {}
    return {key: value for key, value in left.items() if value != {}} | {"grid": activations | varied | sample}


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
