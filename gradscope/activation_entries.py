"""The forms that an entry of `stack.activations` may take in a recipe, read and written.

relu                                          all units of the layer
{leaky_relu: {negative_slope: 0.1}}           with parameters
mine.activations:wave                         the user's own
[relu, sigmoid]                               equal blocks of neighbouring units
{relu: 1, sigmoid: 255}                       blocks by count of units
{relu: 0.25, tanh: 0.75}                      blocks by share of units
[{elu: {alpha: 2}, units: 1}, {relu: 255}]    any block with its count or share
"""

from __future__ import annotations

from collections.abc import Mapping

from gradscope.activations import KNOWN, NONE, ORDERED, ActivationSpec, Block, LayerActivation, Value, check_shares
from gradscope.recipe_faults import Fault, Faults, Keys, did_you_mean, expected, one_of
from gradscope.user_code import is_reference

OTHER_WORDS = {"swish": "silu", "identity": "none", "linear": "none", "off": "none", "no": "none", "false": "none"}
OTHER_WORDS |= {"centered_sigmoid": "centred_sigmoid", "shifted_sigmoid": "centred_sigmoid"}
OTHER_WORDS |= {activation.torch_class: name for name, activation in KNOWN.items()}

MIXING = ("softmax", "logsoftmax", "softmin", "softmax2d", "glu", "swiglu", "geglu", "maxout", "multiheadattention")

FORMS = "an activation (relu, tanh, sigmoid, ..., none), package.module:callable, a list or a mapping of them"


def parse_layer(value: object) -> LayerActivation:
    """Return the activation of a layer from an entry of `stack.activations`.

    >>> parse_layer({"relu": 1, "sigmoid": 255}).resolve(256)[1][1]
    255

    Raises:
        Faults: the entry is none of the forms.
    """
    faults: list[Fault] = []
    if isinstance(value, LayerActivation):
        return value
    if isinstance(value, list | tuple) and value:
        blocks = [_block(item, (i,), faults) for i, item in enumerate(value)]
    elif isinstance(value, Mapping) and value and not any(isinstance(item, Mapping) for item in value.values()):
        blocks = [Block(_spec(name, {}, (name,), faults), _share(share, (name,), faults)) for name, share in value.items()]
    else:
        blocks = [_block(value, (), faults)]
    shares = {type(block.share) for block in blocks}
    if not faults and shares != {type(None)} and shares != {int}:
        try:
            check_shares(tuple(block.share for block in blocks))
        except ValueError as error:
            faults.append(Fault((), str(error)))
    if faults:
        raise Faults(faults)
    return LayerActivation(tuple(blocks))


def _block(item: object, keys: Keys, faults: list[Fault]) -> Block:
    """Return one block from `relu`, `{relu: 3}`, `{elu: {alpha: 2}}` or, within a list, `{elu: {alpha: 2}, units: 3}`."""
    if not isinstance(item, Mapping):
        return Block(_spec(item, {}, keys, faults))
    names = [name for name in item if name != "units"]
    if len(names) != 1 or (not keys and "units" in item):
        faults.append(Fault(keys, expected("one activation with its parameters, such as {elu: {alpha: 2}}", item)))
        return Block(ActivationSpec(NONE))
    given = item[names[0]]
    inner = (*keys, names[0])
    if isinstance(given, Mapping):
        share = _share(item["units"], (*keys, "units"), faults) if "units" in item else None
        return Block(_spec(names[0], given, inner, faults), share)
    return Block(_spec(names[0], {}, inner, faults), _share(given, inner, faults))


def _share(value: object, keys: Keys, faults: list[Fault]) -> int | float | None:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    if isinstance(value, float) and 0 < value <= 1:
        return value
    faults.append(Fault(keys, expected("a count of units (3), a share of them (0.25) or parameters ({alpha: 2})", value)))
    return None


