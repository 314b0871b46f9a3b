"""Which networks of a sweep train together, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_sweeps import cells_of, keys_of, recipe_of

from gradscope import sweep_plan
from gradscope.cell import Cell, PopulationTask
from gradscope.recipe import Recipe
from gradscope.sweep_plan import MOST_MEMBERS, Room, Shape, count_parameters, cpu_room, plan, population_size, remaining

LARGE = Room(2**40)
GPU = Room(2**40, is_gpu=True)
PUBLISHED = 785 * 500 + 501 * 256 + 257 * 10


def planned(cells: Sequence[Cell], room: Room = LARGE) -> list[PopulationTask]:
    return plan(cells, shape_of, keys_of, room)


def shape_of(recipe: Recipe) -> Shape:
    return Shape(64, 10, 45 * recipe.training.epochs)


def members(tasks: Sequence[PopulationTask]) -> list[list[tuple[int, int]]]:
    """(seed, cell) of each population."""
    return [[(member.seed, member.cell) for member in task.members] for task in tasks]


def room_for(count: int, recipe: Recipe) -> Room:
    return Room(count * count_parameters(recipe, shape_of(recipe)) * 2 * 4)


def test_four_of_the_published_networks_fit() -> None:
    assert population_size(PUBLISHED, "sgd", Room(sweep_plan.CACHE_BYTES)) == 4


def test_tiny_networks_are_not_piled_up_without_end_on_a_cpu() -> None:
    assert population_size(100, "sgd", LARGE) == MOST_MEMBERS
    assert population_size(100, "sgd", GPU) > MOST_MEMBERS


def test_the_largest_network_trains_alone() -> None:
    assert population_size(10**9, "sgd", Room(2**20)) == 1


def test_an_optimizer_that_keeps_more_leaves_room_for_fewer() -> None:
    assert population_size(PUBLISHED, "adam", Room(10**8)) < population_size(PUBLISHED, "sgd", Room(10**8))


def test_parameters_are_weights_and_biases_of_all_layers() -> None:
    assert count_parameters(recipe_of(hidden=(500, 256)), Shape(784, 10, 1)) == PUBLISHED


def test_cells_of_one_seed_train_together_in_the_order_of_the_grid() -> None:
    cells = cells_of(*[recipe_of(f"relu, {last}, none") for last in ("relu", "tanh", "selu")])
    assert members(planned(cells, room_for(3, cells[0].recipe))) == [
        [(1, 0), (1, 1), (1, 2)],
        [(2, 0), (2, 1), (2, 2)],
    ]


def test_where_all_cells_fit_more_than_once_seeds_share_a_population() -> None:
    cells = cells_of(recipe_of(seeds=5))
    assert members(planned(cells)) == [[(seed, 0) for seed in range(1, 6)]]
    assert members(planned(cells, room_for(2, cells[0].recipe))) == [[(1, 0)], [(2, 0), (3, 0)], [(4, 0), (5, 0)]]


def test_on_a_gpu_seeds_share_a_population_as_far_as_memory_goes() -> None:
    cells = cells_of(recipe_of("relu, relu, none"), recipe_of("relu, tanh, none"))
    room = Room(3 * count_parameters(cells[0].recipe, Shape(64, 10, 1)) * 4 * 4, is_gpu=True)
    assert members(planned(cells, room)) == [[(1, 0), (1, 1)], [(2, 0), (2, 1)]]


def test_a_small_sweep_is_of_more_than_one_population() -> None:
    """Else one core works, and a kill costs all of it."""
    names = ("relu", "tanh", "selu", "sigmoid")
    cells = cells_of(*[recipe_of(f"{a}, {b}, none", seeds=2) for a in names for b in names])
    assert [len(task.members) for task in planned(cells)] == [8, 8, 8, 8]


def test_of_a_large_sweep_as_many_train_together_as_the_room_allows() -> None:
    cells = cells_of(*[recipe_of(lr=i / 100, seeds=16) for i in range(1, 65)])
    assert {len(task.members) for task in planned(cells)} == {16}


def test_the_published_sweep_trains_four_at_a_time() -> None:
    names = ("relu", "tanh", "selu", "sigmoid")
    cells = cells_of(*[recipe_of(f"{a}, {b}, none", hidden=(500, 256), seeds=5) for a in names for b in names])
    tasks = plan(cells, lambda recipe: Shape(784, 10, 18750), keys_of, Room(sweep_plan.CACHE_BYTES))
    assert [members([task])[0] for task in tasks] == [
        [(seed, i + j) for j in range(4)] for seed in range(1, 6) for i in range(0, 16, 4)
    ]


def test_a_population_on_a_gpu_lasts_no_longer_than_one_cares_to_lose() -> None:
    cells = cells_of(recipe_of(hidden=(500, 256), seeds=320))
    brief, long = (
        plan(cells, lambda recipe, steps=steps: Shape(784, 10, steps), keys_of, GPU)  # type: ignore[misc]
        for steps in (1000, 187_500)
    )
    assert [len(task.members) for task in brief] == [320]
    assert {len(task.members) for task in long} == {26, 27}  # 28 would move as much as is allowed


@pytest.mark.parametrize("name", ["rrelu", "mine.acts:noisy", "[relu, {rrelu: {lower: 0.01, upper: 0.9}}]"])
def test_what_draws_random_numbers_trains_alone(name: str) -> None:
    """All members of a population draw from one stream: the others would be part of the result."""
    cells = cells_of(recipe_of(f"{name}, relu, none"), recipe_of("tanh, relu, none"), recipe_of("relu, relu, none"))
    found = members(planned(cells))
    assert [pairs for pairs in found if (1, 0) in pairs or (2, 0) in pairs] == [[(1, 0)], [(2, 0)]]
    assert [(1, 1), (1, 2), (2, 1), (2, 2)] in found


@pytest.mark.parametrize(
    "other",
    [recipe_of(hidden=(8, 7)), recipe_of(lr=0.2), recipe_of(epochs=2), recipe_of(data="mnist")],
    ids=["widths", "learning rate", "epochs", "data"],
)
def test_what_cannot_train_in_lock_step_trains_apart(other: Recipe) -> None:
    assert len(planned(cells_of(recipe_of(seeds=1), other))) > 1


def test_activations_norms_and_starts_share_a_population() -> None:
    assert len(planned(cells_of(*[recipe_of(f"{name}, none, none", seeds=1) for name in ("relu", "tanh", "sigmoid")]))) == 1


def test_parts_of_a_group_are_of_equal_size() -> None:
    cells = cells_of(*[recipe_of(f"{a}, {b}, none", seeds=1) for a in ("relu", "tanh", "selu") for b in ("relu", "tanh")])
    assert [len(task.members) for task in planned(cells, room_for(4, cells[0].recipe))] == [3, 3]


def test_the_costliest_come_first_and_equals_in_order() -> None:
    cells = cells_of(
        *[recipe_of(hidden=hidden, lr=lr, seeds=1) for hidden in ((8, 6), (80, 60)) for lr in (0.1, 0.2)],
        recipe_of(epochs=5, seeds=1),
    )
    tasks = planned(cells)
    assert [task.members[0].cell for task in tasks] == [2, 3, 4, 0, 1]
    assert [task.index for task in tasks] == [0, 1, 2, 3, 4]


@given(
    widths=st.lists(st.sampled_from([(8, 6), (4, 4), (30, 5)]), min_size=1, max_size=12),
    seeds=st.integers(1, 5),
    size=st.integers(1, 10),
)
def test_every_cell_and_seed_is_planned_once_within_the_room(widths: list[tuple[int, ...]], seeds: int, size: int) -> None:
    names = ("relu", "tanh", "selu", "sigmoid")
    cells = cells_of(
        *[recipe_of(f"{names[i % 4]}, {names[i // 4]}, none", hidden=hidden, seeds=seeds) for i, hidden in enumerate(widths)]
    )
    room = room_for(size, cells[0].recipe)
    tasks = planned(cells, room)
    found = [pair for population in members(tasks) for pair in population]
    assert sorted(found) == sorted((seed, i) for seed in range(1, seeds + 1) for i in range(len(cells)))
    for task in tasks:
        recipe = task.members[0].recipe
        assert len(task.members) <= population_size(count_parameters(recipe, shape_of(recipe)), "sgd", room)
        assert len({member.recipe.stack and member.recipe.stack.hidden for member in task.members}) == 1
    assert members(planned(cells, room)) == members(tasks)


def test_what_is_done_changes_no_population_and_leaves_the_rest_of_it() -> None:
    cells = cells_of(recipe_of("relu, relu, none"), recipe_of("relu, tanh, none"))
    tasks = planned(cells, room_for(2, cells[0].recipe))
    keys = [[member.key for member in task.members] for task in tasks]
    left = remaining(tasks, {*keys[0], keys[1][0]})
    assert [(task.index, [member.key for member in task.members]) for task in left] == [(1, [keys[1][1]])]


def test_a_core_has_its_share_of_the_cache(tmp_path: Path) -> None:
    for index, (size, shared) in enumerate([("48K", "0"), ("2048K", "0-1"), ("12M", "0-3,8-11")]):
        folder = tmp_path / f"index{index}"
        folder.mkdir()
        (folder / "size").write_text(f"{size}\n")
        (folder / "shared_cpu_list").write_text(f"{shared}\n")
    assert sweep_plan._cache_share(tmp_path) == 12 * 2**20 // 8


def test_a_machine_that_does_not_name_its_cache_has_a_usual_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "index0").mkdir()
    (tmp_path / "index0" / "size").write_text("large\n")
    assert sweep_plan._cache_share(tmp_path) == 0
    monkeypatch.setattr(sweep_plan, "_cache_share", lambda folder: 0)
    assert cpu_room() == Room(sweep_plan.CACHE_BYTES)


def test_a_host_s_huge_cache_is_not_taken_at_its_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_plan, "_cache_share", lambda folder: 2**30)
    assert cpu_room() == Room(sweep_plan.CACHE_BYTES)
