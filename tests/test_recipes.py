"""The recipes that come with gradscope: each shows what it says, and the published failure is found, explained and cured."""

import os
from pathlib import Path

import pytest
from small_trials import CPU, recipe_of

from gradscope.data import load_data
from gradscope.recipe import replace
from gradscope.recipe_file import load_recipe
from gradscope.trained_arms import check_fit
from gradscope.trial import Conditions, run_trial

FOLDER = Path(__file__).parents[1] / "recipes"
NAMES = (
    "deep_sigmoid",
    "dying_relu",
    "exploding",
    "healthy",
    "mixed_units",
    "own_model",
    "saturated_sigmoid",
    "sigmoid_relu",
)
MNIST = Path(os.environ.get("GRADSCOPE_DATA", "")) / "MNIST" / "raw"


def run(name, **options):
    recipe = replace(load_recipe(FOLDER / f"{name}.yaml"), device="cpu", **options)
    assert isinstance(recipe.data, str)
    data = load_data(recipe.data)
    check_fit(recipe, data)
    return run_trial(recipe, data, Conditions(CPU, allow_code=True))


def test_these_are_all_recipes():
    assert {path.stem for path in FOLDER.glob("*.yaml")} >= set(NAMES)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_recipe_says_what_it_shows_and_what_it_expects(path):
    assert [line for line in path.read_text().splitlines() if line.startswith("# ") and "$schema" not in line]
    assert load_recipe(path).expected


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.yaml")))
def test_what_a_recipe_expects_comes_true(name, monkeypatch):
    monkeypatch.chdir(FOLDER.parent)  # code that a recipe names is looked for from there
    report = run(name, fixes=[])
    assert report.expectation.met is True, [(f.rule, f.site, f.severity, f.seeds) for f in report.findings]
    assert not [item for item in report.undecided if item.crashed]


def is_the_published_failure(report):
    assert report.verdict == "sick"
    collapse = next(f for f in report.findings if f.rule == "output-collapse")
    assert (collapse.site, collapse.role) == ("3.relu", "origin")
    assert "saturation" not in {f.rule for f in report.findings}
    assert [(h.name, h.holds) for h in report.hypotheses] == [
        ("closed last pre-activations", True),
        ("saturated sigmoids", False),
    ]


def is_healthy(report):
    assert report.verdict == "healthy"
    assert [f.rule for f in report.findings if f.severity != "note"] == []
    assert report.undecided == []


@pytest.mark.slow
def test_the_published_failure_is_found_explained_and_cured():
    report = run("sigmoid_relu")
    is_the_published_failure(report)
    assert report.control.mean < 0.5
    predicted = next(f for f in report.findings if f.rule == "common-mode" and f.site == "3.relu")
    assert predicted.first_step == 0
    assert len(predicted.seeds) >= 4
    outcomes = {o.fix: o for o in report.fixes}
    assert outcomes["batchnorm-last"].verdict == "works"
    assert outcomes["batchnorm-last"].interval[0] > 0.3
    assert outcomes["reseed"].verdict != "works"
    assert report.recommended == "batchnorm-last"


@pytest.mark.slow
def test_a_network_that_learns_is_healthy():
    report = run("healthy")
    is_healthy(report)
    assert report.control.mean > 0.9


@pytest.mark.slow
@pytest.mark.skipif(not MNIST.is_dir(), reason="needs MNIST: GRADSCOPE_DATA names no folder with MNIST/raw")
def test_the_same_two_verdicts_on_mnist():
    sick = run("sigmoid_relu", data="mnist", epochs=2, seeds=3)
    print("sick", sick.control, [(o.fix, o.mean, o.interval, o.verdict) for o in sick.fixes], sick.timing)
    is_the_published_failure(sick)
    assert sick.control.mean < 0.6
    assert next(o for o in sick.fixes if o.fix == "batchnorm-last").verdict == "works"
    healthy = run("healthy", data="mnist", epochs=2, seeds=3)
    print("healthy", healthy.control, healthy.timing)
    is_healthy(healthy)


def test_the_published_recipe_is_the_published_network():
    stack = load_recipe(FOLDER / "sigmoid_relu.yaml").stack
    assert (stack.hidden, [layer.label for layer in stack.layers]) == ((500, 256), ["relu", "sigmoid", "relu"])
    assert recipe_of((FOLDER / "sigmoid_relu.yaml").read_text()).expected == ("output-collapse", "common-mode")
