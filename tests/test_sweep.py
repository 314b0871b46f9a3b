"""A sweep made ready: its samples, the keys of its results, its populations; what of it is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_sweeps import cells_of, recipe_of, run_of
from small_trials import write_npz

from gradscope import __version__, sweep, sweep_samples
from gradscope.cell import Cell, PopulationTask
from gradscope.data import load_recipe_data
from gradscope.errors import CodeError, RecipeError
from gradscope.grid import cells_of as grid_of
from gradscope.journal import NAME, read_journal
from gradscope.recipe_file import load_recipe, parse_recipe
from gradscope.sweep import Sweep, prepared
from gradscope.sweep_engine import Engine, Event, Settings
from gradscope.sweep_loop import Ended, Watched
from gradscope.sweep_plan import Room
from gradscope.sweep_samples import Sweeping

CPU = torch.device("cpu")
TWO = "data: digits\nstack: {hidden: [8, 6]}\ntraining: {epochs: 1}\ngrid: {activations: {product: [relu, tanh]}}\nseeds: 2\n"
NPZ = """
stack: {hidden: [4], activations: [relu, none]}
training: {batch_size: 16, epochs: 1}
grid: {data: [digits, {source: npz, path: own.npz}], lr: [0.1, 0.2]}
seeds: 1
"""


@pytest.fixture
def how(tmp_path: Path) -> Sweeping:
    return Sweeping(tmp_path / "sweep", CPU)


def keys(how: Sweeping, cells: Sequence[Cell]) -> list[str]:
    with prepared(cells[0].recipe, cells, how) as ready:
        return [member.key for task in ready.plan for member in task.members]


def finish(ready: Sweep, tasks: int) -> None:
    """Write to the journal that some populations are trained, each network with its seed's tenth."""
    for task in ready.plan[:tasks]:
        runs = [run_of(member, value=member.seed / 10, steps=45) for member in task.members]
        ready.done |= {run.key: run for run in ready.journal.add(task.index, runs, 1.0)}


