"""How long is timed, and when gradscope looks meanwhile; without torch, so that wrong options are named at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from gradscope import schedule


@dataclass(frozen=True)
class Plan:
    """Which steps are timed: after the warm-up, blocks of `lead_in` steps untimed, then `steps` timed.

    No arm looks during a lead-in: so a scope that opens a step's record at the end of the step before has none open while
    other arms run, and opens its first one inside the untimed part.
    """

    warmup: int
    lead_in: int
    steps: int
    start: int  # the step of a long training whose schedule the timed steps have
    rounds: int = 1  # blocks

    def position(self, step: int) -> int | None:
        """Return where a step stands among the timed ones of its block; None in the warm-up and in a lead-in."""
        position = (step - self.warmup) % (self.lead_in + self.steps) - self.lead_in
        return position if step >= self.warmup and position >= 0 else None

    @cached_property
    def spacing(self) -> int:
        """Steps between two looks of the default schedule from `start` on."""
        return next(n for n in range(1, 10_000) if schedule.default(self.start + n))

    @cached_property
    def looks(self) -> tuple[bool, ...]:
        """Whether `watch` looks, by position in the block; half a period late, so that no look is at the block's edge."""
        shifted = ((i + self.spacing // 2) % self.spacing for i in range(self.steps))
        return tuple(schedule.default(self.start + i) for i in shifted)

    def default(self, step: int) -> bool:
        """The default schedule as it is from `start` on, each block being a whole number of its periods."""
        position = self.position(step)
        return step < self.warmup if position is None else self.looks[position]

    def dense(self, step: int) -> bool:
        """Each timed step."""
        return step < self.warmup or self.position(step) is not None
