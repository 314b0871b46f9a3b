"""How a cell's factors are read: the activations of its layers, one after the other, and everything else.

Activations stand in columns act1, act2, ... (one for a whole layer, whose blocks are joined by +, each with its share of the
units where that is given: relu:1+tanh:3) or act1a, act1b, ... (one for each half of its units).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

ACTIVATION = re.compile(r"act([1-9]\d*)([a-z]?)")
BETWEEN_BLOCKS = re.compile(r"\+(?![^(]*\))")  # not that of elu(alpha=1e+20)
SHARE = re.compile(r":[\d.e+-]+$")

Layer = tuple[str, ...]
"""The activations of a layer's blocks, sorted: it is no matter which of the units have which. Of equal ones there is one."""


def is_activation(name: str) -> bool:
    """Tell whether a factor is the activation of a layer or of a block of its units.

    >>> is_activation("act2b"), is_activation("lr")
    (True, False)
    """
    return ACTIVATION.fullmatch(name) is not None


def layers_of(factors: Mapping[str, str]) -> tuple[Layer, ...]:
    """Return the activations of each layer in order; () where the sweep does not name them.

    >>> layers_of({"act1a": "tanh", "act1b": "relu", "act2a": "relu", "act2b": "relu", "lr": "0.1"})
    (('relu', 'tanh'), ('relu',))
    >>> layers_of({"act1": "tanh+relu", "act2": "relu:1+tanh:3"})
    (('relu', 'tanh'), ('relu:1', 'tanh:3'))
    """
    layers: dict[int, list[str]] = {}
    for name, value in factors.items():
        found = ACTIVATION.fullmatch(name)
        if found and value:
            layers.setdefault(int(found[1]), []).append(value)
    return tuple(layer_of(*layers[number]) for number in sorted(layers))


def layer_of(*halves: str) -> Layer:
    """Return a layer from the text of its activation, or from those of its halves.

    >>> layer_of("relu"), layer_of("tanh", "relu+elu(alpha=1e+20)"), layer_of("relu+tanh", "relu+tanh")
    (('relu',), ('elu(alpha=1e+20)', 'relu', 'tanh'), ('relu', 'tanh'))
    """
    blocks = sorted(block for half in dict.fromkeys(halves) for block in BETWEEN_BLOCKS.split(half))
    return tuple(blocks) if len(set(blocks)) > 1 else (blocks[0],)


def activation_of(block: str) -> str:
    """Return a block's activation without its share of the units.

    >>> activation_of("tanh:3"), activation_of("relu:0.25"), activation_of("package.module:Relu")
    ('tanh', 'relu', 'package.module:Relu')
    """
    return SHARE.sub("", block)


def others_of(factors: Mapping[str, str]) -> dict[str, str]:
    """Return the factors that are no activations.

    >>> others_of({"act1": "tanh", "lr": "0.1"})
    {'lr': '0.1'}
    """
    return {name: value for name, value in factors.items() if not is_activation(name)}


def layer_text(layer: Layer) -> str:
    """Return a layer's activations in one word.

    >>> layer_text(("relu", "tanh"))
    'relu+tanh'
    """
    return "+".join(layer)


def stack_text(layers: Iterable[Layer]) -> str:
    """Return the activations of all layers, from the input to the output; more than three alike are counted.

    >>> stack_text([("relu",), ("sigmoid",), ("relu",)]), stack_text([("tanh",)] * 30)
    ('relu sigmoid relu', 'tanh x30')
    """
    words = [layer_text(layer) for layer in layers]
    return f"{words[0]} x{len(words)}" if len(words) > 3 and len(set(words)) == 1 else " ".join(words)


def cell_text(factors: Mapping[str, str]) -> str:
    """Return a cell in one line: its activations, then the other factors.

    >>> cell_text({"act1": "relu", "act2": "tanh", "lr": "0.1", "optimizer": "sgd"})
    'relu tanh, lr 0.1, optimizer sgd'
    """
    stack = stack_text(layers_of(factors))
    return ", ".join([*([stack] if stack else []), *(f"{name} {value}" for name, value in others_of(factors).items())])
