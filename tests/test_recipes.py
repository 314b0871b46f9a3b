"""The recipes that come with gradscope: each shows what it says, and the published failure is found, explained and cured."""

import csv
import os
from pathlib import Path

import pytest
from small_trials import CPU, recipe_of

from gradscope.activation_families import FAMILIES, family_of
from gradscope.data import load_data
from gradscope.grid import cells_of
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
SWEEPS = sorted(path for path in FOLDER.rglob("*.yaml") if load_recipe(path).grid)
SINGLES = sorted(set(FOLDER.glob("*.yaml")) - set(SWEEPS))
MNIST = Path(os.environ.get("GRADSCOPE_DATA", "")) / "MNIST" / "raw"


# Cells and seeds, and the columns by which a row of the published table is found again.
PUBLISHED = {
    "mnist_3layer": (64, 5, ["act1", "act2", "act3"]),
    "mnist_3layer_batchnorm": (64, 2, ["act1", "act2", "act3"]),
    "mnist_3layer_two_activations": (100, 1, ["act1a", "act1b", "act2a", "act2b", "act3a", "act3b"]),
    "cifar10_2layer": (16, 1, ["act1", "act2"]),
    "cifar10_4layer": (16, 1, ["act1", "act2", "act3", "act4"]),
    "mnist_relu3_learning_rates": (5, 5, ["lr"]),
}


def run(name, steps=None, **options):
    recipe = replace(load_recipe(FOLDER / f"{name}.yaml"), device="cpu", **options)
    assert isinstance(recipe.data, str)
    data = load_data(recipe.data)
    check_fit(recipe, data)
    return run_trial(recipe, data, Conditions(CPU, steps=steps, allow_code=True))


def test_these_are_all_recipes():
    assert {path.stem for path in SINGLES} >= set(NAMES)
    assert {path.stem for path in SWEEPS} >= {*PUBLISHED, "does_mixing_help", "does_mixing_within_a_layer_help"}


@pytest.mark.parametrize("path", SINGLES, ids=lambda path: path.stem)
def test_a_recipe_says_what_it_shows_and_what_it_expects(path):
    assert [line for line in path.read_text().splitlines() if line.startswith("# ") and "$schema" not in line]
    assert load_recipe(path).expected


@pytest.mark.slow
@pytest.mark.parametrize("name", [path.stem for path in SINGLES])
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
    assert outcomes["batchnorm-last"].interval[0] > 0
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
    sick = run("sigmoid_relu", data="mnist", steps=600, fixes=["batchnorm-last"])
    print("sick", sick.control, [(o.fix, o.mean, o.interval, o.verdict) for o in sick.fixes], sick.timing)
    is_the_published_failure(sick)
    assert sick.control.mean < 0.6
    assert next(o for o in sick.fixes if o.fix == "batchnorm-last").verdict == "works"
    healthy = run("healthy", data="mnist", epochs=1, seeds=3)
    print("healthy", healthy.control, healthy.timing)
    is_healthy(healthy)


def test_the_published_recipe_is_the_published_network():
    stack = load_recipe(FOLDER / "sigmoid_relu.yaml").stack
    assert (stack.hidden, [layer.label for layer in stack.layers]) == ((500, 256), ["relu", "sigmoid", "relu"])
    assert recipe_of((FOLDER / "sigmoid_relu.yaml").read_text()).expected == ("output-collapse", "common-mode")


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_a_sweep_says_what_it_shows_and_names_its_command(path):
    lines = [line for line in path.read_text().splitlines() if line.startswith("# ") and "$schema" not in line]
    assert len(lines) > 1
    assert lines[-1] == f"#   gradscope sweep {path.relative_to(FOLDER.parent).as_posix()}"


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_sweep_has_a_row_of_the_published_table_for_each_cell(name):
    recipe = load_recipe(FOLDER / "published" / f"{name}.yaml")
    cells, seeds, columns = PUBLISHED[name]
    found = [tuple(cell.factors.items()) for cell in cells_of(recipe)]
    with (FOLDER / "published" / f"{name}.published.csv").open() as file:
        rows = dict.fromkeys(tuple((column, row[column]) for column in columns) for row in csv.DictReader(file))
    assert (len(found), len(recipe.seed_list)) == (cells, seeds)
    assert [row for row in rows if row in set(found)] == found, "in the order of the table"
    assert len(found) == len(rows) or recipe.grid.sample


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_sweep_trains_as_was_published(name):
    recipe = load_recipe(FOLDER / "published" / f"{name}.yaml")
    is_mnist = name.startswith("mnist")
    assert (recipe.data, recipe.normalize) == (("mnist", (0.1307, 0.3081)) if is_mnist else ("cifar10", (0.5, 0.5)))
    for cell in cells_of(recipe):
        training, stack = cell.recipe.training, cell.recipe.stack
        assert (training.optimizer, training.momentum, training.weight_decay) == ("sgd", 0.5, 0)
        assert (training.batch_size, training.epochs) == ((32, 10) if is_mnist else (4, 5))
        assert training.loss == "cross-entropy"
        assert training.lr == float(cell.factors.get("lr", 0.01))
        assert stack.init == "default"
        assert set(stack.norms) == {"batchnorm" if "batchnorm" in name else "none"}
        assert "none" not in {block.activation.name for layer in stack.layers for block in layer.blocks}


@pytest.mark.parametrize(("name", "pure", "mixed"), [("does_mixing_help", 9, 72), ("does_mixing_within_a_layer_help", 9, 36)])
def test_mixing_is_asked_with_the_same_treatment_for_all_sides(name, pure, mixed):
    recipe = load_recipe(FOLDER / f"{name}.yaml")
    cells = cells_of(recipe)
    stacks = {tuple(value for key, value in cell.factors.items() if key.startswith("act")) for cell in cells}
    used = [set(stack) - {"none"} for stack in stacks]
    assert (sum(len(found) == 1 for found in used), sum(len(found) > 1 for found in used)) == (pure, mixed)
    assert set.union(*used) == {name for family in FAMILIES.values() for name in family}
    assert {len({family_of(name) for name in found}) for found in used if len(found) > 1} == {1, 2}
    assert {cell.recipe.stack.init for cell in cells} == {"matched-normal"}
    settings = {tuple((key, value) for key, value in cell.factors.items() if not key.startswith("act")) for cell in cells}
    assert len(cells) == len(stacks) * len(settings)
    assert len(settings) == 2 * 2 * 5
