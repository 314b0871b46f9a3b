"""The repair's benchmark: twins are the same without the cause, and what counts as repaired is counted as by hand."""

from importlib import import_module

import pytest
from command_line import ROOT

from gradscope.recipe import build_recipe


@pytest.fixture
def benchmarks(monkeypatch):
    """Return a module of the benchmarks, which are no part of the package."""
    monkeypatch.syspath_prepend(str(ROOT))
    return lambda name: import_module(f"benchmarks.{name}")


def result(control=0.1, twin=0.95, reseed=0.12, recommended=None, **fixes):
    return {
        "goal": 0.8, "control": control, "twin": twin, "reseed": reseed, "recommended": recommended,
        "recommended_mean": fixes.get(recommended), "fixes": {n: {"mean": m, "verdict": "works"} for n, m in fixes.items()},
    }  # fmt: skip


def test_a_twin_is_the_same_recipe_without_what_was_planted(benchmarks):
    sick = [case for case in benchmarks("corpus").cases().values() if case.kind == "sick" and case.way == "recipe"]
    assert sick
    for case in sick:
        planted, twin = build_recipe(dict(case.recipe)), build_recipe(dict(case.twin))
        assert (planted != twin) != (case.change is not None), case.name
        assert (planted.stack.hidden, planted.seed_list) == (twin.stack.hidden, twin.seed_list), case.name
        assert planted.training.epochs == twin.training.epochs


def test_repaired_is_what_comes_within_two_points_of_its_twin(benchmarks):
    repair = benchmarks("repair")
    results = {
        "cured": result(recommended="adam", adam=0.94),
        "half cured": result(recommended="adam", adam=0.8),
        "not proved": result(adam=0.94),
        "lucky": result(reseed=0.935),
        "harmless": result(control=0.94),
        "not healthy": result(twin=0.7),
        "broken": {"failed": "ValueError: no"},
    }
    rates = repair.summarise(results, dict.fromkeys(results, "made"))
    assert rates["all"] == rates["plants"]["made"] == {"of": 4, "repaired": 1, "reseed": 1, "any fix tried": 2}
    assert set(rates["not_repaired"]) == {"half cured", "not proved", "lucky"}
    assert set(rates["not_counted"]) == {"harmless", "not healthy", "broken"}
    text = repair.table(rates)
    assert "repaired: 0.25 [0.05, 0.70]" in text
    assert "half cured: 0.10 of 0.95; adam 0.80; tried adam 0.80 works, reseed 0.12" in text
    assert "broken: ValueError: no" in text


def test_without_a_case_there_is_no_share(benchmarks):
    repair = benchmarks("repair")
    assert "repaired: no case counts" in repair.table(repair.summarise({}, {}))


def test_a_case_that_fails_is_told_and_the_others_go_on(benchmarks, monkeypatch):
    run = benchmarks("repair_run")

    def fails(case):
        raise ValueError(case.name)

    monkeypatch.setattr(run, "_repaired", fails)
    name = next(iter(benchmarks("repair").chosen_cases("choosing", "all weights zero")))
    assert run.run_named(name)["failed"] == f"ValueError: {name}"


def test_only_sick_recipes_are_chosen(benchmarks):
    chosen = benchmarks("repair").chosen_cases
    assert 15 <= len(chosen("held back", "")) < len(chosen("both", ""))
    assert set(chosen("both", "deep sigmoid").values()) == {"deep sigmoid"}
