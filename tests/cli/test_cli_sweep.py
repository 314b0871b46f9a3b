"""`gradscope sweep`: what it prints where, what it writes, its exit codes, and going on where it was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from command_line import Done, call, command, environment

from gradscope import sweep_loop, sweep_workers
from gradscope.cli import limits
from gradscope.journal import NAME, Journal, read_journal
from gradscope.sweep_report import load_result

RECIPE = """
data: digits
stack: {hidden: [8, 6]}
training: {lr: 0.1, epochs: 1}
grid: {activations: {product: [relu, tanh], output: none}}
seeds: 2
"""
FILES = {NAME, "sweep.yaml", "results.csv", "results.json", "epochs.csv", "heatmap.svg", "tensorboard"}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written(text: str = RECIPE, name: str = "grid.yaml") -> Path:
    path = Path(name)
    path.write_text(text)
    return path


def sweep(*arguments: str | Path) -> Done:
    return call("sweep", *arguments, "--jobs", "1")


def test_a_sweep_end_to_end_damaged_and_widened() -> None:
    """First all is trained; then one line is damaged and its networks run again; then the grid has more, which alone is new."""
    folder = Path("runs/sweeps/grid")
    done = sweep(written())
    assert (done.code, done.err) == (0, "gradscope: 8 networks to train, 360 steps of single networks\n")
    assert done.out.startswith("SWEEP  grid: 4 cells, 8 networks trained\n")
    assert {path.name for path in folder.iterdir()} >= FILES
    tables = [(folder / name).read_bytes() for name in ("results.csv", "results.json")]
    for place in (folder, folder / "results.json"):
        assert call("report", place) == Done(0, done.out, "")
        assert call("report", place, "--format", "json") == Done(0, (folder / "results.json").read_text(), "")
    assert tables[0].startswith(b"# made by: gradscope sweep grid.yaml\n")

    whole = (folder / NAME).read_bytes()
    (folder / NAME).write_bytes(whole.replace(b'"seed":1', b'"seed":7'))
    again = sweep(written(), "-q")
    assert (again.code, again.out) == (0, "4 of 4 cells are done: runs/sweeps/grid/results.csv\n")
    assert again.err == f"gradscope: {folder / NAME}: damaged lines are left out, their cells run again: 2\n"
    assert [(folder / name).read_bytes() for name in ("results.csv", "results.json")] == tables

    (folder / NAME).write_bytes(whole)
    written(RECIPE.replace("[relu, tanh]", "[relu, tanh, selu]").replace("seeds: 2", "seeds: 3"))
    wider = sweep("grid.yaml", "--format", "json")
    said = "gradscope: 19 networks to train, 855 steps of single networks; 8 are trained already\n"
    assert (wider.code, wider.err, wider.out) == (0, said, (folder / "results.json").read_text())
    assert (folder / NAME).read_bytes().startswith(whole)
    entries = [json.loads(line)["entry"] for line in (folder / NAME).read_text().splitlines()]
    assert sum(len(entry.get("runs", ())) for entry in entries) == 9 * 3
    assert [row.seeds for row in load_result(folder).rows] == [[1, 2, 3]] * 9


def test_how_it_was_trained_stands_in_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    Path("own_activation.py").write_text("import torch\ndef act(z): return torch.tanh(z)\n")
    recipe = written(RECIPE.replace("[relu, tanh]", "['own_activation:act', tanh]"))
    done = sweep(recipe, "--allow-code", "--precision", "bf16", "--steps", "2", "-q")
    assert (done.code, done.err) == (0, "")
    folder = Path("runs/sweeps/grid")
    made = load_result(folder).made
    assert {name: made[name] for name in ("device", "precision", "steps")} == {
        "device": "cpu", "precision": "bf16", "steps": "2"
    }  # fmt: skip
    first = (folder / "results.csv").read_text().splitlines()[0]
    assert first == "# made by: gradscope sweep grid.yaml --steps 2 --precision bf16 --allow-code"


def test_a_recipe_without_a_grid_is_a_sweep_of_one_cell() -> None:
    recipe = written(
        RECIPE.replace("grid: {activations: {product: [relu, tanh], output: none}}", "").replace(
            "6]", "6], activations: [relu, relu, none]"
        )
    )
    done = sweep(recipe, "--out", "own/folder", "--seeds", "3", "--epochs", "4", "--steps", "7", "-q")
    assert (done.code, done.err, done.out) == (0, "", "1 of 1 cells are done: own/folder/results.csv\n")
    runs = read_journal(Path("own/folder") / NAME).runs.values()
    assert [(run.seed, run.steps) for run in runs] == [(1, 7), (2, 7), (3, 7)]
    assert "epochs: 4" in Path("own/folder/sweep.yaml").read_text()


def test_an_interrupted_sweep_keeps_what_is_done_and_goes_on() -> None:
    """Ctrl-C reaches all processes of a terminal, here about when the worker begins to train."""
    recipe = written(RECIPE.replace("epochs: 1}", "epochs: 50000}"))
    arguments = command("sweep", recipe, "--out", "out", "--jobs", "1", "--steps", "50000")
    process = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), text=True, start_new_session=True
    )
    wait_until(Path("out/sweep.yaml").exists)
    time.sleep(1.0)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "UNFINISHED" in out
    assert [line for line in err.splitlines() if line] == [
        "gradscope: 8 networks to train, 400,000 steps of single networks",
        "gradscope: stopping after this step; press Ctrl-C again to stop at once",
        "gradscope: interrupted: 0 of 4 cells are done; the same command goes on",
    ]


def wait_until(reached: object) -> None:
    assert callable(reached)
    end = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_when_the_time_is_over_it_ends_without_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits.Limits, "look", lambda self: None)  # planning takes no time
    done = sweep(written(), "--max-hours", "1e-9", "-q")
    assert (done.code, done.out) == (0, "0 of 4 cells are done: runs/sweeps/grid/results.csv\n")
    said = "no population came to its end in it, and what is begun is not kept: give it more --max-hours"
    assert done.err == f"gradscope: the time is over: 0 of 4 cells are done; {said}\n"


def test_the_time_may_be_over_before_anything_is_planned() -> None:
    """A grid of a million networks takes minutes to plan."""
    done = sweep(written(), "--max-hours", "1e-9")
    assert (done.code, done.out) == (0, "")
    said = "before anything was trained, and the tables are as they were; give it more --max-hours, or a smaller grid"
    assert done.err == f"gradscope: the time is over {said}\n"


def test_who_interrupts_the_planning_need_not_wait_for_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[None] = []

    def look(self: limits.Limits) -> None:
        if len(looks) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        looks.append(None)
        found(self)

    found = limits.Limits.look
    monkeypatch.setattr(limits.Limits, "look", look)
    done = sweep(written())
    assert (done.code, done.out, len(looks)) == (130, "", 3)
    assert [line for line in done.err.splitlines() if line] == [
        "gradscope: stopping after this step; send SIGTERM again to stop at once",
        "gradscope: interrupted before anything was trained, and the tables are as they were; the same command goes on",
    ]


def test_a_population_that_kills_its_process_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_loop, "TRIES", 1)
    monkeypatch.syspath_prepend(tmp_path)
    Path("deadly.py").write_text(
        "import os, torch\n"
        "def dies(z):\n"
        "    if z.shape[-1] == 6 and z.numel() > 64: os.kill(os.getpid(), 11)\n"
        "    return torch.relu(z)\n"
    )
    text = "data: digits\nstack: {activations: [relu, 'deadly:dies', none]}\ntraining: {epochs: 1}\nseeds: 1\n"
    done = sweep(written(text + "grid: {hidden: [[8, 6], [4, 5]]}\n"), "--allow-code", "-q")
    assert done.code == 3
    assert done.out == "1 of 2 cells are done: runs/sweeps/grid/results.csv\n"
    assert done.err == "gradscope: could not be trained: cells 1, seeds 1: tried 1 times: its process died by SIGSEGV\n"


def test_no_more_processes_are_started_than_there_are_populations_left(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []
    begin = sweep_workers.ProcessEngine.__init__

    def noted(self: sweep_workers.ProcessEngine, jobs: int) -> None:
        started.append(jobs)
        begin(self, jobs)

    monkeypatch.setattr(sweep_workers.ProcessEngine, "__init__", noted)
    recipe = written()
    for _ in range(2):
        assert call("sweep", recipe, "--steps", "1", "--jobs", "5", "-q").code == 0
    assert started == [1, 0]


WRONG = {
    "value": (RECIPE.replace("0.1", "fast"), (), "grid.yaml:4:16: training.lr: expected a finite number above 0, got 'fast'"),
    "batch": (
        RECIPE.replace("lr: 0.1", "batch_size: 5000"),
        (),
        "grid.yaml:4:24: training.batch_size: expected at most the 1437",
    ),
    "norm": (
        RECIPE.replace("stack: {", "stack: {norm: batchnorm-all, ").replace("lr: 0.1", "batch_size: 1"),
        (),
        "training.batch_size: expected at least 2 with batch-norm, got 1\n",
    ),
    "seeds": (RECIPE, ("--seeds", "0"), "--seeds: expected a count of seeds from 1 to 1000, or a list of them, got 0"),
    "jobs": (RECIPE, ("--jobs", "0"), "gradscope: Invalid value for '--jobs': 0 is not in the range x>=1."),
    "out": (RECIPE, ("--out", ""), "'--out': expected a folder, got an empty name; leave --out out for the default"),
    "hours": (RECIPE, ("--max-hours", "nan"), "'--max-hours': expected a finite number of hours above 0, got nan; without"),
    "endless": (RECIPE, ("--max-hours", "inf"), "'--max-hours': expected a finite number of hours above 0, got inf; without"),
    "code": (RECIPE.replace("tanh", "'mine:act'"), (), "'mine:act' runs code of its own; read it, then add --allow-code"),
    "model": ("data: digits\nmodel: mine:Net\n", ("--allow-code",), "grid.yaml:2:8: model: expected a stack, whose networks"),
    "data": (RECIPE.replace("digits", "mnist"), ("--data-dir", "nowhere"), "grid.yaml:2:7: mnist: not found, looked for"),
}


@pytest.mark.parametrize(("text", "arguments", "said"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_one_line_and_leaves_no_folder(text: str, arguments: tuple[str, ...], said: str) -> None:
    done = call("sweep", written(text), *arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not Path("runs").exists()


def test_two_sweeps_on_one_folder_are_told_apart() -> None:
    folder = Path("runs/sweeps/grid")
    with Journal(folder):
        done = sweep(written())
    assert (done.code, done.out) == (2, "")
    assert (
        done.err
        == f"gradscope: {folder / NAME}: another sweep is writing it; wait for its end, or name another folder with --out\n"
    )


def test_a_folder_that_cannot_be_written_is_told() -> None:
    Path("file").touch()
    done = sweep(written(), "--out", "file/below")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("gradscope: file/below/journal.jsonl: cannot be written: ")


def test_other_data_than_the_recipes_own_and_the_table_says_so() -> None:
    done = sweep(written(RECIPE.replace("digits", "mnist")), "--data", "digits", "--steps", "3", "--seeds", "1", "-q")
    assert (done.code, done.err) == (0, "")
    first = Path("runs/sweeps/grid/results.csv").read_text().splitlines()[0]
    assert first == "# made by: gradscope sweep grid.yaml --data digits --seeds 1 --steps 3"


def test_tables_of_another_sweep_are_not_replaced_without_a_word() -> None:
    sweep(written(), "--steps", "1", "-q")
    other = sweep(written(RECIPE.replace("[relu, tanh]", "[relu, selu]")), "--steps", "1", "-q")
    said = "the tables of another sweep are replaced (other grid); the journal keeps both"
    assert other.err == f"gradscope: runs/sweeps/grid: {said}; name another folder with --out to keep the tables\n"
    assert other.code == 0
