"""Which stacks of activations the cells of a grid take, and how a table's columns name them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement, product
from typing import NamedTuple

from gradscope.activation_entries import entry_of
from gradscope.activations import TABLE, ActivationSpec, Block, LayerActivation

Layers = tuple[LayerActivation, ...]
HALVES = {1: ("",), 2: ("a", "b")}
"""How the columns of a layer end: there is one of it, or one of each half."""


class Choice(NamedTuple):
    """The activations of one stack, and how its columns `act1`, `act2`, ... name them."""

    layers: Layers
    columns: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Stacks:
    """Whole stacks, as they are listed."""

    stacks: tuple[Layers, ...]

    def count(self, depth: int) -> int:
        """Return how many there are; each has its own `depth`, the number of its layers."""
        return len(self.stacks)

    def choices(self, depth: int) -> Iterator[Choice]:
        """Yield them in order; where layers are divided in halves, each half has a column."""
        blocks = [layer.blocks for layers in self.stacks for layer in layers]
        in_halves = {len(found) for found in blocks} == {1, 2} or all(len(found) == 2 for found in blocks)
        in_halves = in_halves and all(block.share is None for found in blocks for block in found)
        for layers in self.stacks:
            taken = [_blocks_of(layer) if in_halves else (layer,) for layer in layers]
            yield Choice(layers, _columns(taken))

    @property
    def entry(self) -> object:
        """What `grid_activation_entries` reads again."""
        return [[entry_of(layer) for layer in layers] for layers in self.stacks]


@dataclass(frozen=True)
class EachLayer:
    """Each layer takes each of the entries, or each unordered pair of them; `output` is the last layer's where it keeps one."""

    entries: Layers
    in_pairs: bool = False
    output: LayerActivation | None = None

    def of_a_layer(self) -> list[tuple[LayerActivation, ...]]:
        """Return what a layer may take: entries, or the two halves of its units."""
        return list(combinations_with_replacement(self.entries, 2)) if self.in_pairs else [(entry,) for entry in self.entries]

    def count(self, depth: int) -> int:
        """Return how many stacks of `depth` layers there are."""
        return int(len(self.of_a_layer()) ** (depth - (self.output is not None)))

    def choices(self, depth: int) -> Iterator[Choice]:
        """Yield the stacks of `depth` layers, the first layer's activation the slowest to change."""
        parts = [(halves_of(*taken), taken) for taken in self.of_a_layer()]
        last = [] if self.output is None else [[(self.output, (self.output,) * (1 + self.in_pairs))]]
        for found in product(*[parts] * (depth - len(last)), *last):
            yield Choice(tuple(layer for layer, _ in found), _columns([taken for _, taken in found]))

    @property
    def entry(self) -> object:
        """What `grid_activation_entries` reads again."""
        form = "pairs" if self.in_pairs else "product"
        output = {} if self.output is None else {"output": entry_of(self.output)}
        return {form: [entry_of(layer) for layer in self.entries], **output}


GridActivations = Stacks | EachLayer


def _columns(taken: Sequence[Layers]) -> tuple[tuple[str, str], ...]:
    """Return the columns of a stack's layers, each with what it takes: one activation, or two for its halves."""
    return tuple(
        (f"act{i}{half}", text_of(part))
        for i, parts in enumerate(taken, start=1)
        for half, part in zip(HALVES[len(parts)], parts, strict=True)
    )


def _blocks_of(layer: LayerActivation) -> Layers:
    """Return the two halves of a layer that is divided so, or of one that is not."""
    blocks = [LayerActivation((block,)) for block in layer.blocks]
    return blocks[0], blocks[-1]


def halves_of(first: LayerActivation, second: LayerActivation | None = None) -> LayerActivation:
    """Return a layer whose units are divided in halves, the first larger by the odd unit; of equals there is only one part."""
    if second is None or first == second:
        return first
    blocks = [(len(half.blocks), block) for half in (first, second) for block in half.blocks]
    if all(count == 1 for count, _ in blocks):
        return LayerActivation(tuple(Block(block.activation) for _, block in blocks))
    return LayerActivation(
        tuple(Block(block.activation, 0.5 * (block.share if block.share is not None else 1 / count)) for count, block in blocks)
    )


def text_of(layer: LayerActivation) -> str:
    """Return a layer's activation as a cell of a table; different ones have different texts.

    >>> from gradscope.activation_entries import parse_layer
    >>> text_of(parse_layer("relu")), text_of(parse_layer({"relu": 1, "tanh": 3})), text_of(parse_layer({"elu": {"alpha": 2}}))
    ('relu', 'relu:1+tanh:3', 'elu(alpha=2)')
    """
    shares = ["" if block.share is None else f":{_plain(block.share)}" for block in layer.blocks]
    return "+".join(_spec_text(block.activation) + share for block, share in zip(layer.blocks, shares, strict=True))


def units_of(layer: LayerActivation) -> tuple[tuple[str, float], ...]:
    """Return which part of a layer's units has which activation: the same for layers that train alike, however written.

    Parameters that have torch's own values are left out, equal blocks are one, and their order is no matter.

    >>> from gradscope.activation_entries import parse_layer
    >>> units_of(parse_layer({"tanh": 1, "relu": 3})), units_of(parse_layer([{"leaky_relu": {"negative_slope": 0.01}}] * 2))
    ((('relu', 0.75), ('tanh', 0.25)), (('leaky_relu', 1.0),))
    """
    given = [1.0 if block.share is None else block.share for block in layer.blocks]
    parts: dict[str, float] = {}
    for block, share in zip(layer.blocks, given, strict=True):
        text = _spec_text(_without_defaults(block.activation))
        parts[text] = parts.get(text, 0.0) + share / sum(given)
    return tuple(sorted((text, round(part, 6)) for text, part in parts.items()))


def _without_defaults(spec: ActivationSpec) -> ActivationSpec:
    known = TABLE[spec.name].parameters if spec.name in TABLE else {}
    kept = {key: value for key, value in spec.parameters.items() if key not in known or value != known[key].default}
    return ActivationSpec(spec.name, dict(sorted(kept.items())))


def _spec_text(spec: ActivationSpec) -> str:
    inner = ", ".join(f"{key}={_plain(value)}" for key, value in spec.parameters.items())
    return f"{spec.name}({inner})" if inner else spec.name


def _plain(value: object) -> str:
    return str(value).removesuffix(".0")


def entries_of(activations: GridActivations) -> Sequence[LayerActivation]:
    """Return every entry that some layer takes."""
    if isinstance(activations, Stacks):
        return [layer for layers in activations.stacks for layer in layers]
    return [*activations.entries, *([] if activations.output is None else [activations.output])]
