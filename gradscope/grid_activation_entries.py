"""The forms that `grid.activations` may take in a recipe.

[[relu, relu, tanh], [relu, tanh, none]]      whole stacks, each as in `stack.activations`
{product: [relu, tanh]}                       every layer takes each of them: 2 x 2 x 2 for three layers
{product: [relu, tanh], output: none}         the output layer keeps one
{pairs: [relu, tanh]}                         every layer takes each unordered pair, in two halves of its units
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement

from gradscope.activation_entries import parse_layer
from gradscope.activations import LayerActivation
from gradscope.grid_activations import EachLayer, GridActivations, Layers, Stacks, halves_of, text_of, units_of
from gradscope.recipe_faults import Fault, Faults, Keys, did_you_mean, expected
from gradscope.recipe_parts import raise_if

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
    raise_if(faults or _same_stacks(stacks))
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


def _same_stacks(stacks: Sequence[Layers]) -> list[Fault]:
    """Return a fault for each stack that trains as one before it does, be it written in another way."""
    seen: dict[object, int] = {}
    faults = []
    for i, layers in enumerate(stacks):
        first = seen.setdefault(tuple(map(units_of, layers)), i)
        if first < i:
            got = f"got the network of [{first}] again: {' '.join(map(text_of, stacks[first]))}"
            faults.append(Fault((i,), f"expected each stack only once, in whatever order the units of its layers are, {got}"))
    return faults


def _same_layers(entries: Layers, *, in_pairs: bool) -> dict[int, str]:
    """Return by its place what is wrong with an entry that gives a layer again, be it written in another way."""
    texts = list(map(text_of, entries))
    faults: dict[int, str] = {}
    seen: dict[object, str] = {}
    for places in combinations_with_replacement(range(len(texts)), 2) if in_pairs else zip(range(len(texts))):
        halves = [texts[i] for i in places]
        told, layer = " and ".join(dict.fromkeys(halves)), units_of(halves_of(*(entries[i] for i in places)))
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
