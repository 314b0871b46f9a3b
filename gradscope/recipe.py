"""What to train and watch: the recipe as data, checked to the last field before anything runs.

`recipe_file` reads and writes it as YAML. Nothing here needs torch: a recipe is validated in a fraction of a second.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, PrivateAttr, ValidationError

from gradscope.errors import RecipeError
from gradscope.recipe_faults import Fault, Keys, Positions, expected
from gradscope.recipe_fields import (
    FIX_NAMES,
    HEALTHY,
    Data,
    Device,
    Expectation,
    Fixes,
    Model,
    Name,
    Normalize,
    NpzData,
    Seeds,
)
from gradscope.recipe_parts import Expect, Part, faults_of
from gradscope.recipe_stack import NormalInit, Stack
from gradscope.recipe_training import Training, Watch
from gradscope.user_code import is_reference

__all__ = ["NormalInit", "NpzData", "Recipe", "Stack", "Training", "Watch", "build_recipe", "recipe_schema", "replace"]


class Recipe(Part):
    """One experiment: data, a network, how it is trained, what to watch, which fixes to try, what to expect."""

    WHAT: ClassVar[str] = "a mapping with data and stack (see `gradscope schema`)"
    OTHER_KEYS: ClassVar[Mapping[str, str]] = {
        **{word: f"training.{word}" for word in Training.model_fields},
        **{word: f"training.{meant}" for word, meant in Training.OTHER_KEYS.items()},
        **{word: f"stack.{word}" for word in Stack.model_fields},
        **{"dataset": "data", "seed": "seeds", "network": "stack", "train": "training", "every": "watch.every"},
    }

    name: Name
    data: Data
    normalize: Normalize = None
    stack: Annotated[Stack | None, Expect(Stack.WHAT)] = None
    model: Model = None
    training: Annotated[Training, Expect(Training.WHAT)] = Training()
    seeds: Seeds = 5
    watch: Annotated[Watch, Field(description="At which steps to look."), Expect(Watch.WHAT)] = Watch()
    fixes: Fixes = None
    expect: Expectation = None
    device: Device = "auto"

    _positions: Positions = PrivateAttr(default_factory=Positions)

    @classmethod
    def completed(cls, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return `raw` with the fixes that suit its network."""
        if raw.get("fixes", ()) is None or "fixes" not in raw:
            return {**raw, "fixes": FIX_NAMES if raw.get("stack") is not None else ()}
        return raw

    @classmethod
    def cross_faults(cls, raw: Mapping[str, Any]) -> Iterator[Fault]:
        """Yield a network that is missing or described twice, and fixes that a model of the user's own cannot take."""
        stack, model, fixes = raw.get("stack"), raw.get("model"), raw.get("fixes")
        if stack is not None and model is not None:
            yield Fault(("model",), "expected either stack or model, got both", of_key=True)
        if stack is None and model is None:
            yield Fault(("stack",), f"expected {Stack.WHAT}, or model: package.module:callable, got neither")
        if model is not None and stack is None and isinstance(fixes, list | tuple):
            hint = "; write fixes: [] or name classes of your own"
            for i, fix in enumerate(fixes):
                if fix in FIX_NAMES:
                    yield Fault(("fixes", i), expected("no built-in fix beside model:, they change a stack", fix, hint))

    @property
    def fix_names(self) -> tuple[str, ...]:
        """The fixes to try, in order."""
        return self.fixes or ()

    @property
    def seed_list(self) -> tuple[int, ...]:
        """The seeds; a count n stands for 1 to n."""
        return self.seeds if isinstance(self.seeds, tuple) else tuple(range(1, self.seeds + 1))

    @property
    def expected(self) -> tuple[str, ...]:
        """The slugs of the rules expected to fire, ('healthy',) for none of them, () where nothing is expected."""
        return (HEALTHY,) if self.expect == HEALTHY else tuple(self.expect or ())

    @property
    def data_path(self) -> Path | None:
        """The npz file, found from the recipe's folder; None for other data."""
        if not isinstance(self.data, NpzData):
            return None
        return (self._positions.folder or Path()) / Path(self.data.path).expanduser()

    @property
    def needs_code(self) -> tuple[tuple[str, str], ...]:
        """Each `package.module:callable` of the recipe with the place where it is named."""
        named: list[tuple[str | None, Keys]] = [
            (self.data if isinstance(self.data, str) else None, ("data",)),
            (self.model, ("model",)),
        ]
        for i, layer in enumerate(self.stack.layers if self.stack else ()):
            named += [(block.activation.name, ("stack", "activations", i)) for block in layer.blocks]
        named += [(fix, ("fixes", i)) for i, fix in enumerate(self.fix_names)]
        return tuple((text, self.where(*keys)) for text, keys in named if text and is_reference(text))

    def where(self, *keys: str | int) -> str:
        """Return `file:line:col` of a key, the option that set it, or the key path of a recipe built in code."""
        return self._positions.where(keys)

    def mark(self, *keys: str | int) -> tuple[int, int]:
        """Return line and column of a key, or of the nearest thing around it; (1, 1) for a recipe built in code."""
        return self._positions.mark(keys)

    def fault(self, text: str, *keys: str | int) -> RecipeError:
        """Return an error about the value at `keys`, for faults that show only when data or code are there."""
        return RecipeError(self._positions.lines([Fault(keys, text)]))

    def check_output_width(self, width: int) -> None:
        """Raise a RecipeError where the output layer's blocks of units do not fit the width that the data asks for."""
        if self.stack is None:
            return
        try:
            self.stack.layers[-1].resolve(width)
        except ValueError as error:
            raise self.fault(str(error), "stack", "activations", len(self.stack.layers) - 1) from error