def _spec(name: object, parameters: Mapping[str, object], keys: Keys, faults: list[Fault]) -> ActivationSpec:
    if not isinstance(name, str) or not (name in KNOWN or is_reference(name)):
        faults.append(Fault(keys, expected(FORMS, name, _hint(name)), of_key=bool(keys) and keys[-1] == name))
        return ActivationSpec(NONE)
    known = KNOWN[name].parameters if name in KNOWN else {}
    fitting: dict[str, Value] = {}
    for key, value in parameters.items():
        if key not in known:
            what = f"one of {name}'s parameters ({', '.join(known)})" if known else f"no parameters for {name}"
            faults.append(Fault((*keys, key), expected(what, key, did_you_mean(key, known)), of_key=True))
        elif not known[key].fits(value):
            faults.append(Fault((*keys, key), expected(known[key].what, value, did_you_mean(value, known[key].choices))))
        else:
            fitting[key] = value if isinstance(value, str) else float(value)  # type: ignore[arg-type]  # fits() saw a number
    missing = [key for key, parameter in known.items() if parameter.default is None and key not in parameters]
    if missing:
        faults.append(Fault(keys, f"expected {{{name}: {{threshold: 0.1, value: 0}}}}, got no {' and no '.join(missing)}"))
    if not faults and name in ORDERED:
        low, high = ORDERED[name]
        values = {key: parameter.default for key, parameter in known.items()} | fitting
        if not values[low] < values[high]:  # type: ignore[operator]  # both are numbers by the checks above
            faults.append(Fault(keys, f"expected {low} below {high}, got {values[low]:g} and {values[high]:g}"))
    return ActivationSpec(name, fitting)


def _hint(name: object) -> str:
    if name is None:
        return "; write none for a layer without activation"
    if str(name).lower().replace("_", "") in MIXING:
        return "; it mixes units, and only element-wise activations have a slope per unit"
    return did_you_mean(name, KNOWN, OTHER_WORDS) or f"; known are {one_of(list(KNOWN))}"


def entry_of(layer: LayerActivation) -> object:
    """Return the entry that `parse_layer` turns into `layer` again, in its shortest form.

    >>> entry_of(parse_layer(["relu"])), entry_of(parse_layer([{"relu": 1}, {"tanh": 3}]))
    ('relu', {'relu': 1, 'tanh': 3})
    """
    blocks = layer.blocks
    plain = not any(block.activation.parameters for block in blocks)
    if len(blocks) == 1 and blocks[0].share is None:
        return _entry(blocks[0])
    if plain and all(block.share is not None for block in blocks) and len({b.activation.name for b in blocks}) == len(blocks):
        return {block.activation.name: block.share for block in blocks}
    return [_entry(block) for block in blocks]


def _entry(block: Block) -> object:
    spec, share = block.activation, block.share
    if spec.parameters:
        return {spec.name: dict(spec.parameters)} | ({} if share is None else {"units": share})
    return spec.name if share is None else {spec.name: share}


def entry_schema() -> dict[str, object]:
    """Return the JSON schema of an entry, for editors: names, parameters and the three ways to divide a layer."""
    name: dict[str, object] = {
        "anyOf": [{"enum": list(KNOWN)}, {"type": "string", "pattern": "^[^:\\s]+:[^:\\s]+$"}],
        "description": "An activation of torch.nn in snake_case, centred_sigmoid, none, or package.module:callable.",
    }
    with_parameters = {known: _parameters_schema(known) for known in KNOWN if KNOWN[known].parameters}
    share = {"type": "number", "exclusiveMinimum": 0, "description": "A count of units (3) or a share of them (0.25)."}
    one = {
        "type": "object",
        "properties": with_parameters,
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
    }
    block = {
        "type": "object",
        "properties": {known: {"anyOf": [share, schema]} for known, schema in with_parameters.items()} | {"units": share},
        "additionalProperties": share,
        "minProperties": 1,
        "maxProperties": 2,
    }
    shares = {
        "type": "object",
        "propertyNames": name,
        "additionalProperties": share,
        "minProperties": 1,
        "description": "Units by count or by share.",
    }
    blocks = {"type": "array", "items": {"anyOf": [name, block]}, "minItems": 1, "description": "Blocks of neighbouring units."}
    return {"anyOf": [name, one, shares, blocks]}


def _parameters_schema(name: str) -> dict[str, object]:
    known = KNOWN[name].parameters
    properties: dict[str, dict[str, object]] = {}
    for key, parameter in known.items():
        properties[key] = {"enum": list(parameter.choices)} if parameter.choices else {"type": "number"}
        if parameter.default is not None:
            properties[key]["default"] = parameter.default
    required = [key for key, parameter in known.items() if parameter.default is None]
    return {"type": "object", "properties": properties, "additionalProperties": False, "required": required}
