"""The forms that `grid.activations` may take in a recipe.

[[relu, relu, tanh], [relu, tanh, none]]      whole stacks, each as in `stack.activations`
{product: [relu, tanh]}                       every layer takes each of them: 2 x 2 x 2 for three layers
{product: [relu, tanh], output: none}         the output layer keeps one
{pairs: [relu, tanh]}                         every layer takes each unordered pair, in two halves of its units
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations_with_replacement

from gradscope.activation_entries import parse_layer
from gradscope.activations import LayerActivation
from gradscope.cell_factors import Layer, layer_of
from gradscope.grid_activations import EachLayer, GridActivations, Layers, Stacks, text_of
from gradscope.recipe_faults import Fault, Faults, Keys, did_you_mean, expected
from gradscope.recipe_parts import raise_if, repeated

WHAT = "a list of stacks such as [[relu, tanh], [tanh, relu]], {product: [relu, tanh]} or {pairs: [relu, tanh]}"
STACK = "a list with an activation for each layer, such as [relu, sigmoid, relu]"
ENTRIES = "a list of activations such as [relu, tanh]"


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
    raise_if(faults or [_same_stack(fault) for fault in repeated([tuple(map(_in_any_order, layers)) for layers in stacks])])
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
    entries = [_entries(value[form], form, faults) for form in forms]
    output = _layer(value["output"], ("output",), faults) if "output" in value else None
    raise_if(faults)
    return EachLayer(entries[0], in_pairs=forms == ["pairs"], output=output)


def _entries(value: object, form: str, faults: list[Fault]) -> Layers:
    entries = _layers(value, (form,), ENTRIES, faults)
    faults += [Fault((form, i), text) for i, text in _same_layers(entries, in_pairs=form == "pairs").items()]
    for i, entry in enumerate(entries):
        if form == "pairs" and any(isinstance(block.share, int) for block in entry.blocks):
            what = "shares of the half (0.5), which has no fixed number of units"
            faults.append(Fault((form, i), expected(what, text_of(entry))))
    return entries


def _in_any_order(layer: LayerActivation) -> Layer:
    """Return what two layers have in common that differ only in which of their units have which activation."""
    return layer_of(text_of(layer))


def _same_stack(fault: Fault) -> Fault:
    return fault._replace(text="expected each stack only once, in whatever order the units of its layers are")


def _same_layers(entries: Layers, *, in_pairs: bool) -> dict[int, str]:
    """Return by its place what is wrong with an entry that gives a layer again, be it with its units in another order."""
    texts = list(map(text_of, entries))
    faults: dict[int, str] = {}
    seen: dict[Layer, str] = {}
    for places in combinations_with_replacement(range(len(texts)), 2) if in_pairs else zip(range(len(texts))):
        halves = [texts[i] for i in places]
        told, layer = " and ".join(dict.fromkeys(halves)), layer_of(*halves)
        if texts[places[-1]] in texts[: places[-1]]:
            faults[places[-1]] = expected("each only once", texts[places[-1]])
        elif layer in seen:
            faults.setdefault(places[-1], expected("each layer only once", told, f", which has the units of {seen[layer]}"))
        seen.setdefault(layer, told)
    return faults


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