def test_what_is_done_is_told_by_cell_and_seed(how: Sweeping, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = parse_recipe(TWO)
    cells = grid_of(recipe)
    monkeypatch.setattr(sweep, "cpu_room", lambda: Room(1))
    with prepared(recipe, cells, how) as ready:
        assert ready.extent() == (16, 16 * 45, 0, 0)
        finish(ready, 9)
    with prepared(recipe, cells, how) as again:
        assert again.extent() == (16, 16 * 45, 9, 9 * 45)
        assert [run.value for run in again.runs()[0]] == [0.1, 0.2]
        assert [len(runs) for runs in again.runs()] == [2] + 7 * [1]
        assert [task.index for task in again.left] == list(range(9, 16))


def test_populations_stay_those_that_the_sweep_was_begun_with(how: Sweeping, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine with another cache, too: members that train together in other numbers round otherwise."""
    recipe = parse_recipe(TWO)
    cells = grid_of(recipe)
    monkeypatch.setattr(sweep, "cpu_room", lambda: Room(20_000))
    with prepared(recipe, cells, how) as ready:
        begun = ready.plan
    monkeypatch.setattr(sweep, "cpu_room", lambda: Room(10**9))
    with prepared(recipe, cells, how) as again:
        assert again.plan == begun
    with prepared(recipe, cells, replace(how, folder=how.folder / "new")) as new:
        assert len(new.plan) < len(begun)


def test_the_journal_of_another_device_does_not_say_how_many_train_together(
    how: Sweeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = parse_recipe(TWO)
    with prepared(recipe, grid_of(recipe), how):
        pass
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10**9, 2 * 10**9))
    with prepared(recipe, grid_of(recipe), replace(how, device=torch.device("cuda"))) as on_gpu:
        assert [len(task.members) for task in on_gpu.plan] == [16]


def test_a_gpu_that_is_only_elsewhere_has_a_usual_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert sweep._room(torch.device("cuda")) == Room(sweep.UNSEEN_GPU_BYTES, is_gpu=True)


def test_each_data_set_of_a_grid_is_read_once(tmp_path: Path, how: Sweeping, monkeypatch: pytest.MonkeyPatch) -> None:
    write_npz(tmp_path / "own.npz")
    (tmp_path / "two.yaml").write_text(NPZ)
    read: list[str] = []

    def noted(recipe: object, **options: object) -> object:
        data = load_recipe_data(recipe, **options)  # type: ignore[arg-type]
        read.append(data.name)
        return data

    monkeypatch.setattr(sweep_samples, "load_recipe_data", noted)
    recipe = load_recipe(tmp_path / "two.yaml")
    with prepared(recipe, grid_of(recipe), how) as ready:
        assert sorted(read) == ["digits", "own"]
        assert len(ready.settings.samples) == 2
        widths = {task.members[0].recipe.data: ready.work_of(task) for task in ready.plan}
        assert len(set(widths.values())) == 2


def test_a_file_with_other_samples_has_other_results(tmp_path: Path, how: Sweeping) -> None:
    path = write_npz(tmp_path / "own.npz")
    (tmp_path / "own.yaml").write_text(
        NPZ.replace("data: [digits, {source: npz, path: own.npz}], ", "") + f"data: {{source: npz, path: {path}}}\n"
    )
    cells = grid_of(load_recipe(tmp_path / "own.yaml"))
    before = keys(how, cells)
    assert keys(how, cells) == before
    write_npz(path, features=6)
    assert not set(keys(how, cells)) & set(before)


def test_where_samples_lie_changes_no_result(tmp_path: Path, how: Sweeping) -> None:
    path = write_npz(tmp_path / "own.npz")
    moved = path.rename(tmp_path / "moved.npz")
    write_npz(path, features=6)
    of = {
        place: grid_of(parse_recipe(NPZ.replace("[digits, {source: npz, path: own.npz}]", f"[{{source: npz, path: {place}}}]")))
        for place in (path, moved)
    }
    assert not set(keys(how, of[path])) & set(keys(how, of[moved]))
    moved.replace(path)
    (tmp_path / "moved.npz").symlink_to(path)
    assert keys(how, of[path]) == keys(how, of[moved])


def test_other_samples_under_a_data_set_s_name_are_other_results(how: Sweeping, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as another folder's mnist."""
    cells = cells_of(recipe_of())
    before = keys(how, cells)
    digits = load_recipe_data(cells[0].recipe)
    flipped = replace(digits, y_train=digits.y_train.flip(0))
    monkeypatch.setattr(sweep_samples, "load_recipe_data", lambda recipe, **options: flipped)
    assert not set(keys(how, cells)) & set(before)


def test_code_of_the_user_s_that_was_edited_has_other_results(
    tmp_path: Path, how: Sweeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    code, allowed = tmp_path / "edited_activation.py", replace(how, allow_code=True)
    code.write_text("import torch\ndef act(z): return torch.relu(z)\n")
    cells = cells_of(recipe_of("edited_activation:act, relu, none"))
    before = keys(allowed, cells)
    assert keys(allowed, cells) == before
    code.write_text("import torch\ndef act(z): return 0 * z\n")
    assert not set(keys(allowed, cells)) & set(before)


def test_code_that_may_not_be_run_is_told_before_anything_is_written(how: Sweeping) -> None:
    cells = cells_of(recipe_of("somebody:act, relu, none"))
    with pytest.raises(CodeError, match="add --allow-code"), prepared(cells[0].recipe, cells, how):
        raise AssertionError("made ready")
    assert not how.folder.exists()


def test_two_cells_of_the_same_samples_are_both_done(tmp_path: Path, how: Sweeping) -> None:
    """They have one key; each counts."""
    first, second = write_npz(tmp_path / "one.npz"), write_npz(tmp_path / "two.npz")
    recipe = parse_recipe(NPZ.replace("digits, {source: npz, path: own.npz}", ", ".join(
        f"{{source: npz, path: {path}}}" for path in (first, second))))  # fmt: skip
    with prepared(recipe, grid_of(recipe), how) as ready:
        networks = ready.extent()[0]
        finish(ready, len(ready.plan))
        assert ready.extent()[2] == networks == 4
        assert ready.left == []


def test_how_long_populations_take_is_known_from_the_journal(how: Sweeping, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = parse_recipe(TWO)
    monkeypatch.setattr(sweep, "cpu_room", lambda: Room(1))
    with prepared(recipe, grid_of(recipe), how) as ready:
        finish(ready, 3)
    known: list[tuple[float, float]] = []
    monkeypatch.setattr(sweep, "train_all", lambda left, engine, journal, watched: known.append(watched.known) or Ended())
    with prepared(recipe, grid_of(recipe), how) as again:
        again.train(Idle(), Watched())
        assert known == [(sum(map(again.work_of, again.plan[:3])), 3.0)]


class Idle(Engine):
    """Has nothing to do."""

    def begin(self, settings: Settings) -> None: ...
    def free(self) -> int:
        return 0

    def start(self, task: PopulationTask) -> None: ...
    def wait(self, timeout_s: float) -> list[Event]:
        return []

    def stop(self) -> None: ...
    def close(self) -> None: ...


@pytest.fixture
def one_cell() -> list[Cell]:
    return cells_of(recipe_of())


def test_fewer_steps_or_other_products_are_other_results(how: Sweeping, one_cell: list[Cell]) -> None:
    found = [keys(how, one_cell), keys(replace(how, steps=5), one_cell), keys(replace(how, precision="bf16"), one_cell)]
    assert len({key for of_sweep in found for key in of_sweep}) == 3 * 2


def test_more_seeds_and_another_name_keep_the_results(how: Sweeping) -> None:
    before = keys(how, cells_of(recipe_of(seeds=2)))
    assert set(before) < set(keys(how, cells_of(recipe_of(seeds=3, name="renamed"))))


def test_what_trained_the_networks_is_told_where_it_differs(how: Sweeping, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal of another gradscope, or of another device, is used: hours may stand in it."""
    recipe = parse_recipe(TWO)
    cells = grid_of(recipe)
    monkeypatch.setattr(sweep, "cpu_room", lambda: Room(1))
    with monkeypatch.context() as older:
        older.setattr(sweep, "versions", lambda: {"gradscope": "0.0.9", "torch": torch.__version__})
        with prepared(recipe, cells, how) as ready:
            finish(ready, 3)
            assert ready.others() == []
    with prepared(recipe, cells, how) as again:
        assert again.others() == ["3 networks were trained by gradscope 0.0.9"]
        finish(again, 4)
        assert again.made() == {
            "gradscope": f"0.0.9, {__version__}", "torch": torch.__version__, "device": "cpu", "precision": "float32"
        }  # fmt: skip


def test_precision_and_steps_stand_in_the_sweep_s_recipe(how: Sweeping, one_cell: list[Cell]) -> None:
    with prepared(one_cell[0].recipe, one_cell, replace(how, precision="bf16", steps=20)) as ready:
        finish(ready, 1)
        assert {"precision": "bf16", "steps": "20"}.items() <= ready.made().items()
    first = (how.folder / "sweep.yaml").read_text().splitlines()[0]
    assert first == f"# gradscope {__version__}, torch {torch.__version__}, cpu, bf16, at most 20 steps of each network"


def test_the_sweep_s_recipe_lies_in_its_folder_and_can_be_swept(how: Sweeping) -> None:
    recipe = parse_recipe(TWO)
    with prepared(recipe, grid_of(recipe), how):
        pass
    again = load_recipe(how.folder / "sweep.yaml")
    assert [cell.factors for cell in grid_of(again)] == [cell.factors for cell in grid_of(recipe)]


def test_what_does_not_fit_is_told_of_the_cell_and_nothing_is_written(how: Sweeping) -> None:
    recipe = parse_recipe(TWO.replace("{activations", "{batch_size: [32, 5000], activations"))
    said = "expected at most the 1437 training samples of digits, got 5000"
    with pytest.raises(RecipeError, match=said), prepared(recipe, grid_of(recipe), how):
        raise AssertionError("made ready")
    assert not how.folder.exists()


def test_the_folder_is_free_again_after_a_fault(how: Sweeping, one_cell: list[Cell]) -> None:
    with pytest.raises(KeyError), prepared(one_cell[0].recipe, one_cell, how):
        raise KeyError
    with prepared(one_cell[0].recipe, one_cell, how):
        assert read_journal(how.folder / NAME).heads[0]["device"] == "cpu"
