"""The loop of a sweep, with an engine that does not train: what it tries again, what it gives up, when it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from small_sweeps import run_of, task_of

from gradscope import sweep_loop
from gradscope.cell import PopulationTask
from gradscope.errors import CannotJudge, RecipeError, WriteError
from gradscope.journal import Journal
from gradscope.sweep_engine import Advanced, Engine, Event, Failed, Finished, Lost, Settings, Stopped
from gradscope.sweep_loop import TRIES, Ended, Watched, train_all

Script = Callable[[PopulationTask], Iterator[Event]]


class Scripted(Engine):
    """Runs a script for each task, an event from each at a time."""

    def __init__(self, script: Script, slots: int = 2) -> None:
        self.script, self.slots = script, slots
        self.begun: list[int] = []
        self.running: list[tuple[PopulationTask, Iterator[Event]]] = []
        self.stopped = False

    def begin(self, settings: Settings) -> None:
        raise AssertionError("the loop begins nothing")

    def free(self) -> int:
        return self.slots - len(self.running)

    def start(self, task: PopulationTask) -> None:
        assert self.free()
        self.begun.append(task.index)
        self.running.append((task, self.script(task)))

    def wait(self, timeout_s: float) -> list[Event]:
        events = [Stopped(task) if self.stopped else next(script) for task, script in self.running]
        ended = [event.task for event in events if not isinstance(event, Advanced)]
        self.running = [(task, script) for task, script in self.running if task not in ended]
        return events

    def stop(self) -> None:
        self.stopped = True

    def close(self) -> None:
        self.running = []


def trains(task: PopulationTask) -> Iterator[Event]:
    yield Advanced(task, 2 * len(task.members))
    yield finished(task)


def finished(task: PopulationTask, train_s: float = 1.0) -> Finished:
    return Finished(task, [run_of(member) for member in task.members], train_s)


def loop(
    folder: Path, tasks: Sequence[PopulationTask], script: Script = trains, watched: Watched | None = None, slots: int = 2
) -> tuple[Ended, Scripted]:
    engine = Scripted(script, slots)
    with Journal(folder) as journal:
        return train_all(tasks, engine, journal, watched or Watched()), engine


def kept(folder: Path) -> set[str]:
    with Journal(folder) as journal:
        return set(journal.found.runs)


def test_all_is_trained_in_order_and_kept(tmp_path: Path) -> None:
    ended, engine = loop(tmp_path, [task_of(i, members=2) for i in range(5)])
    assert engine.begun == [0, 1, 2, 3, 4]
    assert set(ended.runs) == kept(tmp_path) == {f"{i}.{j}" for i in range(5) for j in range(2)}
    assert (ended.given_up, ended.interrupted, ended.out_of_time) == ([], False, False)


def test_what_is_told_adds_up_to_what_was_trained(tmp_path: Path) -> None:
    """Also where a process dies half-way and its steps are taken again."""
    died: list[int] = []

    def script(task: PopulationTask) -> Iterator[Event]:
        if task.index == 1 and not died:
            died.append(1)
            yield Advanced(task, 2)
            yield Lost(task, "by SIGKILL")
        yield from trains(task)

    told: list[tuple[int, int]] = []
    loop(tmp_path, [task_of(i, members=2) for i in range(3)], script, Watched(lambda *numbers: told.append(numbers)))
    assert sum(steps for steps, _ in told) == 3 * 2 * run_of(task_of(0).members[0]).steps
    assert sum(networks for _, networks in told) == 6


def test_a_population_that_kills_its_process_is_given_up_and_the_others_go_on(tmp_path: Path) -> None:
    def script(task: PopulationTask) -> Iterator[Event]:
        if task.index == 1:
            yield Lost(task, "its process died by SIGSEGV")
        yield from trains(task)

    ended, engine = loop(tmp_path, [task_of(i, members=2) for i in range(3)], script)
    assert engine.begun.count(1) == TRIES
    assert set(ended.runs) == {"0.0", "0.1", "2.0", "2.1"}
    assert ended.given_up == ["cells 1, 2, seeds 1: tried 3 times: its process died by SIGSEGV"]


def test_where_every_process_dies_it_ends_before_all_are_tried(tmp_path: Path) -> None:
    def script(task: PopulationTask) -> Iterator[Event]:
        yield Lost(task, "its process died by SIGKILL")

    with pytest.raises(CannotJudge, match="12 processes died one after another, the last of them: its process died by SIGKILL"):
        loop(tmp_path, [task_of(i) for i in range(99)], script)


def test_a_fault_of_gradscope_s_own_costs_one_population(tmp_path: Path) -> None:
    def script(task: PopulationTask) -> Iterator[Event]:
        yield Failed(task, "gradscope failed: KeyError: 3; please report it") if task.index == 0 else finished(task)

    ended, engine = loop(tmp_path, [task_of(0), task_of(1)], script)
    assert engine.begun == [0, 1]
    assert ended.given_up == ["cells 1, seeds 1: gradscope failed: KeyError: 3; please report it"]
    assert kept(tmp_path) == {"1.0"}


def test_a_mistake_of_the_user_s_ends_it(tmp_path: Path) -> None:
    def script(task: PopulationTask) -> Iterator[Event]:
        yield Failed(task, RecipeError(["a.yaml:3:1: wrong"])) if task.index == 1 else finished(task)

    with pytest.raises(RecipeError, match="a.yaml:3:1: wrong"):
        loop(tmp_path, [task_of(i) for i in range(5)], script)
    assert kept(tmp_path) == {"0.0"}


def test_a_journal_that_cannot_be_written_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with Journal(tmp_path) as journal:
        monkeypatch.setattr("gradscope.journal.os.write", full)
        with pytest.raises(WriteError, match=r"journal\.jsonl: cannot be written: No space left on device; what stands there"):
            train_all([task_of(0)], Scripted(trains), journal, Watched())


def test_an_interrupt_keeps_what_is_finished_and_begins_nothing_more(tmp_path: Path) -> None:
    engines: list[int] = []
    watched = Watched(lambda steps, networks: engines.append(networks), should_stop=lambda: sum(engines) >= 1)
    ended, engine = loop(tmp_path, [task_of(i) for i in range(9)], trains, watched, slots=1)
    assert ended.interrupted
    assert engine.begun == [0]
    assert kept(tmp_path) == {"0.0"}


def test_what_finishes_while_it_stops_is_kept(tmp_path: Path) -> None:
    class Late(Scripted):
        def stop(self) -> None:
            """Everything finishes just then."""

    stop = iter([False, True])
    engine = Late(trains)
    with Journal(tmp_path) as journal:
        ended = train_all([task_of(0), task_of(1), task_of(2)], engine, journal, Watched(should_stop=lambda: next(stop)))
    assert ended.interrupted
    assert set(ended.runs) == {"0.0", "1.0"}


def test_it_does_not_wait_for_ever_for_what_does_not_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Deaf(Scripted):
        def wait(self, timeout_s: float) -> list[Event]:
            return []

    monkeypatch.setattr(sweep_loop, "STOP_S", 0.05)
    with Journal(tmp_path) as journal:
        stop = iter([False, True])
        ended = train_all([task_of(0)], Deaf(trains), journal, Watched(should_stop=lambda: next(stop)))
    assert ended.interrupted


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that the test turns."""
    now = [0.0]
    monkeypatch.setattr(sweep_loop.time, "monotonic", lambda: now[0])
    return now


