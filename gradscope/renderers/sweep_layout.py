"""How a grid is laid out as a heat map: which factors are its rows, its columns, and its panels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gradscope.cell_factors import layers_of, others_of, stack_text
from gradscope.sweep_report import CellRow, SweepResult

Part = Callable[[CellRow], str]
"""A text that a cell has in common with others of its row, column or panel."""


@dataclass(frozen=True)
class Panel:
    """One heat map: the cells by (row, column); the factors that are neither stand in its title."""

    title: str
    cells: Mapping[tuple[int, int], CellRow]


@dataclass(frozen=True)
class HeatMap:
    """Panels with the same rows and columns."""

    row_title: str
    rows: tuple[str, ...]
    column_title: str
    columns: tuple[str, ...]
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class _Axis:
    title: str
    part: Part
    layers: tuple[int, ...] = ()
    """Of activations: which layers', from 0."""

    def texts(self, rows: Sequence[CellRow]) -> list[str]:
        """Return what the cells have on this axis, in the grid's order, of which a sample shows only parts."""
        if not self.layers:
            return list(dict.fromkeys(map(self.part, rows)))
        stacks = [layers_of(row.factors) for row in rows]
        names = list(dict.fromkeys(name for stack in stacks for layer in stack for name in layer))
        keys = {
            self.part(row): [sorted(map(names.index, stack[i])) for i in self.layers if i < len(stack)]
            for row, stack in zip(rows, stacks, strict=True)
        }
        return sorted(keys, key=lambda text: keys[text])


def heat_map(result: SweepResult) -> HeatMap:
    """Return the layout of a sweep's heat map.

    Of activations that vary the last layer's are the columns and those before it the rows; else what has the most values is
    rows, the next one columns. Whatever is left over makes panels.
    """
    rows, columns, rest = _axes(result)
    of_row, of_column = (axis.texts(result.rows) for axis in (rows, columns))
    of_panel = list(dict.fromkeys(map(rest, result.rows)))
    panels: list[dict[tuple[int, int], CellRow]] = [{} for _ in of_panel]
    for cell in result.rows:
        place = of_row.index(rows.part(cell)), of_column.index(columns.part(cell))
        panels[of_panel.index(rest(cell))][place] = cell
    return HeatMap(
        row_title=rows.title,
        rows=tuple(of_row),
        column_title=columns.title,
        columns=tuple(of_column),
        panels=tuple(Panel(title, cells) for title, cells in zip(of_panel, panels, strict=True)),
    )


def _axes(result: SweepResult) -> tuple[_Axis, _Axis, Part]:
    layers = _varying_layers(result.rows)
    sizes = {name: len({row.factors.get(name, "") for row in result.rows}) for name in _others(result)}
    names = sorted((name for name, size in sizes.items() if size > 1), key=lambda name: -sizes[name])
    if len(layers) > 1:
        return _of_layers(layers[:-1]), _of_layers(layers[-1:]), _factors(names)
    if layers:
        both = sorted([_of_layers(layers), _of_factor(names[:1])], key=lambda axis: -len(axis.texts(result.rows)))
        return both[0], both[1], _factors(names[1:])
    return _of_factor(names[:1]), _of_factor(names[1:2]), _factors(names[2:])


def _others(result: SweepResult) -> list[str]:
    return list(dict.fromkeys(name for row in result.rows for name in others_of(row.factors)))


def _varying_layers(rows: Sequence[CellRow]) -> list[int]:
    """Return the layers, from 0, whose activations vary; a layer that some cells do not have varies as well."""
    stacks = [layers_of(row.factors) for row in rows]
    depth = max(map(len, stacks), default=0)
    return [i for i in range(depth) if len({stack[i] if i < len(stack) else () for stack in stacks}) > 1]


def _of_layers(numbers: Sequence[int]) -> _Axis:
    def part(row: CellRow) -> str:
        layers = layers_of(row.factors)
        return stack_text([layers[i] for i in numbers if i < len(layers)]) or ("no such layer" if layers else "")

    places = [str(i + 1) for i in numbers]
    title = f"activation of layer {places[0]}"
    if len(places) > 1:
        title = f"activations of layers {', '.join(places[:-1])} and {places[-1]}"
    return _Axis(title, part, tuple(numbers))


def _of_factor(names: Sequence[str]) -> _Axis:
    return _Axis(names[0] if names else "", lambda row: row.factors.get(names[0], "") if names else "")


def _factors(names: Sequence[str]) -> Part:
    return lambda row: ", ".join(f"{name} {row.factors[name]}" for name in names if name in row.factors)