def build_recipe(
    raw: object, positions: Positions | None = None, faults: Sequence[Fault] = (), late: Sequence[Fault] = ()
) -> Recipe:
    """Return the recipe that a mapping describes.

    `faults` were found before; `late` are told only where the models find nothing to say about the same key.

    Raises:
        RecipeError: there are faults, all of them.
    """
    places = positions or Positions()
    found = list(faults)
    try:
        recipe = Recipe.model_validate(raw)
    except ValidationError as error:
        found += faults_of(error)
    if found or late:
        raise RecipeError(places.lines([*found, *late]))
    recipe._positions = places
    return recipe


def replace(
    recipe: Recipe,
    *,
    data: str | None = None,
    seeds: int | Sequence[int] | None = None,
    epochs: int | None = None,
    device: str | None = None,
    fixes: Sequence[str] | None = None,
) -> Recipe:
    """Return the recipe with what the command line's options change; None leaves it as it is.

    `data` may be the path of an npz file, which starts at the working directory, not at the recipe's folder.
    A wrong value raises a RecipeError whose line names the option.
    """
    raw: dict[str, Any] = {name: getattr(recipe, name) for name in recipe.model_fields_set}
    options: dict[Keys, str] = dict(recipe._positions.options)
    npz = {"source": "npz", "path": str(Path(data).expanduser().absolute())} if data and data.endswith(".npz") else None
    changes = {"data": npz or data, "seeds": seeds, "device": device, "fixes": fixes}
    for name, value in changes.items():
        if value is not None:
            raw[name] = value
            options[(name,)] = f"--{name}"
    if epochs is not None:
        raw["training"] = {**recipe.training.model_dump(exclude_unset=True), "epochs": epochs}
        options[("training", "epochs")] = "--epochs"
    return build_recipe(raw, dataclasses.replace(recipe._positions, options=options))


def recipe_schema() -> dict[str, object]:
    """Return the JSON schema of a recipe, for editors (yaml-language-server) and other checkers."""
    schema = _as_in_files(Recipe.model_json_schema())
    assert isinstance(schema, dict)
    schema["required"] = ["data"]  # the name comes from the file
    schema["oneOf"] = [{"required": ["stack"]}, {"required": ["model"]}]
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