def test_no_population_is_begun_that_would_not_end_in_time(tmp_path: Path, clock: list[float]) -> None:
    """One takes ten seconds: by the second's end 20 of 35 are over; a third would end in time, a fourth would not."""

    def script(task: PopulationTask) -> Iterator[Event]:
        clock[0] += 10
        yield finished(task, 10.0)

    ended, engine = loop(tmp_path, [task_of(i) for i in range(9)], script, Watched(limit_s=35.0), slots=1)
    assert engine.begun == [0, 1, 2]
    assert ended.out_of_time
    assert not ended.interrupted


def test_how_long_earlier_ones_took_is_known_from_the_start(tmp_path: Path, clock: list[float]) -> None:
    """Else each start begins what it cannot end, and throws it away."""

    def script(task: PopulationTask) -> Iterator[Event]:
        clock[0] += 10 * len(task.members)
        yield finished(task, 10.0 * len(task.members))

    tasks = [task_of(0, 3), task_of(1, 1)]
    ended, engine = loop(tmp_path, tasks, script, Watched(limit_s=15.0, known=(4.0, 40.0)), slots=1)
    assert engine.begun == [1]
    assert ended.out_of_time


def test_a_shorter_population_fills_the_time_that_is_left(tmp_path: Path, clock: list[float]) -> None:
    def script(task: PopulationTask) -> Iterator[Event]:
        clock[0] += 10 * len(task.members)
        yield finished(task, 10.0 * len(task.members))

    tasks = [task_of(0, 2), task_of(1, 2), task_of(2, 1), task_of(3, 1)]
    ended, engine = loop(tmp_path, tasks, script, Watched(limit_s=35.0), slots=1)
    assert engine.begun == [0, 2]
    assert ended.out_of_time


def test_what_runs_when_the_time_is_over_is_stopped(tmp_path: Path, clock: list[float]) -> None:
    def script(task: PopulationTask) -> Iterator[Event]:
        while True:
            clock[0] += 10
            yield Advanced(task, 1)

    ended, _ = loop(tmp_path, [task_of(0)], script, Watched(limit_s=35.0))
    assert ended.out_of_time
    assert clock[0] == 40


def test_nothing_to_do_is_done_at_once(tmp_path: Path) -> None:
    ended, _ = loop(tmp_path, [])
    assert ended == Ended()
