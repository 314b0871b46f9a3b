"""Which activations are relatives: a network that mixes relatives is another question than one that mixes strangers."""

from __future__ import annotations

from collections.abc import Mapping

FAMILIES: Mapping[str, tuple[str, ...]] = {
    "relu-like": ("relu", "leaky_relu", "elu", "selu", "gelu", "silu"),
    "sigmoid-like": ("sigmoid", "tanh", "softsign"),
}
"""The first grow with z without limit, on one side at least; the second flatten on both sides."""


def family_of(name: str) -> str | None:
    """Return the family of an activation, None where it has none; parameters behind the name are of no account.

    >>> family_of("leaky_relu"), family_of("elu(alpha=2)"), family_of("tanh"), family_of("none")
    ('relu-like', 'relu-like', 'sigmoid-like', None)
    """
    plain = name.partition("(")[0]
    return next((family for family, members in FAMILIES.items() if plain in members), None)
