"""The activations that a recipe may name, and how one layer's units share them. No torch here: a name is only data.

`TABLE` holds every element-wise activation of `torch.nn` (a test compares it with torch's own list), `OWN` what torch has not.
Softmax, GLU and attention mix units and are no activations of a single unit, so they have no slope per unit that could be
diagnosed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from gradscope.recipe_faults import one_of
from gradscope.user_code import is_reference

Value = float | bool | str


class Parameter(NamedTuple):
    """What one parameter of an activation may be; `default` None means that it must be given."""

    default: float | str | None
    above: float = -math.inf
    at_least: float = -math.inf
    choices: tuple[str, ...] = ()

    @property
    def what(self) -> str:
        """What a message says that it expects."""
        if self.choices:
            return one_of(self.choices)
        limits = [f" above {self.above:g}"] * (self.above > -math.inf) + [f" of at least {self.at_least:g}"]
        return "a finite number" + (limits[0] if max(self.above, self.at_least) > -math.inf else "")

    def fits(self, value: object) -> bool:
        """Tell whether `value` may be given; a truth value is no number."""
        if self.choices:
            return value in self.choices
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return self.above < value and self.at_least <= value and abs(value) <= 1e30  # beyond, float32 overflows


class Activation(NamedTuple):
    """A class with the parameters that a recipe may set; `inplace` is not one, it changes no value."""

    torch_class: str
    parameters: Mapping[str, Parameter] = {}


NONE = "none"
TABLE: Mapping[str, Activation] = {
    NONE: Activation("Identity"),
    "relu": Activation("ReLU"),
    "relu6": Activation("ReLU6"),
    "leaky_relu": Activation("LeakyReLU", {"negative_slope": Parameter(0.01)}),
    "prelu": Activation("PReLU", {"init": Parameter(0.25)}),
    "rrelu": Activation("RReLU", {"lower": Parameter(1 / 8), "upper": Parameter(1 / 3)}),
    "elu": Activation("ELU", {"alpha": Parameter(1.0)}),
    "selu": Activation("SELU"),
    "celu": Activation("CELU", {"alpha": Parameter(1.0, above=0)}),
    "gelu": Activation("GELU", {"approximate": Parameter("none", choices=("none", "tanh"))}),
    "silu": Activation("SiLU"),
    "mish": Activation("Mish"),
    "softplus": Activation("Softplus", {"beta": Parameter(1.0, above=0), "threshold": Parameter(20.0)}),
    "softsign": Activation("Softsign"),
    "softshrink": Activation("Softshrink", {"lambd": Parameter(0.5, at_least=0)}),
    "hardshrink": Activation("Hardshrink", {"lambd": Parameter(0.5, at_least=0)}),
    "tanhshrink": Activation("Tanhshrink"),
    "sigmoid": Activation("Sigmoid"),
    "logsigmoid": Activation("LogSigmoid"),
    "tanh": Activation("Tanh"),
    "hardtanh": Activation("Hardtanh", {"min_val": Parameter(-1.0), "max_val": Parameter(1.0)}),
    "hardsigmoid": Activation("Hardsigmoid"),
    "hardswish": Activation("Hardswish"),
    "threshold": Activation("Threshold", {"threshold": Parameter(None), "value": Parameter(None)}),
}

OWN: Mapping[str, Activation] = {"centred_sigmoid": Activation("CentredSigmoid")}
"""Classes of `gradscope.elementwise`, by the names that recipes have for them."""

KNOWN: Mapping[str, Activation] = {**TABLE, **OWN}
"""Every activation that a recipe may name."""

ORDERED = {"hardtanh": ("min_val", "max_val"), "rrelu": ("lower", "upper")}
"""Parameters of which the first must lie below the second."""


@dataclass(frozen=True)
class ActivationSpec:
    """One activation by name, with the parameters that differ from torch's own defaults."""

    name: str
    parameters: Mapping[str, Value] = field(default_factory=dict, hash=False)

    @property
    def is_reference(self) -> bool:
        """Whether the name is the user's own `package.module:callable`."""
        return is_reference(self.name)

    @property
    def label(self) -> str:
        """The name as it stands in a site's name and in a report.

        >>> ActivationSpec("relu").label, ActivationSpec("mine.acts:wave").label
        ('relu', 'wave')
        """
        return self.name.rpartition(":")[2]


@dataclass(frozen=True)
class Block:
    """Neighbouring units with one activation: an int `share` is their number, a float their part, None an equal part."""

    activation: ActivationSpec
    share: int | float | None = None


@dataclass(frozen=True)
class LayerActivation:
    """The activation of one layer: one for all units, or blocks of units with one each."""

    blocks: tuple[Block, ...]

    @property
    def label(self) -> str:
        """The labels of the blocks, joined.

        >>> LayerActivation((Block(ActivationSpec("relu")), Block(ActivationSpec("sigmoid")))).label
        'relu+sigmoid'
        """
        return "+".join(block.activation.label for block in self.blocks)

    def resolve(self, width: int) -> list[tuple[ActivationSpec, int]]:
        """Return each block's activation and number of units, in order; the numbers sum to `width`.

        Parts are rounded by the largest remainder, the first of equals first, and no block is left without a unit.

        >>> thirds = LayerActivation((Block(ActivationSpec("relu")),) * 3)
        >>> [units for _, units in thirds.resolve(10)]
        [4, 3, 3]

        Raises:
            ValueError: the counts or parts do not divide `width` units.
        """
        specs, shares = zip(*((block.activation, block.share) for block in self.blocks), strict=True)
        if len(specs) > width:
            raise ValueError(f"expected at most {width} blocks for {width} units, got {len(specs)}")
        if all(isinstance(share, int) for share in shares):
            if sum(shares) != width:
                raise ValueError(f"expected counts that sum to the layer's {width} units, got a sum of {sum(shares)}")
            return list(zip(specs, shares, strict=True))
        if all(share is None for share in shares):
            shares = (1 / len(specs),) * len(specs)
        check_shares(shares)
        return list(zip(specs, _round_shares(shares, width), strict=True))


def check_shares(shares: tuple[object, ...]) -> None:
    """Check that shares are all parts of one whole.

    Raises:
        ValueError: some are counts or missing, or they do not sum to 1.
    """
    parts = [share for share in shares if isinstance(share, float)]
    if len(parts) < len(shares):
        raise ValueError("expected only counts (whole numbers) or only shares (0.25), got both")
    if not abs(math.fsum(parts) - 1) <= 1e-6:  # what three decimals of thirds cannot reach is a mistake, 1/3 in full is not
        raise ValueError(f"expected shares that sum to 1, got a sum of {math.fsum(parts):g}")


def _round_shares(shares: tuple[float, ...], width: int) -> list[int]:
    wanted = [share * width for share in shares]
    units = [max(1, math.floor(want + 1e-9)) for want in wanted]  # 0.29 * 100 is 28.999...
    while sum(units) < width:
        units[max(range(len(units)), key=lambda i: wanted[i] - units[i])] += 1
    while sum(units) > width:
        units[min((i for i in range(len(units)) if units[i] > 1), key=lambda i: wanted[i] - units[i])] -= 1
    return units
