"""One case of the sweep benchmark, measured: all contenders set up, the fastest plain loop found, rounds of blocks in turns."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from benchmarks.sweep_cases import BATCH, Case, groups, populations, room
from benchmarks.sweep_lineup import GRADSCOPE, Entrant, Lineup, entrants
from benchmarks.sweep_processes import Block, Crew
from benchmarks.sweep_summary import member_step_ms, summarised
from gradscope.processes import cores

TRIALS, TRIAL_FRAC = 3, 0.3  # blocks of each variant to find the fastest by, and how long they are to others


class Plan(NamedTuple):
    """How long a case is measured; in each round another group of its networks trains."""

    rounds: int
    block_s: float
    groups: int


@dataclass(frozen=True)
class Machine:
    """Where is measured, and in populations of how many at most; None: as gradscope sweep would form them."""

    crews: Mapping[str, Crew]
    on_gpu: bool
    population: int | None = None


def measure(case: Case, plan: Plan, machine: Machine, tell: Callable[[int], None]) -> dict[str, Any]:
    """Time blocks of all contenders in turns, in a new order each round.

    Args:
        case: what is trained.
        plan: for how long.
        machine: where.
        tell: is called with the number of each round that is done, beginning with 0 when all is set up.
    """
    processes = 1 if machine.on_gpu else cores()
    tasks = populations(case, room(case, machine.population, on_gpu=machine.on_gpu))
    chosen = groups(tasks, min(processes, len(tasks)), plan.groups)
    lineup = Lineup(machine.crews, len(chosen))
    found = entrants(case, chosen, processes=processes, on_gpu=machine.on_gpu)
    first = {entrant.label: lineup.add(entrant) for entrant in found}
    found, tried = _fastest([lineup.sized(entrant, plan.block_s) for entrant in found], lineup)
    tell(0)
    blocks: dict[str, list[Block]] = {entrant.label: [] for entrant in found}
    order = random.Random(0)
    for i in range(plan.rounds):
        for entrant in order.sample(found, len(found)):
            blocks[entrant.label].append(lineup.run(entrant, i % len(chosen)))
        tell(i + 1)
    for entrant in found:
        lineup.drop(entrant)
    return {
        "case": case.name,
        "members": case.members,
        "widths": case.widths,
        "batch": BATCH,
        "population": sorted({len(task.members) for task in tasks}),
        "groups": len(chosen),
        "rounds": plan.rounds,
        "product_flops": case.product_flops,
        "tried_ms": tried,
        "first_steps_ms": member_step_ms(first[GRADSCOPE]),
        "contenders": summarised(found, blocks),
    }


def _fastest(found: Sequence[Entrant], lineup: Lineup) -> tuple[list[Entrant], dict[str, float]]:
    """Return the fastest entrant of each label, and of those that were tried, the milliseconds per member-step."""
    labels = [entrant.label for entrant in found]
    rivals = [entrant for entrant in found if labels.count(entrant.label) > 1]
    blocks: dict[str, list[Block]] = {entrant.name: [] for entrant in rivals}
    for _ in range(TRIALS):
        for entrant in rivals:
            short = replace(entrant, times=max(1, round(entrant.times * TRIAL_FRAC)))
            blocks[entrant.name].append(lineup.run(short, 0))
    tried = {name: member_step_ms(of_name) for name, of_name in blocks.items()}
    kept: dict[str, Entrant] = {}
    for entrant in sorted(found, key=lambda entrant: tried.get(entrant.name, 0.0)):
        if kept.setdefault(entrant.label, entrant) is not entrant:
            lineup.drop(entrant)
    return list(kept.values()), tried
