"""The single fields of a recipe: what belongs there, and the checks that pydantic's types cannot make in our words."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from gradscope.recipe_faults import Fault, Faults, expected, show
from gradscope.recipe_parts import Expect, Part, choice, names, parsed, raise_if, repeated
from gradscope.recipe_training import MOST_SAMPLES
from gradscope.user_code import PATTERN, is_reference

DATA_NAMES = ("digits", "mnist", "fashion-mnist", "cifar10")
TRAINING_FIX_NAMES = ("lower-lr", "lr-warmup", "clip-gradient", "adam", "scale-input")
"""Fixes that change how a network is trained and not what it is, so that they suit a model of the user's own, too."""

STACK_FIX_NAMES = (
    "he-init", "xavier-init", "lsuv-init", "drop-output-activation", "leaky-relu", "gelu", "centre-sigmoid",
    "swap-sigmoid-tanh", "batchnorm-last", "batchnorm-all", "layernorm-all", "residual",
)  # fmt: skip
FIX_NAMES = (*TRAINING_FIX_NAMES, *STACK_FIX_NAMES)
"""The fixes that a recipe may name, the smaller change first."""

DEFAULT_FIXES = ("batchnorm-last", "batchnorm-all")
AUTO = "auto"
"""Fixes that are chosen by what was found: `gradscope.fixes.fixes_for`."""

PER_FEATURE = "per-feature"
RULES: Mapping[str, str] = {
    "dead-units": "GS101",
    "dead-layer": "GS102",
    "output-collapse": "GS103",
    "saturation": "GS104",
    "vanishing-gradient": "GS105",
    "exploding-gradient": "GS106",
    "non-finite": "GS107",
    "common-mode": "GS108",
    "identical-units": "GS109",
    "frozen-weights": "GS201",
    "oversized-updates": "GS202",
    "stuck-at-chance": "GS203",
    "diverging-loss": "GS204",
    "unscaled-input": "GS301",
}
"""Slug and code of each rule that `expect` may name; the rules themselves cannot be imported from here."""

HEALTHY = "healthy"
MOST_SEEDS = 1000


class NpzData(Part):
    """Samples in an npz file: x_train, y_train, x_test, y_test, or x, y that are split by a seed."""

    WHAT: ClassVar[str] = "a mapping such as {source: npz, path: a.npz}"

    source: Annotated[Literal["npz"], choice("npz")]
    path: Annotated[str, Field(min_length=1), Expect("the path of an npz file")]
    train: Annotated[int | None, Field(ge=1, le=MOST_SAMPLES), Expect("a whole number of samples of at least 1")] = None
    test: Annotated[int | None, Field(ge=1, le=MOST_SAMPLES), Expect("a whole number of samples of at least 1")] = None
    seed: Annotated[int, Field(ge=0, lt=2**32), Expect("a whole number from 0 to 2**32 - 1")] = 0


NAME_PATTERN = re.compile(r"\w[\w .+-]{0,99}")
NAME_EXPECTED = Expect("a name of up to 100 letters, digits, spaces and . _ + -, that starts with a letter or digit")
DATA = Expect(
    f"{', '.join(DATA_NAMES)}, {{source: npz, path: a.npz}} or package.module:callable",
    choices=DATA_NAMES,
    other_words={"uci-digits": "digits", "cifar": "cifar10", "fmnist": "fashion-mnist"},
)
MODEL = Expect("package.module:callable that returns a torch.nn.Module")
FIXES = Expect(
    f"{AUTO}, or a list of fixes ({', '.join(FIX_NAMES)} or package.module:Class), [] for none",
    item=f"{', '.join(FIX_NAMES)} or package.module:Class",
    choices=FIX_NAMES,
    other_words={"kaiming-init": "he-init", "glorot-init": "xavier-init", "grad-clip": "clip-gradient", "warmup": "lr-warmup",
                 "skip-connections": "residual", "center-sigmoid": "centre-sigmoid", "standardise": "scale-input"},
)  # fmt: skip
PAIR = "[mean, std] with two finite numbers, std above 0"
NORMALIZE = Expect(f"{PER_FEATURE}, or {PAIR}", item=PAIR, choices=(PER_FEATURE,))
EXPECTED = Expect(
    "healthy or a list of rules such as [output-collapse]",
    item=f"one of {', '.join(RULES)}",
    choices=tuple(RULES),
    other_words={code: slug for slug, code in RULES.items()},
)
DEVICE = Expect(
    "auto, cpu, cuda, cuda:0 or mps",
    choices=("auto", "cpu", "cuda", "mps"),
    other_words={"gpu": "cuda", **dict.fromkeys(("tpu", "xpu", "npu", "hpu"), "")},
)
SEEDS = Expect(f"a count of seeds from 1 to {MOST_SEEDS}, or a list of them", item="a whole number from 0 to 2**32 - 1")
DEVICE_PATTERN = re.compile(r"auto|cpu|mps|cuda(:[0-9]{1,3})?")


def matching(pattern: re.Pattern[str], expect: Expect) -> BeforeValidator:
    """Return a validator that wants a text of this pattern."""

    def check(value: object) -> object:
        if not (isinstance(value, str) and pattern.fullmatch(value)):
            number = isinstance(value, bool | int | float)
            hint = "; quote it" if number and pattern.fullmatch(show(value)) else ""
            raise Faults([Fault((), expect.got(value) + hint)])
        return value

    return BeforeValidator(check)


def check_model(value: object) -> object:
    """Return a reference.

    Raises:
        Faults: it is something else.
    """
    if value is None or (isinstance(value, str) and is_reference(value)):
        return value
    raise Faults([Fault((), MODEL.got(value))])


