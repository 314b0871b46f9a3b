"""Populations in worker processes: the same numbers as here, whatever befalls a process."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_sweeps import keys_of, recipe_of

from gradscope.cell import Planned, PopulationTask
from gradscope.data import load_data
from gradscope.errors import CodeError, RecipeError
from gradscope.recipe import Recipe
from gradscope.shared_samples import SampleFile
from gradscope.sweep_engine import Advanced, Event, Failed, Finished, Lost, Settings, Stopped
from gradscope.sweep_plan import samples_key
from gradscope.sweep_training import SweepTraining, train_task
from gradscope.sweep_workers import ProcessEngine

LONG = 10_000
"""Epochs that no test waits for."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessEngine]:
    """One process, begun, that knows a module with a broken activation; each test leaves it free."""
    folder = tmp_path_factory.mktemp("code")
    (folder / "failing_activation.py").write_text("def broken(z):\n    raise KeyError('seven')\n")
    with (
        pytest.MonkeyPatch.context() as patch,
        closing(SampleFile(load_data("digits").flattened())) as file,
    ):
        patch.syspath_prepend(folder)
        with closing(ProcessEngine(1)) as started:
            started.begin(Settings({samples_key(recipe_of()): file.shared}, allow_code=True))
            yield started


def task_of(*recipes: Recipe, index: int = 0) -> PopulationTask:
    return PopulationTask(index, tuple(Planned(i, 1, keys_of(recipe)[1], recipe) for i, recipe in enumerate(recipes)))


def until(engine: ProcessEngine, kind: type[Event]) -> list[Event]:
    """Wait for an event of a kind; return all until then."""
    events: list[Event] = []
    end = time.monotonic() + 60
    while not any(isinstance(event, kind) for event in events):
        assert time.monotonic() < end, f"no {kind.__name__} among {events}"
        events += engine.wait(1.0)
    return events


def is_alive(process: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(process, 0)
        return True
    return False


def test_it_trains_what_this_process_trains_bit_for_bit(engine: ProcessEngine) -> None:
    recipes = recipe_of("relu, tanh, none"), recipe_of("sigmoid, relu, relu")
    engine.start(task_of(*recipes))
    assert engine.free() == 0
    done = until(engine, Finished)[-1]
    assert isinstance(done, Finished)
    assert engine.free() == 1
    here = train_task(task_of(*recipes), load_data("digits").flattened(), SweepTraining(torch.device("cpu")))
    assert list(done.runs) == here
    assert done.train_s > 0


def test_steps_and_end_of_a_training_are_told(engine: ProcessEngine) -> None:
    engine.start(task_of(recipe_of(epochs=40), recipe_of("relu, relu, none", epochs=40)))
    events = until(engine, Finished)
    steps = [event.steps for event in events if isinstance(event, Advanced)]
    assert 0 < sum(steps) <= 2 * 40 * 45
    assert sum(isinstance(event, Finished) for event in events) == 1


def test_it_stops_after_the_step_and_takes_the_next_task(engine: ProcessEngine) -> None:
    engine.start(task_of(recipe_of(epochs=LONG)))
    until(engine, Advanced)
    engine.stop()
    assert isinstance(until(engine, Stopped)[-1], Stopped)
    engine.start(task_of(recipe_of(), index=7))
    assert until(engine, Finished)[-1].task.index == 7


def test_a_process_that_is_killed_is_told_of_and_replaced(engine: ProcessEngine) -> None:
    engine.start(task_of(recipe_of(epochs=LONG)))
    until(engine, Advanced)
    os.kill(engine.processes[0], signal.SIGKILL)
    lost = until(engine, Lost)[-1]
    assert isinstance(lost, Lost)
    assert lost.how.startswith("its process died by SIGKILL")
    engine.start(task_of(recipe_of()))
    assert isinstance(until(engine, Finished)[-1], Finished)


def test_a_process_killed_while_it_waits_costs_one_try(engine: ProcessEngine) -> None:
    os.kill(engine.processes[0], signal.SIGKILL)
    engine.start(task_of(recipe_of()))
    assert isinstance(until(engine, Lost)[-1], Lost)
    engine.start(task_of(recipe_of()))
    assert isinstance(until(engine, Finished)[-1], Finished)


def test_code_of_the_user_s_that_fails_is_told_with_its_place(engine: ProcessEngine) -> None:
    engine.start(task_of(recipe_of("failing_activation:broken, relu, none")))
    failed = until(engine, Failed)[-1]
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, CodeError)
    assert str(failed.error).startswith("recipe:4:")
    assert str(failed.error).endswith("KeyError: 'seven'")


def test_a_mistake_in_a_recipe_keeps_its_faults_on_the_way(engine: ProcessEngine) -> None:
    engine.start(task_of(recipe_of(hidden=(10**6, 10**6))))
    failed = until(engine, Failed)[-1]
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, RecipeError)
    assert [fault.split(":")[0] for fault in failed.error.faults] == ["recipe"]
    assert failed.error.faults[0].endswith("try a smaller batch_size, narrower hidden layers, or fewer --jobs")


def test_a_fault_of_gradscope_s_own_is_a_line(engine: ProcessEngine) -> None:
    elsewhere = replace(task_of(recipe_of()), members=(Planned(0, 1, "key", recipe_of(data="mnist")),))
    engine.start(elsewhere)  # whose samples it was not given
    failed = until(engine, Failed)[-1]
    assert isinstance(failed, Failed)
    assert str(failed.error).startswith("gradscope failed: KeyError: ")
    assert str(failed.error).endswith("please report it")


def test_samples_that_cannot_be_read_are_named_and_the_process_lives(tmp_path: Path) -> None:
    """They were said to be a process that died, and tried three times."""
    gone = str(tmp_path / "gone")
    with closing(SampleFile(load_data("digits").flattened())) as file, closing(ProcessEngine(1)) as engine:
        engine.begin(Settings({samples_key(recipe_of()): replace(file.shared, path=gone)}))
        engine.start(task_of(recipe_of()))
        failed = until(engine, Failed)[-1]
        assert isinstance(failed, Failed)
        assert (
            failed.error == f"the system refused: [Errno 2] No such file or directory: '{gone}'; the same command tries again"
        )
        assert is_alive(engine.processes[0])


def test_processes_hear_no_interrupt(engine: ProcessEngine) -> None:
    """Ctrl-C reaches all processes of a terminal; it is the parent's to handle."""
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(engine.processes[0], number)
    engine.start(task_of(recipe_of()))
    events = until(engine, Finished)
    assert not any(isinstance(event, Lost) for event in events)


def test_none_is_left_when_it_is_closed() -> None:
    engine = ProcessEngine(2)
    processes = engine.processes
    assert all(is_alive(process) for process in processes)
    engine.close()
    assert not any(is_alive(process) for process in processes)
