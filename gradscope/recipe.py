"""What to train and watch: the recipe as data, checked to the last field before anything runs.

`recipe_file` reads and writes it as YAML. Nothing here needs torch: a recipe is validated in a fraction of a second.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, PrivateAttr, ValidationError, WithJsonSchema

from gradscope.errors import RecipeError
from gradscope.grid_activations import entries_of
from gradscope.grid_faults import grid_faults
from gradscope.recipe_faults import Fault, Keys, Positions, expected
from gradscope.recipe_fields import (
    AUTO,
    DEFAULT_FIXES,
    HEALTHY,
    STACK_FIX_NAMES,
    TRAINING_FIX_NAMES,
    Data,
    Device,
    Expectation,
    Fixes,
    Model,
    MostSeeds,
    Name,
    Normalize,
    NpzData,
    Seeds,
)
from gradscope.recipe_grid import WHAT as GRID
from gradscope.recipe_grid import Grid, filled, names_in, parse_grid, said
from gradscope.recipe_parts import Expect, Part, faults_of
from gradscope.recipe_stack import NormalInit, Stack
from gradscope.recipe_training import Training, Watch
from gradscope.user_code import is_reference

__all__ = ["NormalInit", "NpzData", "Recipe", "Stack", "Training", "Watch", "build_recipe", "replace"]


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
    grid: Annotated[
        Grid | None,
        BeforeValidator(lambda value: None if value is None else parse_grid(value)),
        WithJsonSchema({"type": "object"}),
        Expect(GRID),
    ] = None
    seeds: Seeds = 5
    most_seeds: MostSeeds = None
    watch: Annotated[Watch, Field(description="At which steps to look."), Expect(Watch.WHAT)] = Watch()
    fixes: Fixes = None
    expect: Expectation = None
    device: Device = "auto"

    _positions: Positions = PrivateAttr(default_factory=Positions)

    @classmethod
    def completed(cls, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return `raw` with the fixes that suit its network, and with stand-ins for what only its grid says."""
        if raw.get("fixes", ()) is None or "fixes" not in raw:
            is_single = raw.get("stack") is not None and raw.get("grid") is None
            raw = {**raw, "fixes": DEFAULT_FIXES if is_single else ()}
        return filled(raw)

    @classmethod
    def cross_faults(cls, raw: Mapping[str, Any]) -> Iterator[Fault]:
        """Yield a network that is missing or described twice, and fixes that a model of the user's own cannot take."""
        stack, model, fixes = raw.get("stack"), raw.get("model"), raw.get("fixes")
        if stack is not None and model is not None:
            yield Fault(("model",), "expected either stack or model, got both", of_key=True)
        if stack is None and model is None and not names_in(raw.get("grid")) & {"hidden", "activations"}:
            yield Fault(("stack",), f"expected {Stack.WHAT}, or model: package.module:callable, got neither")
        if model is not None and stack is None and isinstance(fixes, list | tuple):
            hint = "; write fixes: [] or name classes of your own; gradscope.apply_fix changes a model in code"
            for i, fix in enumerate(fixes):
                if fix in STACK_FIX_NAMES:
                    what = f"one of {', '.join(TRAINING_FIX_NAMES)} beside model:, the others change a stack"
                    yield Fault(("fixes", i), expected(what, fix, hint))
        seeds, most = raw.get("seeds"), raw.get("most_seeds")
        count = len(seeds) if isinstance(seeds, list | tuple) else seeds
        if type(count) is int and type(most) is int and most < count:
            yield Fault(("most_seeds",), f"expected at least the {count} seeds that all are trained with, got {most}")
        yield from grid_faults(raw)

    @property
    def fix_names(self) -> tuple[str, ...]:
        """The fixes to try, in order; none where they are chosen by what is found."""
        return self.fixes if isinstance(self.fixes, tuple) else ()

    @property
    def chooses_fixes(self) -> bool:
        """Whether the fixes are chosen by what is found in the control."""
        return self.fixes == AUTO

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
        return self.path_of(self.data) if isinstance(self.data, NpzData) else None

    def path_of(self, data: NpzData) -> Path:
        """Return an npz file that the recipe names, found from its folder."""
        return (self._positions.folder or Path()) / Path(data.path).expanduser()

    @property
    def needs_code(self) -> tuple[tuple[str, str], ...]:
        """Each `package.module:callable` of the recipe with the place where it is named."""
        named: list[tuple[object, Keys]] = [(self.data, ("data",)), (self.model, ("model",))]
        for i, layer in enumerate(self.stack.layers if self.stack else ()):
            named += [(block.activation.name, ("stack", "activations", i)) for block in layer.blocks]
        named += [(fix, ("fixes", i)) for i, fix in enumerate(self.fix_names)]
        if self.grid:
            named += [(data, (*self.grid.key("data"), i)) for i, data in enumerate(self.grid.values("data"))]
            layers = entries_of(self.grid.activations) if self.grid.activations else ()
            named += [(block.activation.name, self.grid.key("activations")) for layer in layers for block in layer.blocks]
        return tuple((text, self.where(*keys)) for text, keys in named if isinstance(text, str) and is_reference(text))

    def where(self, *keys: str | int) -> str:
        """Return `file:line:col` of a key, the option that set it, or the key path of a recipe built in code."""
        return self._positions.where(keys)

    def mark(self, *keys: str | int) -> tuple[int, int]:
        """Return line and column of a key, or of the nearest thing around it; (1, 1) for a recipe built in code."""
        return self._positions.mark(keys)

    def fault(self, text: str, *keys: str | int, of_key: bool = False) -> RecipeError:
        """Return an error about the value at `keys`, or the key, for faults that show only when it is used."""
        return RecipeError(self._positions.lines([Fault(keys, text, of_key)]))

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
    fixes: Sequence[str] | str | None = None,
    most_seeds: int | None = None,
) -> Recipe:
    """Return the recipe with what the command line's options change; None leaves it as it is.

    `data` may be the path of an npz file, which starts at the working directory, not at the recipe's folder.
    A wrong value raises a RecipeError whose line names the option.
    """
    raw: dict[str, Any] = said(recipe)
    for name in recipe.grid.names if recipe.grid else ():  # stand-ins: the grid alone says what they are
        raw.pop(name, None)
    options: dict[Keys, str] = dict(recipe._positions.options)
    npz = {"source": "npz", "path": str(Path(data).expanduser().absolute())} if data and data.endswith(".npz") else None
    changes = {"data": npz or data, "seeds": seeds, "device": device, "fixes": fixes, "most_seeds": most_seeds}
    for name, value in changes.items():
        if value is not None:
            raw[name] = value
            options[(name,)] = f"--{name.replace('_', '-')}"
    if recipe.grid and recipe.stack:
        raw["stack"] = {name: value for name, value in said(recipe.stack).items() if name not in recipe.grid.names}
    if epochs is not None:
        raw["training"] = {**recipe.training.model_dump(exclude_unset=True), "epochs": epochs}
        options[("training", "epochs")] = "--epochs"
    return build_recipe(raw, dataclasses.replace(recipe._positions, options=options))