def check_data(value: object) -> object:
    """Return the name of data, a reference or an npz file; lists become tuples.

    Raises:
        Faults: it is something else.
    """
    if isinstance(value, Mapping):
        return NpzData.model_validate(value)
    if isinstance(value, NpzData) or (isinstance(value, str) and (value in DATA_NAMES or is_reference(value))):
        return value
    hint = f"; write {{source: npz, path: {value}}}" if isinstance(value, str) and value.endswith(".npz") else ""
    raise Faults([Fault((), expected(DATA.what, value, hint) if hint else DATA.got(value))])


def check_normalize(value: object) -> object:
    """Return mean and std, or the word; lists become tuples.

    Raises:
        Faults: it is something else.
    """
    if value is None or value == PER_FEATURE:
        return value
    if not isinstance(value, list | tuple) or len(value) > 2:
        raise Faults([Fault((), NORMALIZE.got(value))])
    pair = [*value, None, None][:2]
    finite = [isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in pair]
    fit = (finite[0], finite[1] and pair[1] > 0)
    raise_if(Fault((i,), NORMALIZE.got(pair[i], of_item=True)) for i in (0, 1) if not fit[i])
    return tuple(value)


def check_seeds(value: object) -> object:
    """Return a count or a list of different seeds; lists become tuples.

    Raises:
        Faults: it is something else.
    """
    if isinstance(value, list | tuple) and 1 <= len(value) <= MOST_SEEDS:
        raise_if(
            [
                Fault((i,), SEEDS.got(seed, of_item=True))
                for i, seed in enumerate(value)
                if type(seed) is not int or not 0 <= seed < 2**32
            ]
            or repeated(value)
        )
        return tuple(value)
    if type(value) is int and 1 <= value <= MOST_SEEDS:
        return value
    raise Faults([Fault((), SEEDS.got(value))])


def check_expected(value: object) -> object:
    """Return healthy or a list of rules; lists become tuples.

    Raises:
        Faults: it is something else.
    """
    if value is None or value == HEALTHY:
        return value
    if isinstance(value, list | tuple) and value:
        return names(value, EXPECTED)
    raise Faults([Fault((), EXPECTED.got(value))])


_REFERENCE = {"type": "string", "pattern": f"^{PATTERN.pattern}$", "description": "Code of your own; needs --allow-code."}
_FIX_LIST = {"type": "array", "uniqueItems": True, "items": {"anyOf": [{"enum": list(FIX_NAMES)}, _REFERENCE]}}

Name = Annotated[
    str,
    matching(NAME_PATTERN, NAME_EXPECTED),
    WithJsonSchema({"type": "string", "pattern": "^\\w[\\w .+-]*$", "maxLength": 100}),
    Field(description="Names the run's folder; default: the file's name."),
    NAME_EXPECTED,
]
Data = Annotated[
    Annotated[str, WithJsonSchema({"anyOf": [{"enum": list(DATA_NAMES)}, _REFERENCE]})] | NpzData,
    BeforeValidator(parsed(check_data)),
    Field(description="Where the samples come from."),
    DATA,
]
Normalize = Annotated[
    tuple[float, Annotated[float, Field(gt=0)]] | Literal["per-feature"] | None,
    BeforeValidator(check_normalize),
    Field(description="[mean, std] for all samples, or per-feature; without it the training set's own over all values."),
    NORMALIZE,
]
Model = Annotated[
    str | None,
    BeforeValidator(check_model),
    WithJsonSchema(_REFERENCE),
    Field(description="A callable that returns a torch.nn.Module, instead of stack."),
    MODEL,
]
Seeds = Annotated[
    Annotated[int, Field(ge=1, le=MOST_SEEDS)]
    | Annotated[tuple[Annotated[int, Field(ge=0, lt=2**32)], ...], Field(min_length=1, max_length=MOST_SEEDS)],
    BeforeValidator(check_seeds),
    Field(description="A count n for the seeds 1 to n, or a list of different seeds."),
    SEEDS,
]
MostSeeds = Annotated[
    Annotated[int, Field(ge=1, le=MOST_SEEDS)] | None,
    Field(description="Trials of fixes go on to so many seeds where a verdict is open; without it all have the seeds above."),
    Expect(f"a count of seeds up to which open trials go on, at most {MOST_SEEDS}"),
]
Fixes = Annotated[
    Literal["auto"] | tuple[str, ...] | None,
    BeforeValidator(lambda value: value if value == AUTO else names(value, FIXES, reference=True)),
    WithJsonSchema({"anyOf": [{"const": AUTO}, _FIX_LIST]}),
    Field(
        description="Fixes to try in trials; auto = those that suit what is found; without it both batch-norms for a stack, "
        "none for a model."
    ),
    FIXES,
]
Expectation = Annotated[
    Literal["healthy"] | tuple[str, ...] | None,
    BeforeValidator(check_expected),
    WithJsonSchema(
        {"anyOf": [{"const": HEALTHY}, {"type": "array", "minItems": 1, "uniqueItems": True, "items": {"enum": list(RULES)}}]}
    ),
    Field(description="What the diagnosis is expected to find."),
    EXPECTED,
]
Device = Annotated[
    str,
    matching(DEVICE_PATTERN, DEVICE),
    WithJsonSchema({"anyOf": [{"enum": list(DEVICE.choices)}, {"type": "string", "pattern": "^cuda:[0-9]{1,3}$"}]}),
    Field(description="auto = cuda, then mps, then cpu."),
    DEVICE,
]
