"""The JSON schema of recipes, for editors (yaml-language-server) and other checkers."""

from __future__ import annotations

from typing import Any

from gradscope.grid_activation_entries import activations_schema
from gradscope.recipe import Recipe
from gradscope.recipe_grid import MOST_CELLS, PART_OF, SHORT, Samples


def recipe_schema() -> dict[str, object]:
    """Return the JSON schema of a recipe; its name comes from the file, and what a grid holds need not stand outside of it."""
    schema: Any = _as_in_files(Recipe.model_json_schema())
    schema["properties"]["grid"] = _grid_schema()
    stack = {"required": ["stack"], "properties": {"stack": {"required": schema["$defs"]["Stack"].pop("required")}}}
    del schema["required"]
    schema["if"] = {"required": ["grid"]}
    schema["then"] = {"properties": {"model": False, "fixes": {"maxItems": 0}, "expect": False}}
    schema["else"] = {"required": ["data"], "oneOf": [stack, {"required": ["model"]}]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "gradscope recipe", **schema}


def _as_in_files(schema: object) -> object:
    """Return a schema without null, which a file may not say, and without the titles that repeat the keys."""
    if isinstance(schema, list):
        return [_as_in_files(item) for item in schema if item != {"type": "null"}]
    if not isinstance(schema, dict):
        return schema
    inner = {
        key: _as_in_files(value)
        for key, value in schema.items()
        if not (key == "title" and isinstance(value, str)) and not (key == "default" and value is None)
    }
    branches = inner.get("anyOf", [])
    if not (isinstance(branches, list) and len(branches) == 1):
        return inner
    del inner["anyOf"]
    return {**branches[0], **inner}


def _grid_schema() -> dict[str, object]:
    """Return the JSON schema of a grid within that of a recipe, whose keys' schemas its values share."""
    one = {name: {"type": "array", "minItems": 1, "uniqueItems": True, "items": _value_schema(name)} for name in PART_OF}
    one["activations"] = activations_schema()
    long = {key: {"$ref": f"#/properties/grid/properties/{name}"} for key, name in SHORT.items()}
    size: dict[str, object] = {"type": "integer", "minimum": 1, "maximum": MOST_CELLS}
    seed: dict[str, object] = {"type": "integer", "minimum": 0, "maximum": 2**32 - 1, "default": 0}
    several = {
        "type": "object",
        "properties": {"size": size, "seed": seed},
        "required": ["size"],
        "additionalProperties": False,
    }
    sample = {"anyOf": [size, several], "description": "A seeded choice of so many cells."}
    return {
        "type": "object",
        "description": "Keys over lists of values; every combination is a cell (`gradscope sweep`).",
        "properties": {**one, **long, "sample": sample},
        "additionalProperties": False,
    }


def _value_schema(name: str) -> dict[str, object]:
    part = PART_OF[name]
    return {"$ref": f"#/properties/{name}" if part is Samples else f"#/$defs/{part.__name__}/properties/{name}"}
