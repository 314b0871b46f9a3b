"""Factors that follow from a stack's activations: whether all layers have the same, and of which families they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gradscope.cell_factors import is_activation
from gradscope.observations import LINEAR, IntArray, Observations, families, is_pure, strata_of, used
from gradscope.permutation import LEAST_WAYS, factor_p_value, ways

SAME, FAMILIES = "same", "families"


@dataclass(frozen=True, eq=False)
class Derived:
    """A derived factor: the level of each run, [run], and the levels' texts."""

    name: str
    code: IntArray
    labels: tuple[str, ...]


def derived_factors(seen: Observations) -> Iterator[Derived]:
    """Yield the derived factors that vary; none where the sweep does not name activations."""
    pure = ["one activation" if is_pure(layers) else "mixed" if used(layers) else LINEAR for layers in seen.layers]
    groups = [" and ".join(families(layers)) or LINEAR for layers in seen.layers]
    for name, texts in ((SAME, pure), (FAMILIES, groups)):
        labels = list(dict.fromkeys(texts))
        if len(labels) > 1 and any(seen.layers):
            yield Derived(name, np.array([labels.index(text) for text in texts])[seen.cells], tuple(labels))


def derived_p_value(seen: Observations, factor: Derived, permutations: int) -> float | None:
    """Return the p value of what whole stacks have: it is permuted over stacks, whose runs stay together.

    What the other factors do is taken off before: each run's difference to the mean of its setting. None where the stacks are
    so few that no labelling of them could be rare.
    """
    others = [code for name, code in zip(seen.names, seen.codes, strict=True) if not is_activation(name)]
    setting = strata_of([*others, np.zeros_like(seen.cells)])
    centred = seen.values - (np.bincount(setting, weights=seen.values) / np.bincount(setting))[setting]
    names = list(dict.fromkeys(seen.layers))
    stack = np.array([names.index(layers) for layers in seen.layers])[seen.cells]
    means = np.bincount(stack, weights=centred) / np.bincount(stack)
    labels = np.zeros(len(names), dtype=np.int64)
    labels[stack] = factor.code
    if ways(labels) < LEAST_WAYS:
        return None
    return factor_p_value(means, labels, np.zeros_like(labels), permutations)
