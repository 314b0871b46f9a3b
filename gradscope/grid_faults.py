"""What can be wrong between a recipe's grid and the rest of it, told before any cell is made.

Nothing here goes through the cells: each value is held against those of the other keys that it must fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

from gradscope.grid_activations import EachLayer, Stacks, halves_of, text_of
from gradscope.recipe_faults import Fault, Faults, Keys, expected, show
from gradscope.recipe_grid import MOST_CELLS, Grid, names_in, parse_grid, place_of, said
from gradscope.recipe_stack import Stack, misfits, without_shortcut
from gradscope.recipe_training import MOMENTUM_OPTIMIZERS


class Found(NamedTuple):
    """A value of a key with the place where it stands."""

    keys: Keys
    value: Any


def grid_faults(raw: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield what does not fit together; `raw` is a recipe that nobody has checked yet, any key may be anything or absent."""
    if raw.get("grid") is None:
        return
    yield from _beside(raw)
    try:
        grid = parse_grid(raw["grid"])
    except Faults:
        return  # told where the field itself is checked
    yield from _momentum(raw, grid)
    if raw.get("model") is not None:
        return
    try:
        hidden, activations = _found(raw, grid, "hidden"), _found(raw, grid, "activations")
        norms, residual = _found(raw, grid, "norm"), _found(raw, grid, "residual")
    except Faults:
        return
    apart = [
        *_norm_misfits(hidden, norms, grid),
        *_residual_misfits(hidden, residual, grid),
        *_misfits(hidden, activations, grid),
    ]
    yield from apart or _too_many(grid, [found.value for found in hidden])


def _beside(raw: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield keys that the grid holds as well, and what a sweep has no use for."""
    if raw.get("model") is not None:
        yield Fault(("grid",), "expected stack beside grid, got model, whose layers no grid can reach", of_key=True)
    if raw.get("fixes"):
        hint = "; a norm is compared with none by grid: {norm: [none, batchnorm-last]}"
        yield Fault(("fixes",), expected("no fixes beside grid, a sweep tries none", raw["fixes"], hint), of_key=True)
    if raw.get("expect") is not None:
        yield Fault(("expect",), expected("no expect beside grid, a sweep is not checked", raw["expect"]), of_key=True)
    for name in sorted(names_in(raw["grid"])):
        keys = place_of(name)
        part = str(keys[0]) if len(keys) > 1 else None
        if name in (said(raw.get(part)) if part else raw):
            text = f"expected {name} either in {part or 'the recipe'} or in grid, got both"
            yield Fault(keys, text, of_key=True)


def _momentum(raw: Mapping[str, Any], grid: Grid) -> Iterator[Fault]:
    """Yield a momentum that an optimizer of the grid would silently ignore, where that can be no one's wish."""
    training = said(raw.get("training"))
    optimizers = grid.values("optimizer") or (training.get("optimizer", "sgd"),)
    without = [word for word in optimizers if isinstance(word, str) and word not in MOMENTUM_OPTIMIZERS]
    if without and "momentum" in grid.names:
        keys = grid.key("momentum")
        hint = "; sweep them apart, or write one momentum in training, which those that use it take"
        yield Fault(keys, f"expected no momentum in a grid beside {without[0]}, which does not use it{hint}", of_key=True)
    if "optimizer" in grid.names and len(without) == len(optimizers) and "momentum" in training:
        yield Fault(
            ("training", "momentum"), expected("no momentum, which only sgd and rmsprop use", training["momentum"]), of_key=True
        )


def _found(raw: Mapping[str, Any], grid: Grid, name: str) -> list[Found]:
    """Return the values of a stack's key, in the grid or outside of it; none for `activations` by product or pairs.

    Raises:
        Faults: it is faulty, or absent, which is told elsewhere.
    """
    if name == "activations" and isinstance(grid.activations, Stacks):
        return [Found((*grid.key(name), i), layers) for i, layers in enumerate(grid.activations.stacks)]
    if name in grid.names:
        return [Found((*grid.key(name), i), value) for i, value in enumerate(grid.values(name))]
    stack = said(raw.get("stack"))
    if name in ("norm", "residual") and name not in stack:
        return []
    return [Found(("stack", name), Stack.checked(name, stack.get(name)))]


def _norm_misfits(hidden: Sequence[Found], norms: Sequence[Found], grid: Grid) -> Iterator[Fault]:
    for norm, widths in product(norms, hidden):
        for fault in misfits(widths.value, None, norm.value):
            yield Fault((*norm.keys, *fault.keys[1:]), fault.text + _for_widths(widths, grid))


def _residual_misfits(hidden: Sequence[Found], residual: Sequence[Found], grid: Grid) -> Iterator[Fault]:
    for found, widths in product(residual, hidden):
        for fault in without_shortcut(found.value, widths.value):
            yield Fault(found.keys, fault.text)


def _misfits(hidden: Sequence[Found], activations: Sequence[Found], grid: Grid) -> Iterator[Fault]:
    if isinstance(grid.activations, EachLayer):
        for widths in hidden:
            yield from _layer_misfits(grid.activations, widths, grid)
        return
    for found, widths in product(activations, hidden):
        for fault in misfits(widths.value, found.value, None):
            yield Fault((*found.keys, *fault.keys[1:]), fault.text + _for_widths(widths, grid))


def _layer_misfits(each: EachLayer, widths: Found, grid: Grid) -> Iterator[Fault]:
    if each.in_pairs and 1 in widths.value:
        yield Fault((*widths.keys, widths.value.index(1)), "expected at least 2 units, one for each half of a pair, got 1")
        return
    keys = (*grid.key("activations"), "pairs" if each.in_pairs else "product")
    for width, halves in product(sorted(set(widths.value)), each.of_a_layer()):
        try:
            halves_of(*halves).resolve(width)
        except ValueError as error:
            where = keys if each.in_pairs else (*keys, each.entries.index(halves[0]))
            yield Fault(where, f"{error}; it is {' and '.join(map(text_of, halves))}" if each.in_pairs else str(error))
            return


def _for_widths(widths: Found, grid: Grid) -> str:
    return f" for hidden {show(list(widths.value))}" if "hidden" in grid.names else ""


def _too_many(grid: Grid, hidden: Sequence[tuple[int, ...]]) -> Iterator[Fault]:
    count = grid.count(hidden)
    if count > MOST_CELLS:
        yield Fault(("grid",), expected(f"at most {MOST_CELLS} cells", count), of_key=True)
    elif grid.sample and grid.sample.size > count:
        yield Fault(("grid", "sample"), expected(f"no more than the grid has cells, {count}", grid.sample.size))
