"""The loop of a sweep: hands populations to an engine, writes what comes of them to the journal, tries again what was lost."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gradscope.cell import PopulationTask
from gradscope.cell_run import CellRun
from gradscope.errors import CannotJudge, GradscopeError
from gradscope.journal import Journal
from gradscope.sweep_engine import Advanced, Engine, Event, Failed, Finished, Lost

TRIES = 3
"""So often a population is begun whose process dies; then the sweep goes on without it."""

MOST_LOSSES = 4 * TRIES
"""So many processes die in a row, with none finished in between, before the sweep ends: it is not the populations' doing."""

TICK_S = 0.25
STOP_S = 5.0
"""How long the engine is waited for that was asked to stop: a step takes less, except for networks of the largest kind."""


@dataclass(frozen=True)
class Watched:
    """Who looks on while a sweep trains, and what ends it early.

    `told` is called several times a second with the steps and networks that have come since; steps may be taken back.
    `work_of` says how much there is to a population, in any unit that its duration is in proportion to.
    """

    told: Callable[[int, int], None] = lambda steps, networks: None
    should_stop: Callable[[], bool] = lambda: False
    work_of: Callable[[PopulationTask], float] = lambda task: float(len(task.members))
    limit_s: float | None = None
    known: tuple[float, float] = (0.0, 0.0)
    """Work that was done before, and the seconds that it took: what says from the start whether there is time for more."""


@dataclass
class Ended:
    """What came of the loop. `given_up` has a line for each population that could not be trained."""

    runs: dict[str, CellRun] = field(default_factory=dict)
    given_up: list[str] = field(default_factory=list)
    interrupted: bool = False
    out_of_time: bool = False


def train_all(tasks: Sequence[PopulationTask], engine: Engine, journal: Journal, watched: Watched) -> Ended:
    """Train populations in their order, until all are done, the time is over or the user wants it to end.

    Raises:
        GradscopeError: a mistake of the user's: a recipe that does not fit, code that fails, a disk that is full. What was
            finished before stands in the journal.
        CannotJudge: whatever is tried, its process dies.
    """
    return _Loop(tasks, engine, journal, watched).run()


class _Loop:
    def __init__(self, tasks: Sequence[PopulationTask], engine: Engine, journal: Journal, watched: Watched) -> None:
        self.queue, self.engine, self.journal, self.watched = list(tasks), engine, journal, watched
        self.running: dict[int, int] = {}  # population to the steps that its networks have taken
        self.losses: Counter[int] = Counter()
        self.in_a_row = 0
        self.ended = Ended()
        self.pace = _Pace(watched)

    def run(self) -> Ended:
        while self.queue or self.running:
            if self.watched.should_stop():
                self.ended.interrupted = True
                break
            if self.pace.is_over():
                self.ended.out_of_time = True
                break
            self._fill()
            self._hear(TICK_S)
        if self.running:
            self._stop()
        return self.ended

    def _fill(self) -> None:
        """Hand over as many populations as the engine takes on and the time allows."""
        while self.queue and self.engine.free():
            task = next((task for task in self.queue if self.pace.allows(task)), None)
            if task is None:
                self.ended.out_of_time = True
                self.queue.clear()
                return
            self.queue.remove(task)
            self.running[task.index] = 0
            self.engine.start(task)

    def _hear(self, timeout_s: float) -> None:
        for event in self.engine.wait(timeout_s):
            self._handle(event)
        self.watched.told(0, 0)

    def _handle(self, event: Event) -> None:
        task = event.task
        if isinstance(event, Advanced):
            self.running[task.index] += event.steps
            self.watched.told(event.steps, 0)
            return
        steps = self.running.pop(task.index)
        if isinstance(event, Finished):
            self.in_a_row = 0
            runs = self.journal.add(task.index, event.runs, event.train_s)
            self.ended.runs |= {run.key: run for run in runs}
            self.pace.finished(task, event.train_s)
            self.watched.told(sum(run.steps for run in runs) - steps, len(runs))
            return
        self.watched.told(-steps, 0)
        if isinstance(event, Lost):
            self._lost(event)
        elif isinstance(event, Failed):
            if isinstance(event.error, GradscopeError):
                raise event.error
            self.ended.given_up.append(f"{_named(task)}: {event.error}")

    def _lost(self, event: Lost) -> None:
        """Try a population again, or give it up.

        Raises:
            CannotJudge: it is not only this one.
        """
        task = event.task
        self.losses[task.index] += 1
        self.in_a_row += 1
        if self.in_a_row == MOST_LOSSES:
            raise CannotJudge(f"{MOST_LOSSES} processes died one after another, the last of them: {event.how}")
        if self.losses[task.index] < TRIES:
            self.queue.insert(0, task)
        else:
            self.ended.given_up.append(f"{_named(task)}: tried {TRIES} times: {event.how}")

    def _stop(self) -> None:
        """Ask what runs to stop, and hear what has just finished."""
        self.engine.stop()
        self.queue.clear()
        end = time.monotonic() + STOP_S
        while self.running and time.monotonic() < end:
            self._hear(TICK_S)


class _Pace:
    """How fast the populations come, and whether there is time for another."""

    def __init__(self, watched: Watched) -> None:
        self._work_of = watched.work_of
        self._end = None if watched.limit_s is None else time.monotonic() + watched.limit_s
        self._work, self._seconds = watched.known

    def finished(self, task: PopulationTask, train_s: float) -> None:
        self._work += self._work_of(task)
        self._seconds += train_s

    def is_over(self) -> bool:
        return self._end is not None and time.monotonic() >= self._end

    def allows(self, task: PopulationTask) -> bool:
        """Tell whether a population begun now would end in time; where nothing is known yet, the first ones are begun."""
        if self._end is None or not self._work:
            return not self.is_over()
        return time.monotonic() + self._work_of(task) * self._seconds / self._work <= self._end


def _named(task: PopulationTask) -> str:
    cells = sorted({member.cell + 1 for member in task.members})
    seeds = sorted({member.seed for member in task.members})
    return f"cells {_listed(cells)}, seeds {_listed(seeds)}"


def _listed(numbers: Sequence[int]) -> str:
    """Return numbers as text, the middle of many left out.

    >>> _listed([1, 2, 3, 5, 8])
    '1, 2 ... 8'
    """
    return ", ".join(map(str, numbers)) if len(numbers) < 5 else f"{numbers[0]}, {numbers[1]} ... {numbers[-1]}"
