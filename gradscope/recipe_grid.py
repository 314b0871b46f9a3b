"""The `grid` of a recipe: keys over lists of values, every combination of which is a cell. What makes a recipe a sweep.

A key is written as it stands within its part (`lr`) or with it (`training.lr`); its values are checked as the recipe's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Annotated, Any, ClassVar

from pydantic import Field, ValidationError

from gradscope.grid_activation_entries import parse_activations
from gradscope.grid_activations import GridActivations
from gradscope.recipe_faults import Fault, Faults, Keys, did_you_mean, expected
from gradscope.recipe_fields import Data, Normalize
from gradscope.recipe_parts import Expect, Part, faults_of, raise_if, repeated
from gradscope.recipe_stack import STAND_INS, OfGrid, Stack
from gradscope.recipe_training import Training

MOST_CELLS = 1_000_000
"""More than anyone trains: a slip in a product is a line of text and not a machine out of memory."""
WHAT = "a mapping of keys over lists of values, such as {lr: [0.1, 0.01], activations: {product: [relu, tanh]}}"


class Samples(Part):
    """The keys of a recipe that say what it is trained on."""

    data: Data
    normalize: Normalize = None


class Sample(Part):
    """A seeded choice of cells."""

    WHAT: ClassVar[str] = "a number of cells such as 100, or {size: 100, seed: 7}"

    size: Annotated[int, Field(ge=1, le=MOST_CELLS), Expect(f"a whole number of cells from 1 to {MOST_CELLS}")]
    seed: Annotated[int, Field(ge=0, lt=2**32), Expect("a whole number from 0 to 2**32 - 1")] = 0


PART_OF: Mapping[str, type[Part]] = {name: part for part in (Samples, Stack, Training) for name in part.model_fields}
"""The keys that a grid may hold, by their short names, with the part that checks their values."""
PREFIXES: Mapping[type[Part], str] = {Samples: "", Stack: "stack.", Training: "training."}
SHORT = {f"{PREFIXES[part]}{name}": name for name, part in PART_OF.items() if PREFIXES[part]}
OTHER_KEYS = {**Stack.OTHER_KEYS, **Training.OTHER_KEYS, "dataset": "data", "activation": "activations", "subset": "sample"}


@dataclass(frozen=True)
class Axis:
    """One key of a grid: its short name, and its values in order."""

    name: str
    values: tuple[object, ...]


@dataclass(frozen=True)
class Grid:
    """What varies between the cells of a sweep."""

    axes: tuple[Axis, ...] = ()
    activations: GridActivations | None = None
    sample: Sample | None = None
    written: Mapping[str, str] = field(default_factory=dict, compare=False)
    """The keys as the recipe writes them, by their short names."""

    @property
    def names(self) -> frozenset[str]:
        """The short names of its keys."""
        return frozenset(axis.name for axis in self.axes) | ({"activations"} if self.activations else frozenset())

    def values(self, name: str) -> tuple[Any, ...]:
        """Return the values of one key, none where the grid does not hold it."""
        return next((axis.values for axis in self.axes if axis.name == name), ())

    def key(self, name: str) -> Keys:
        """Return where a key stands in the recipe."""
        return ("grid", self.written.get(name, name))

    def count(self, hidden: Sequence[tuple[int, ...]]) -> int:
        """Return the number of cells before a sample is drawn; `hidden` are the widths that there are."""
        stacks = [self.activations.count(len(widths) + 1) if self.activations else 1 for widths in hidden]
        return sum(stacks) * prod(len(axis.values) for axis in self.axes if axis.name != "hidden")


def parse_grid(value: object) -> Grid:
    """Return a grid from what a recipe says.

    Raises:
        Faults: something is wrong with it; their keys are those within it.
    """
    if isinstance(value, Grid):
        return value
    if not isinstance(value, Mapping) or not set(value) - {"sample"}:
        raise Faults([Fault((), expected(WHAT, value))])
    faults: list[Fault] = []
    axes: list[Axis] = []
    activations: GridActivations | None = None
    sample: Sample | None = None
    short = {key: SHORT.get(str(key), str(key)) for key in value}
    for key, found in value.items():
        name = short[key]
        if name != key and name in value:
            faults.append(Fault((key,), f"expected each key only once, got {name} as well", of_key=True))
        try:
            if name == "sample":
                sample = parse_sample(found)
            elif name == "activations":
                activations = parse_activations(found)
            elif name in PART_OF:
                axes.append(Axis(name, _values(name, found)))
            else:
                faults.append(Fault((key,), _unknown(str(key)), of_key=True))
        except Faults as error:
            faults += [fault._replace(keys=(key, *fault.keys)) for fault in error.faults]
    raise_if(faults)
    return Grid(tuple(axes), activations, sample, {name: str(key) for key, name in short.items()})


def parse_sample(value: object) -> Sample:
    """Return a sample from a number of cells, or a mapping.

    Raises:
        Faults: it is something else.
    """
    if type(value) is int:
        Sample.checked("size", value)
        return Sample(size=value)
    try:
        return Sample.model_validate(value)
    except ValidationError as error:
        raise Faults(faults_of(error)) from error


def _values(name: str, value: object) -> tuple[object, ...]:
    if not isinstance(value, list | tuple) or not value:
        hint = f"; write [{value}]" if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
        raise Faults([Fault((), expected(f"a list of values for {name}", value, hint))])
    faults: list[Fault] = []
    found: list[object] = []
    for i, item in enumerate(value):
        try:
            found.append(PART_OF[name].checked(name, item))
        except Faults as error:
            faults += [fault._replace(keys=(i, *fault.keys)) for fault in error.faults]
    raise_if(faults or repeated(found))
    return tuple(found)


def _unknown(key: str) -> str:
    known = (*PART_OF, "sample")
    hint = "; write it beside grid" if key == "seeds" else did_you_mean(key.rpartition(".")[2], known, OTHER_KEYS)
    return expected(f"one of {', '.join(known)}", key, hint)


def names_in(grid: object) -> frozenset[str]:
    """Return the short names of the keys in a grid that nobody has checked yet."""
    if isinstance(grid, Grid):
        return grid.names
    found = grid if isinstance(grid, Mapping) else {}
    return frozenset(SHORT.get(key, key) for key in found if isinstance(key, str)) & frozenset(PART_OF)


def filled(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a recipe's mapping with something in the place of what only its grid says, so that the rest can be checked."""
    names = names_in(raw.get("grid"))
    if not names:
        return raw
    full = {"data": "digits", **raw} if "data" in names else dict(raw)
    stack = raw.get("stack") or {}
    if names & {"hidden", "activations", "norm"} and raw.get("model") is None and isinstance(stack, Mapping):
        full["stack"] = OfGrid({name: value for name, value in STAND_INS.items() if name in names} | dict(stack))
    return full


def place_of(name: str) -> Keys:
    """Return where a recipe without a grid has the key.

    >>> place_of("lr"), place_of("data")
    (('training', 'lr'), ('data',))
    """
    part = PREFIXES[PART_OF[name]].removesuffix(".")
    return (part, name) if part else (name,)


def said(part: object) -> dict[str, Any]:
    """Return what was said of a recipe's part that nobody has checked yet, or that is built already."""
    if isinstance(part, Part):
        return {name: getattr(part, name) for name in part.model_fields_set}
    return dict(part) if isinstance(part, Mapping) else {}
