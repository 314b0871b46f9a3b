"""A sweep's runs as arrays: one observation per run, with the level of each factor that varies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradscope.activation_families import family_of
from gradscope.cell_factors import Layer, activation_of, layer_text, layers_of, others_of
from gradscope.interval import bounded
from gradscope.sweep_report import CellRow

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

ABSENT = "absent"
"""The level of a factor that a cell does not have: the third layer of a stack of two."""
LINEAR = "none"
"""The activation that is none: of no family, and no mixture with another."""


@dataclass(frozen=True, eq=False)
class Observations:
    """One entry per run: metric [run], cell and seed [run], and the level of each factor [factor, run]."""

    values: FloatArray
    cells: IntArray
    seeds: IntArray
    names: tuple[str, ...]
    codes: IntArray
    labels: tuple[tuple[str, ...], ...]
    """By factor, the text of each level."""
    layers: tuple[tuple[Layer, ...], ...]
    """By cell, the activations of its layers."""


def observations(rows: Sequence[CellRow]) -> Observations:
    """Return the runs of a sweep as arrays; factors with a single value are left out, a run without a finite metric failed.

    The activations of a layer's blocks are one factor, act1 for the first layer, and so on.
    """
    trained = [row for row in rows if row.seeds]
    of_cell = [_levels(row.factors) for row in trained]
    names = [name for name in dict.fromkeys(n for levels in of_cell for n in levels)]
    labels = {name: list(dict.fromkeys(levels.get(name, "") for levels in of_cell)) for name in names}
    varying = [name for name in names if len(labels[name]) > 1]
    cells = np.array([i for i, row in enumerate(trained) for _ in row.seeds], dtype=np.int64)
    codes = [[labels[name].index(levels.get(name, "")) for levels in of_cell] for name in varying]
    by_cell = np.array(codes, dtype=np.int64).reshape(len(varying), len(trained))
    return Observations(
        values=np.array([value for row in trained for value in bounded(row.values, row.chance)], dtype=np.float64),
        cells=cells,
        seeds=np.array([seed for row in trained for seed in row.seeds], dtype=np.int64),
        names=tuple(varying),
        codes=by_cell[:, cells],
        labels=tuple(tuple(label or ABSENT for label in labels[name]) for name in varying),
        layers=tuple(layers_of(row.factors) for row in trained),
    )


def _levels(factors: Mapping[str, str]) -> dict[str, str]:
    layers = {f"act{i}": layer_text(layer) for i, layer in enumerate(layers_of(factors), start=1)}
    return {**layers, **others_of(factors)}


def strata_of(columns: Sequence[IntArray]) -> IntArray:
    """Return a number for each combination of what the columns say, [run].

    >>> strata_of([np.array([0, 0, 1]), np.array([5, 7, 5])]).tolist()
    [0, 1, 2]
    """
    return np.asarray(np.unique(np.stack(columns), axis=1, return_inverse=True)[1].reshape(-1), dtype=np.int64)


def used(layers: Sequence[Layer]) -> set[str]:
    """Return the activations of a stack, `none` left out; of a linear stack there are none.

    >>> sorted(used((("relu:1", "tanh:3"), ("none",))))
    ['relu', 'tanh']
    """
    return {activation_of(block) for layer in layers for block in layer} - {LINEAR}


def is_pure(layers: Sequence[Layer]) -> bool:
    """Tell whether a stack has one activation in all of its layers and units.

    >>> is_pure((("relu", "relu"), ("none",))), is_pure((("relu",), ("tanh",)))
    (True, False)
    """
    return len(used(layers)) == 1


def families(layers: Sequence[Layer]) -> tuple[str, ...]:
    """Return the families of a stack's activations; one of no family stands for itself.

    >>> families((("relu",), ("selu",))), families((("relu",), ("tanh",)))
    (('relu-like',), ('relu-like', 'sigmoid-like'))
    """
    return tuple(sorted({family_of(name) or name for name in used(layers)}))
