"""What a case of the corpora is: a training that is healthy, or sick for one planted cause at a known place."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from benchmarks.corpus_training import Setup

Kind = Literal["healthy", "sick"]
Half = Literal["choosing", "held back"]

DRAWS: Mapping[Half, int] = {"choosing": 6, "held back": 905_317}
"""The seeds from which the networks, places, widths and initial weights of each half are drawn.

Nothing of the half held back has been run with its seed. Whoever has looked at what comes of it, and then changes a rule, a
label or what counts as right, takes another seed that has never been run before that half is reported again.
"""


DEAD = ("dead-units", "dead-layer")
LARGE = ("exploding-gradient", "oversized-updates", "diverging-loss", "vanishing-gradient", "stuck-at-chance")
"""What too large weights, samples or steps set off: gradients and steps as large, and layers that then let none pass."""
LARGE_RELU = (*LARGE, *DEAD, "non-finite")  # dead after such steps
LARGE_BOUNDED = LARGE  # saturated, but nothing is dead or not finite


@dataclass(frozen=True)
class Plant:
    """One planted cause, and what a right diagnosis of it says.

    `rules` are those of which one must be found, the one that fits best first. What `also` follows from the cause is neither
    counted as right nor as false, as long as it is said to follow, or stands at the place. `places` are parts of the network
    or parameters: an origin at any of them is right; none where the whole network has it. A fault that `may_learn` leaves the
    network able to learn: a warning finds it, and it stays a fault whatever the network scores; without that, a network that
    reaches the goal of its healthy twin is not counted as sick.
    """

    name: str
    rules: tuple[str, ...]
    also: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()  # by intervention: how it may be named; without any, each name is wrong
    may_learn: bool = False


@dataclass(frozen=True)
class Case:
    """One training: through `gradscope.watch` (`setup`), or as a recipe (`recipe`, with `change` on its samples)."""

    name: str
    kind: Kind
    goal: float  # test accuracy that shows that a network learns, stated before it was trained
    steps: int  # at most
    fewest: int = 0  # before which it does not end, though the goal be reached
    plant: Plant | None = None
    setup: Callable[[], Setup] | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    change: Callable[[Any], Any] | None = None  # of the recipe's data
    twin: Mapping[str, Any] = field(default_factory=dict)  # the recipe without the cause, on data as they are

    @property
    def way(self) -> Literal["watch", "recipe"]:
        """How gradscope sees it."""
        return "watch" if self.setup else "recipe"

    @property
    def seed(self) -> int:
        """The seed of initial weights and batches: its own, so that no training is counted twice."""
        return int.from_bytes(hashlib.sha256(f"{DRAWS[self.half]} {self.name}".encode()).digest()[1:4])

    @property
    def seeds(self) -> list[int]:
        """The seeds of a recipe."""
        return [self.seed + i for i in range(self.recipe["seeds"])]

    @property
    def half(self) -> Half:
        """Which half it belongs to: by its name alone, so that adding cases moves none."""
        return half_of(self.name)


def half_of(name: str) -> Half:
    """Return the half of a case: thresholds are chosen on the one, only the other is reported.

    >>> [half_of(name) for name in ("a", "f")]
    ['choosing', 'held back']
    """
    return "held back" if hashlib.sha256(name.encode()).digest()[0] % 2 else "choosing"
