"""The `activations` of a grid: which stacks of activations its cells take.

[[relu, relu, tanh], [relu, tanh, none]]      whole stacks, each as in `stack.activations`
{product: [relu, tanh]}                       every layer takes each of them: 2 x 2 x 2 for three layers
{product: [relu, tanh], output: none}         the output layer keeps one
{pairs: [relu, tanh]}                         every layer takes each unordered pair, in two halves of its units
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement, product
from typing import NamedTuple

from gradscope.activation_entries import entry_of, parse_layer
from gradscope.activations import ActivationSpec, Block, LayerActivation
from gradscope.recipe_faults import Fault, Faults, Keys, did_you_mean, expected
from gradscope.recipe_parts import raise_if, repeated

WHAT = "a list of stacks such as [[relu, tanh], [tanh, relu]], {product: [relu, tanh]} or {pairs: [relu, tanh]}"
STACK = "a list with an activation for each layer, such as [relu, sigmoid, relu]"
ENTRIES = "a list of activations such as [relu, tanh]"

Layers = tuple[LayerActivation, ...]


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
        """Yield them in order."""
        for layers in self.stacks:
            yield Choice(layers, tuple((f"act{i}", text_of(layer)) for i, layer in enumerate(layers, start=1)))

    @property
    def entry(self) -> object:
        """What `parse_activations` reads again."""
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
        parts = [(halves_of(*taken), tuple(map(text_of, taken))) for taken in self.of_a_layer()]
        last = [] if self.output is None else [[(self.output, (text_of(self.output),) * (1 + self.in_pairs))]]
        suffixes = "ab" if self.in_pairs else ("",)
        for layers in product(*[parts] * (depth - len(last)), *last):
            texts = ((f"act{i}{s}", t) for i, (_, found) in enumerate(layers, 1) for s, t in zip(suffixes, found, strict=True))
            yield Choice(tuple(layer for layer, _ in layers), tuple(texts))

    @property
    def entry(self) -> object:
        """What `parse_activations` reads again."""
        form = "pairs" if self.in_pairs else "product"
        output = {} if self.output is None else {"output": entry_of(self.output)}
        return {form: [entry_of(layer) for layer in self.entries], **output}


GridActivations = Stacks | EachLayer


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

    >>> text_of(parse_layer("relu")), text_of(parse_layer({"relu": 1, "tanh": 3})), text_of(parse_layer({"elu": {"alpha": 2}}))
    ('relu', 'relu:1+tanh:3', 'elu(alpha=2)')
    """
    shares = ["" if block.share is None else f":{_plain(block.share)}" for block in layer.blocks]
    return "+".join(_spec_text(block.activation) + share for block, share in zip(layer.blocks, shares, strict=True))


def _spec_text(spec: ActivationSpec) -> str:
    inner = ", ".join(f"{key}={_plain(value)}" for key, value in spec.parameters.items())
    return f"{spec.name}({inner})" if inner else spec.name


def _plain(value: object) -> str:
    return str(value).removesuffix(".0")


def parse_activations(value: object) -> GridActivations:
    """Return what the cells take.

    Raises:
        Faults: the value is none of the forms; their keys are those within it.
    """
    if isinstance(value, Stacks | EachLayer):
        return value
    if isinstance(value, Mapping):
        return _each_layer(value)
    if not isinstance(value, list | tuple) or not value:
        raise Faults([Fault((), expected(WHAT, value))])
    faults: list[Fault] = []
    stacks = [_stack(item, i, faults) for i, item in enumerate(value)]
    raise_if(faults or [fault._replace(text="expected each stack only once") for fault in repeated(stacks)])
    return Stacks(tuple(stacks))


def _each_layer(value: Mapping[str, object]) -> EachLayer:
    known = ("product", "pairs", "output")
    unknown = [key for key in value if key not in known]
    faults = [
        Fault((key,), expected("one of product, pairs, output", key, did_you_mean(key, known)), of_key=True) for key in unknown
    ]
    forms = [form for form in known[:2] if form in value]
    if len(forms) != 1 and not unknown:
        faults.append(Fault((), f"expected either product or pairs, got {'both' if forms else 'neither'}"))
    entries: Layers = ()
    for form in forms:
        entries = _layers(value[form], (form,), ENTRIES, faults)
        faults += [fault._replace(keys=(form, *fault.keys)) for fault in repeated(map(text_of, entries))]
        if form == "pairs":
            faults += [
                Fault((form, i), expected("shares of the half (0.5), which has no fixed number of units", text_of(entry)))
                for i, entry in enumerate(entries)
                if any(isinstance(block.share, int) for block in entry.blocks)
            ]
    output = _layer(value["output"], ("output",), faults) if "output" in value else None
    raise_if(faults)
    return EachLayer(entries, in_pairs=forms == ["pairs"], output=output)


def _stack(item: object, i: int, faults: list[Fault]) -> Layers:
    if isinstance(item, str) or not isinstance(item, list | tuple):
        hint = "; for all their combinations write {product: [...]}" if isinstance(item, str) else ""
        faults.append(Fault((i,), expected(STACK, item, hint)))
        return ()
    return _layers(item, (i,), STACK, faults)


def _layers(value: object, keys: Keys, what: str, faults: list[Fault]) -> Layers:
    """Return the entries of a list; its faults are added to `faults`."""
    if not isinstance(value, list | tuple) or not value:
        faults.append(Fault(keys, expected(what, value)))
        return ()
    found = [_layer(entry, (*keys, i), faults) for i, entry in enumerate(value)]
    return tuple(layer for layer in found if layer is not None)


def _layer(entry: object, keys: Keys, faults: list[Fault]) -> LayerActivation | None:
    try:
        return parse_layer(entry)
    except Faults as error:
        faults += [fault._replace(keys=(*keys, *fault.keys)) for fault in error.faults]
        return None


def activations_schema() -> dict[str, object]:
    """Return the JSON schema within that of a recipe, whose entries it shares."""
    entry = {"$ref": "#/$defs/Stack/properties/activations/items"}
    entries = {"type": "array", "minItems": 1, "items": entry}
    each = {
        "type": "object",
        "properties": {"product": entries, "pairs": entries, "output": entry},
        "additionalProperties": False,
        "oneOf": [{"required": ["product"]}, {"required": ["pairs"]}],
    }
    stacks = {"type": "array", "minItems": 1, "items": entries, "description": "Whole stacks."}
    return {"anyOf": [stacks, each], "description": "Stacks, or what each layer takes: all combinations, or pairs in halves."}


def entries_of(activations: GridActivations) -> Sequence[LayerActivation]:
    """Return every entry that some layer takes."""
    if isinstance(activations, Stacks):
        return [layer for layers in activations.stacks for layer in layers]
    return [*activations.entries, *([] if activations.output is None else [activations.output])]
