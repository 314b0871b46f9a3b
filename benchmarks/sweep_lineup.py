"""Which contenders meet in a case of the sweep benchmark, in how many processes, and which networks each of these trains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.sweep_cases import Case
from benchmarks.sweep_processes import Block, Crew
from gradscope.cell import Planned, PopulationTask

ALONE, EACH_CORE = "alone", "each core"  # crews: one process with torch's own threads; one per core with one thread
PUBLISHED, PRODUCTS, GRADSCOPE = "published", "products", "gradscope"
PLAIN_ALONE, PLAIN_EACH = "plain", "plain-parallel"
WHAT = {
    PUBLISHED: "MNIST through transforms and a DataLoader, one network after another, torch's own threads",
    PLAIN_ALONE: "tensors at hand, nn.Sequential, one network after another, torch's own threads",
    PLAIN_EACH: "the same in processes of one thread each, one network after another in each",
    PRODUCTS: "the matrix products of forward and backward alone",
    GRADSCOPE: "populations as gradscope sweep trains them, recording at the default schedule",
}
UPDATES = ("foreach", "fused")  # how a plain loop's optimizer may take its step; the faster one counts

Groups = Sequence[Sequence[PopulationTask]]
"""By group: the populations that train at the same time, one in each process."""


@dataclass(frozen=True)
class Entrant:
    """A contender as it is set up: `arguments` are those of its class in each of its processes."""

    label: str
    kind: str
    crew: str
    arguments: Sequence[tuple[Any, ...]]
    variant: str = ""  # of those of one label, the fastest goes on to the rounds
    times: int = 1  # how often a block repeats the least one

    @property
    def name(self) -> str:
        """What its processes know it by."""
        return f"{self.label} {self.variant}"

    @property
    def processes(self) -> int:
        """How many it trains in."""
        return len(self.arguments)

    @property
    def what(self) -> str:
        """What is said of it beside its times."""
        return WHAT[self.label] + (f", {self.variant}" if self.variant else "")


def entrants(case: Case, groups: Groups, *, processes: int, on_gpu: bool) -> list[Entrant]:
    """Return all that stand for the case.

    Args:
        case: what is trained.
        groups: the populations.
        processes: of the crew with one thread each.
        on_gpu: a plain loop in several processes is left out, and the products are those of all networks at once.
    """
    everyone = [[member for task in group for member in task.members] for group in groups]
    some = min(processes, *map(len, everyone))
    products = (case, max(map(len, everyone)) if on_gpu else 1)
    return [
        Entrant(PUBLISHED, "published", ALONE, [(everyone,)]),
        *_plain(PLAIN_ALONE, ALONE, everyone, 1),
        *([] if on_gpu else _plain(PLAIN_EACH, EACH_CORE, everyone, some)),
        Entrant(PRODUCTS, "products", EACH_CORE, [products] * some),
        Entrant(GRADSCOPE, "gradscope", EACH_CORE, [(list(tasks),) for tasks in zip(*groups, strict=True)]),
    ]


def _plain(label: str, crew: str, everyone: Sequence[Sequence[Planned]], processes: int) -> Iterator[Entrant]:
    """Yield the plain loop with each update, the networks of each group dealt out over its processes."""
    hands = [[members[i::processes] for members in everyone] for i in range(processes)]
    for update in UPDATES:
        yield Entrant(label, "plain", crew, [(hand, update) for hand in hands], f"SGD(..., {update}=True)")


@dataclass(frozen=True)
class Lineup:
    """Entrants and the crews that they are in."""

    crews: Mapping[str, Crew]
    groups: int

    def add(self, entrant: Entrant) -> list[Block]:
        """Set a contender up and take the first steps of all its networks; return what they took, by group."""
        calls = [(entrant.name, entrant.kind, arguments) for arguments in entrant.arguments]
        self.crews[entrant.crew].call("add", calls)
        return [self._together(entrant, "begin", group) for group in range(self.groups)]

    def run(self, entrant: Entrant, group: int) -> Block:
        """Take a block of steps."""
        return self._together(entrant, "run", group, entrant.times)

    def sized(self, entrant: Entrant, seconds: float) -> Entrant:
        """Return the entrant with blocks of about so many seconds, or one least block if that takes longer."""
        while (block := self.run(entrant, 0)).wall_s < seconds / 4:
            entrant = replace(entrant, times=entrant.times * 2)
        return replace(entrant, times=max(1, round(entrant.times * seconds / block.wall_s)))

    def drop(self, entrant: Entrant) -> None:
        """Let go of a contender."""
        self.crews[entrant.crew].call("drop", [(entrant.name,)] * entrant.processes)

    def _together(self, entrant: Entrant, method: str, *arguments: int) -> Block:
        """Return the steps of all processes over the time of the slowest."""
        blocks = self.crews[entrant.crew].call(method, [(entrant.name, *arguments)] * entrant.processes)
        steps, walls, processors = zip(*blocks, strict=True)
        return Block(sum(steps), max(walls), sum(processors))
