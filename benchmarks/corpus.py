"""Both corpora: every case under its name, made anew in each process."""

from __future__ import annotations

from functools import cache

from benchmarks.corpus_case import Case
from benchmarks.corpus_healthy import healthy
from benchmarks.corpus_plants import planted, twins
from benchmarks.corpus_recipes import healthy_recipes, sick_recipes


@cache
def cases() -> dict[str, Case]:
    """Return the cases by name, healthy ones first.

    Raises:
        ValueError: two have one name, so that what was kept of one would stand for the other.
    """
    found = [*healthy(), *twins(), *healthy_recipes(), *planted(), *sick_recipes()]
    named = {case.name: case for case in found}
    if len(named) < len(found):
        raise ValueError(f"expected a name for each of {len(found)} cases, got {len(named)} names")
    return named
