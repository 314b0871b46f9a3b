"""The network of a recipe: a stack of linear layers with its activations, norms and initial weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import eq
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from gradscope.activation_entries import entry_schema, parse_layer
from gradscope.activations import NONE, LayerActivation
from gradscope.recipe_faults import Fault, Faults, show
from gradscope.recipe_parts import Expect, Part, as_tuple, choice, parsed, raise_if

MOST_LAYERS, MOST_UNITS = 1000, 1_000_000
"""Limits far above any use, so that a slip of the keyboard is a line of text and not a machine out of memory."""

Norm = Literal["none", "batchnorm", "layernorm"]
StackNorm = Literal["none", "batchnorm-all", "batchnorm-last", "layernorm-all"]
NormWeight = Literal["ones", "uniform"]
Init = Literal[
    "default", "kaiming-normal", "kaiming-uniform", "xavier-normal", "xavier-uniform", "lecun-normal", "matched-normal",
    "orthogonal", "lsuv", "zeros",
]  # fmt: skip
INITS = (
    "default",
    "kaiming-normal",
    "kaiming-uniform",
    "xavier-normal",
    "xavier-uniform",
    "lecun-normal",
    "matched-normal",
    "orthogonal",
    "lsuv",
    "zeros",
)
LAYER_NORM = choice("none", "batchnorm", "layernorm", off="none", no="none", false="none", bn="batchnorm", ln="layernorm")
STACK_NORM = choice(
    "none", "batchnorm-all", "batchnorm-last", "layernorm-all",
    off="none", no="none", false="none", batchnorm="batchnorm-all", bn="batchnorm-all", layernorm="layernorm-all",
)  # fmt: skip
INIT = choice(*INITS, he="kaiming-normal", glorot="xavier-uniform", xavier="xavier-uniform", kaiming="kaiming-normal",
              lecun="lecun-normal", matched="matched-normal",
              layer_sequential="lsuv", zero="zeros", none="default", torch="default")  # fmt: skip


class NormalInit(Part):
    """Weights from a normal distribution of mean zero, biases zero."""

    WHAT: ClassVar[str] = "a mapping such as {std: 0.01}"

    std: Annotated[float, Field(gt=0), Expect("a finite number above 0")]


def _stack_norm(value: object) -> object:
    if isinstance(value, list | tuple):
        raise_if(Fault((i,), LAYER_NORM.got(item)) for i, item in enumerate(value) if item not in LAYER_NORM.choices)
        return tuple(value)
    if value not in STACK_NORM.choices:
        text = STACK_NORM.got(value).replace(" or layernorm-all", ", layernorm-all or a list of one for each layer", 1)
        raise Faults([Fault((), text)])
    return value


def _init(value: object) -> object:
    if isinstance(value, Mapping):
        return NormalInit.model_validate(value)
    if isinstance(value, NormalInit) or value in INITS:
        return value
    raise Faults([Fault((), INIT.got(value).replace(" or zeros", ", zeros or {std: 0.01}", 1))])


def _entries(hidden: int) -> str:
    return f"{hidden + 1} entries, one for each hidden layer and one for the output" if hidden else "1 entry, for the output"


class Stack(Part):
    """A feed-forward network; the widths of input and output come from the data."""

    WHAT: ClassVar[str] = "a mapping with hidden and activations"
    OTHER_KEYS: ClassVar[Mapping[str, str]] = {
        "widths": "hidden", "layers": "hidden", "act": "activations", "nonlinearity": "activations",
        "normalization": "norm", "batchnorm": "norm", "norm_init": "norm_weight",
        "gamma": "norm_weight", "initialization": "init", "weight_init": "init",
        "shortcuts": "residual", "skip": "residual",
    }  # fmt: skip

    hidden: Annotated[
        tuple[Annotated[int, Field(ge=1, le=MOST_UNITS)], ...],
        BeforeValidator(as_tuple),
        Field(max_length=MOST_LAYERS, description="Widths of the hidden layers; [] for a single linear layer."),
        Expect("a list of layer widths such as [500, 256]", item=f"a whole number of units from 1 to {MOST_UNITS}"),
    ]
    activations: Annotated[
        tuple[Annotated[LayerActivation, BeforeValidator(parse_layer), WithJsonSchema(entry_schema())], ...],
        BeforeValidator(as_tuple),
        Field(min_length=1, description="One for each linear layer, the output's included; none = no activation there."),
        Expect("a list of activations such as [relu, sigmoid, relu]"),
    ]
    norm: Annotated[
        StackNorm | tuple[Norm, ...],
        BeforeValidator(_stack_norm),
        Field(description="Normalisation before the activation: a word, or a list with one for each linear layer."),
        STACK_NORM,
    ] = "none"
    norm_weight: Annotated[
        NormWeight,
        Field(description="Initial weights of the norms; uniform = from 0 to 1, as torch's batch-norm before version 1.2."),
        choice("ones", "uniform", default="ones", random="uniform"),
    ] = "ones"
    init: Annotated[
        Init | NormalInit,
        BeforeValidator(parsed(_init)),
        Field(
            description="Initial weights; default = torch's own, matched-normal = by the gain of the activation before, "
            "lsuv = orthogonal, then each layer's pre-activations scaled to unit variance on samples."
        ),
        INIT,
    ] = "default"
    residual: Annotated[
        bool,
        Field(description="Identity shortcuts around the hidden layers that are as wide as the hidden layer before."),
        choice("true", "false", yes="true", on="true", no="false", off="false"),
    ] = False

    @property
    def layers(self) -> tuple[LayerActivation, ...]:
        """The activation of each linear layer."""
        return self.activations

    @property
    def norms(self) -> tuple[Norm, ...]:
        """The normalisation of each linear layer."""
        if isinstance(self.norm, tuple):
            return self.norm
        kind, _, which = self.norm.partition("-")
        last: Norm = "batchnorm" if kind == "batchnorm" else "layernorm" if kind == "layernorm" else "none"
        others: Norm = last if which == "all" else "none"
        return (others,) * (len(self.activations) - 1) + (last,)

    def has_shortcut(self, index: int) -> bool:
        """Tell whether the outputs of the layer before are added to those of layer `index`, counted from 0."""
        return self.residual and 0 < index < len(self.hidden) and self.hidden[index] == self.hidden[index - 1]

    @classmethod
    def cross_faults(cls, raw: Mapping[str, Any]) -> Iterator[Fault]:
        """Yield what does not fit together; where a grid holds a part of the stack, that is for the grid to check."""
        if not isinstance(raw, OfGrid):
            yield from misfits(raw.get("hidden"), raw.get("activations"), raw.get("norm"))
            yield from without_shortcut(raw.get("residual"), raw.get("hidden"))


def without_shortcut(residual: object, hidden: object) -> Iterator[Fault]:
    """Yield shortcuts that no layer can have, which would silently change nothing."""
    if residual is True and isinstance(hidden, list | tuple) and not any(map(eq, hidden, hidden[1:])):
        text = "expected two hidden layers of equal width in a row for a shortcut"
        yield Fault(("residual",), f"{text}, got hidden {show(list(hidden))}; leave it away")


class OfGrid(dict[str, Any]):
    """The mapping of a stack of which a grid holds a part; what it holds is stood in for by `STAND_INS`."""


STAND_INS: Mapping[str, tuple[object, ...]] = {"hidden": (), "activations": (parse_layer(NONE),)}


def misfits(hidden: object, activations: object, norm: object) -> Iterator[Fault]:
    """Yield lists of the wrong length, and blocks of units that do not fit a hidden layer's width.

    Args:
        hidden: widths; without a list there is nothing to compare with.
        activations: entries in any form, or parsed ones.
        norm: a word, or a list.
    """
    if not isinstance(hidden, list | tuple):
        return
    for name, value in (("activations", activations), ("norm", norm)):
        if isinstance(value, list | tuple) and value and len(value) != len(hidden) + 1:
            yield Fault((name,), f"expected {_entries(len(hidden))}, got {len(value)}")
    if isinstance(norm, list | tuple) and not norm:
        yield Fault(("norm",), f"expected {_entries(len(hidden))}, got none; for no norm at all write none")
    entries = activations if isinstance(activations, list | tuple) else ()
    for i, (width, entry) in enumerate(zip(hidden, entries, strict=False)):
        if type(width) is int and 1 <= width <= MOST_UNITS:
            try:
                parse_layer(entry).resolve(width)
            except Faults:
                continue  # reported where the field itself is checked
            except ValueError as error:
                yield Fault(("activations", i), str(error))
