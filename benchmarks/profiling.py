"""Where an arm's time goes, by function: gradscope's own, and what they call outside."""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rich import box
from rich.table import Table

ROOT = Path(__file__).parents[1]
OURS = (str(ROOT / "gradscope"), str(ROOT / "benchmarks"))
MOST_ROWS = 40

Function = tuple[str, int, str]  # file, line, name


class Spent(NamedTuple):
    """What a function, or one function on behalf of another, has taken."""

    name: str
    calls: int
    own_s: float
    whole_s: float


def tables(profiler: cProfile.Profile, steps: int) -> Iterator[Table]:
    """Yield two tables of times per step: of our functions, and of what these call that is not ours."""
    entries = pstats.Stats(profiler).stats
    ours, outside = [], []
    for function, (_, calls, own, whole, callers) in entries.items():
        if _is_ours(function):
            ours.append(Spent(_name(function), calls, own, whole))
            continue
        for caller, (_, its_calls, its_own, its_whole) in callers.items():
            if _is_ours(caller):
                outside.append(Spent(f"{_name(caller)} > {_name(function)}", its_calls, its_own, its_whole))
    yield _table("function, with all that it calls", ours, steps)
    yield _table("called from here", outside, steps)


def _table(title: str, spent: list[Spent], steps: int) -> Table:
    shown = Table(title, box=box.SIMPLE)
    for column in ("calls", "own us", "whole us"):
        shown.add_column(column, justify="right", no_wrap=True)
    for entry in sorted(spent, key=lambda entry: -entry.whole_s)[:MOST_ROWS]:
        times = (f"{seconds / steps * 1e6:.1f}" for seconds in (entry.own_s, entry.whole_s))
        shown.add_row(entry.name, f"{entry.calls / steps:.3g}", *times)
    return shown


def _is_ours(function: Function) -> bool:
    return function[0].startswith(OURS)


def _name(function: Function) -> str:
    file, line, name = function
    return name if file == "~" else f"{Path(file).name}:{line} {name}"
