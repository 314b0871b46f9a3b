"""A sweep's stacks by setting, each at all of the setting's learning rates: what pure and mixed ones are compared in."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gradscope.cell_factors import Layer, layers_of, others_of
from gradscope.interval import bounded
from gradscope.observations import FloatArray, is_pure, used
from gradscope.sweep_report import CellRow

RATE = "lr"
LEAST_SEEDS, LEAST_PURE = 2, 2

Stack = tuple[Layer, ...]


@dataclass(frozen=True, eq=False)
class Setting:
    """The stacks of one shape and optimizer: metric [stack, rate, seed], at all learning rates that the setting has."""

    factors: Mapping[str, str]
    stacks: tuple[Stack, ...]
    scores: FloatArray
    left_out: int = 0
    """Stacks that are not trained at each of the learning rates: the best of fewer is no equal choice."""

    def only(self, wanted: Sequence[bool]) -> Setting:
        """Return the setting with some of its stacks."""
        kept = [i for i, keep in enumerate(wanted) if keep]
        return replace(self, stacks=tuple(self.stacks[i] for i in kept), scores=self.scores[kept])


def settings_of(rows: Sequence[CellRow]) -> list[Setting]:
    """Return the stacks by setting: by all factors but the activations and the learning rate.

    Only seeds that all finished cells have are looked at; cells that lack seeds of the sweep count as not trained.
    """
    named = [row for row in rows if used(layers_of(row.factors))]
    finished = [row for row in named if row.seeds and not row.missing]
    seeds = sorted(set.intersection(*(set(row.seeds) for row in finished))) if finished else []
    if len(seeds) < LEAST_SEEDS or len({row.metric for row in finished}) > 1:
        return []
    groups: dict[tuple[tuple[str, str], ...], list[CellRow]] = {}
    for row in named:
        groups.setdefault(_setting_key(row), []).append(row)
    return [_setting(dict(key), of_group, seeds) for key, of_group in groups.items()]


def _setting_key(row: CellRow) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in others_of(row.factors).items() if name != RATE)


def _setting(factors: dict[str, str], rows: Sequence[CellRow], seeds: Sequence[int]) -> Setting:
    """Return one setting of its rows, finished or not: the stacks that are finished at every learning rate of any of them."""
    rates = list(dict.fromkeys(row.factors.get(RATE, "") for row in rows))
    stacks: dict[Stack, dict[str, list[float]]] = {}
    for row in rows:
        of_stack = stacks.setdefault(layers_of(row.factors), {})
        if set(seeds) <= set(row.seeds) and not row.missing:
            values = dict(zip(row.seeds, bounded(row.values, row.chance), strict=True))
            of_stack[row.factors.get(RATE, "")] = [values[seed] for seed in seeds]
    whole = [stack for stack, scores in stacks.items() if len(scores) == len(rates)]
    scores = [[stacks[stack][rate] for rate in rates] for stack in whole]
    array = np.array(scores, dtype=np.float64).reshape(len(whole), len(rates), len(seeds))
    return Setting(factors, tuple(whole), array, len(stacks) - len(whole))


def asks(rows: Sequence[CellRow]) -> bool:
    """Tell whether the grid has a setting that could be asked, whatever of it is trained."""
    stacks: dict[object, set[Stack]] = {}
    for row in rows:
        if used(layers_of(row.factors)):
            stacks.setdefault(_setting_key(row), set()).add(layers_of(row.factors))
    return any(map(can_be_asked, stacks.values()))


def can_be_asked(stacks: Collection[Stack]) -> bool:
    """Tell whether a setting has two pure stacks and a mixed one."""
    pure = sum(map(is_pure, stacks))
    return pure >= LEAST_PURE and pure < len(stacks)
