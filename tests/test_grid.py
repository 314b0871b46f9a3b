"""The cells of a sweep: which ones, in which order, what their columns say, and what each trains."""

import csv
import itertools
from pathlib import Path

import pytest

from gradscope.cell import run_keys
from gradscope.errors import RecipeError
from gradscope.grid import cell_count, cells_of
from gradscope.recipe_file import dump_recipe, parse_recipe

ROOT = Path(__file__).parents[1]
OPEN = "data: digits\nstack: {hidden: [4, 3]}\n"


def cells(text, file="sweep"):
    return cells_of(parse_recipe(text, file))


def rows(text):
    return [tuple(cell.factors.values()) for cell in cells(text)]


def labels(cell):
    return tuple(layer.label for layer in cell.recipe.stack.layers)


def test_a_product_has_every_combination_the_first_layer_slowest():
    found = cells(OPEN + "grid: {activations: {product: [relu, tanh]}}\n")
    assert [labels(cell) for cell in found] == list(itertools.product(["relu", "tanh"], repeat=3))
    assert [tuple(cell.factors.items()) for cell in found[:2]] == [
        (("act1", "relu"), ("act2", "relu"), ("act3", "relu")),
        (("act1", "relu"), ("act2", "relu"), ("act3", "tanh")),
    ]


def test_an_output_that_keeps_its_activation_is_a_column_all_the_same():
    found = cells(OPEN + "grid: {activations: {product: [relu, tanh], output: none}}\n")
    assert [tuple(cell.factors.values()) for cell in found] == [
        ("relu", "relu", "none"), ("relu", "tanh", "none"), ("tanh", "relu", "none"), ("tanh", "tanh", "none"),
    ]  # fmt: skip
    assert labels(found[1]) == ("relu", "tanh", "none")


def test_pairs_are_unordered_and_in_halves_and_a_pair_of_equals_is_the_plain_layer():
    found = cells("data: digits\nstack: {hidden: [5]}\ngrid: {activations: {pairs: [relu, tanh, elu]}}\n")
    pairs = [("relu", "relu"), ("relu", "tanh"), ("relu", "elu"), ("tanh", "tanh"), ("tanh", "elu"), ("elu", "elu")]
    assert [tuple(cell.factors.values()) for cell in found] == [(*a, *b) for a in pairs for b in pairs]
    assert list(found[0].factors) == ["act1a", "act1b", "act2a", "act2b"]
    assert labels(found[0]) == ("relu", "relu")
    assert [(spec.name, units) for spec, units in found[6].recipe.stack.layers[0].resolve(5)] == [("relu", 3), ("tanh", 2)]


@pytest.mark.parametrize(
    ("table", "hidden", "form"),
    [
        ("mnist_3layer", "[500, 256]", "product: [relu, tanh, sigmoid, selu]"),
        ("mnist_3layer_two_activations", "[500, 256]", "pairs: [relu, tanh, sigmoid, selu]"),
        ("cifar10_4layer", "[1000, 500, 256]", "product: [relu, sigmoid]"),
    ],
)
def test_the_order_and_the_columns_are_those_of_the_published_tables(table, hidden, form):
    with (ROOT / "recipes" / "published" / f"{table}.published.csv").open() as file:
        published = [{k: v for k, v in row.items() if k.startswith("act")} for row in csv.DictReader(file)]
    found = cells(f"data: mnist\nstack: {{hidden: {hidden}}}\ngrid: {{activations: {{{form}}}}}\n")
    assert [dict(cell.factors) for cell in found] == published


def test_whole_stacks_come_as_they_are_listed():
    text = OPEN + "grid: {activations: [[relu, {elu: {alpha: 2}}, {relu: 1, tanh: 9}], ['m.a:f', tanh, none]]}\n"
    assert rows(text) == [("relu", "elu(alpha=2)", "relu:1+tanh:9"), ("m.a:f", "tanh", "none")]


def test_listed_layers_in_halves_have_a_column_for_each_half():
    found = cells(OPEN + "grid: {activations: [[[relu, tanh], elu, none], [relu, relu, none]]}\n")
    assert list(found[0].factors) == ["act1a", "act1b", "act2a", "act2b", "act3a", "act3b"]
    assert [tuple(cell.factors.values()) for cell in found] == [
        ("relu", "tanh", "elu", "elu", "none", "none"),
        ("relu", "relu", "relu", "relu", "none", "none"),
    ]
    assert labels(found[0]) == ("relu+tanh", "elu", "none")


def test_other_keys_follow_the_activations_in_the_order_they_are_written():
    text = OPEN + "grid: {lr: [0.1, 0.01], activations: {product: [relu], output: none}, norm: [none, batchnorm-all]}\n"
    found = cells(text)
    assert [tuple(cell.factors.items()) for cell in found] == [
        (("act1", "relu"), ("act2", "relu"), ("act3", "none"), ("lr", lr), ("norm", norm))
        for lr in ("0.1", "0.01")
        for norm in ("none", "batchnorm-all")
    ]
    assert [(cell.recipe.training.lr, cell.recipe.stack.norm) for cell in found] == [
        (0.1, "none"), (0.1, "batchnorm-all"), (0.01, "none"), (0.01, "batchnorm-all"),
    ]  # fmt: skip


def test_a_key_of_one_value_is_used_and_is_no_column():
    (cell,) = cells(OPEN + "grid: {lr: [0.3], activations: {product: [relu]}}\n")
    assert dict(cell.factors) == {"act1": "relu", "act2": "relu", "act3": "relu"}
    assert cell.recipe.training.lr == 0.3
    assert [dict(c.factors) for c in cells(OPEN.replace("}", ", activations: [elu, elu, elu]}") + "grid: {lr: [0.3]}\n")] == [
        {}
    ]


def test_every_key_reaches_what_is_trained():
    text = (
        "grid:\n  hidden: [[4], [500, 256], []]\n  activations: {product: [relu]}\n  init: [zeros, {std: 0.01}]\n"
        "  data: [digits, {source: npz, path: a.npz, seed: 3}]\n  normalize: [[0.5, 0.25]]\n  optimizer: [rmsprop]\n"
        "  momentum: [0.9]\n  weight_decay: [0.1, 0]\n  batch_size: [8]\n  epochs: [3]\n  loss: [nll]\n"
        "  warmup: [0.2]\n  clip: [0.5]\n"
    )
    first, *_, last = cells(text)
    assert dict(first.factors) == {
        "act1": "relu", "act2": "relu", "act3": "", "hidden": "4", "init": "zeros", "data": "digits", "weight_decay": "0.1",
    }  # fmt: skip
    assert tuple(last.factors.values()) == ("relu", "", "", "none", "std=0.01", "a.npz seed=3", "0")
    recipe = first.recipe
    assert (recipe.stack.hidden, recipe.stack.init, recipe.data, recipe.normalize) == ((4,), "zeros", "digits", (0.5, 0.25))
    assert recipe.training.model_dump() == {
        "optimizer": "rmsprop", "lr": 0.01, "momentum": 0.9, "weight_decay": 0.1, "batch_size": 8, "epochs": 3, "loss": "nll",
        "warmup": 0.2, "clip": 0.5,
    }  # fmt: skip
    assert (last.recipe.data.seed, last.recipe.stack.init.std, last.recipe.stack.hidden) == (3, 0.01, ())


def test_stacks_of_several_depths_come_one_depth_after_the_other():
    text = "data: digits\ngrid: {hidden: [[4], [4, 3], [8]], activations: {product: [relu, tanh]}}\n"
    found = rows(text)
    assert [row[-1] for row in found] == [*["4", "8"] * 4, *["4-3"] * 8]
    assert [row[:3] for row in found[:2]] == [("relu", "relu", "")] * 2
    assert len(set(found)) == len(found) == cell_count(parse_recipe(text)) == 16


def test_momentum_is_for_the_optimizers_that_have_one():
    found = cells(OPEN + "training: {momentum: 0.7}\ngrid: {optimizer: [sgd, adam, rmsprop], activations: {product: [elu]}}\n")
    assert [(c.recipe.training.optimizer, c.recipe.training.uses_momentum) for c in found] == [
        ("sgd", True), ("adam", False), ("rmsprop", True),
    ]  # fmt: skip
    assert [c.recipe.training.momentum for c in found if c.recipe.training.uses_momentum] == [0.7, 0.7]
    assert "momentum" not in dump_recipe(found[1].recipe)
    plain = parse_recipe(OPEN.replace("}", ", activations: [elu, elu, elu]}") + "training: {optimizer: adam}\n")
    assert run_keys(found[1].recipe, (1,)) == run_keys(plain, (1,))


def test_a_cell_is_the_recipe_that_somebody_would_have_written_for_it():
    text = OPEN + "seeds: 3\ntraining: {epochs: 2}\ngrid: {activations: {product: [relu, tanh]}, lr: [0.1, 0.2]}\n"
    cell = cells(text, "my.yaml")[3]
    written = "data: digits\nstack: {hidden: [4, 3], activations: [relu, relu, tanh]}\ntraining: {lr: 0.2, epochs: 2}\n"
    assert cell.recipe == parse_recipe(written + "seeds: 3\nfixes: []\nname: my relu relu tanh lr-0.2\n")
    assert cell.recipe.grid is None
    assert parse_recipe(dump_recipe(cell.recipe)) == cell.recipe


def test_a_recipe_without_a_grid_is_its_only_cell():
    recipe = parse_recipe("data: digits\nstack: {hidden: [], activations: [none]}\nexpect: healthy\n")
    (cell,) = cells_of(recipe)
    assert (dict(cell.factors), cell.recipe.fix_names, cell.recipe.expected) == ({}, (), ())
    assert run_keys(cell.recipe, (1,)) == run_keys(recipe, (1,))
    assert cell_count(recipe) == 1


def test_a_sample_is_always_the_same_part_of_the_grid_in_its_order():
    text = OPEN + "grid: {activations: {product: [relu, tanh, elu, selu]}}\n"
    everything = rows(text)
    sampled = rows(text.replace("]}}", "]}, sample: 10}"))
    places = [everything.index(row) for row in sampled]
    assert places == [3, 15, 25, 35, 40, 43, 46, 48, 52, 56]  # written down: another Python must draw no others
    assert rows(text.replace("]}}", "]}, sample: {size: 10}}")) == sampled
    assert rows(text.replace("]}}", "]}, sample: {size: 10, seed: 1}}")) != sampled
    assert rows(text.replace("]}}", "]}, sample: 64}")) == everything


def test_names_are_unique_stable_and_fit_a_folder():
    text = OPEN + "grid: {activations: {product: [relu, {elu: {alpha: 2}}]}, lr: [1e-3, 0.1]}\n"
    names = [cell.recipe.name for cell in cells(text, "a.yaml")]
    assert len(set(names)) == len(names) == 16
    assert names[1] == "a relu relu relu lr-0.1"
    assert names[-1] == "a elu-alpha-2- elu-alpha-2- elu-alpha-2- lr-0.1"
    wider = cells(text.replace("[1e-3, 0.1]", "[0.5, 0.1]"), "a.yaml")
    assert {cell.recipe.name for cell in wider} & set(names) == set(names[1::2])
    stack, grid = f"{{hidden: {[4] * 6}}}", "{activations: {pairs: [leaky_relu, tanhshrink], output: none}}"
    found = {cell.recipe.name for cell in cells(f"data: digits\nstack: {stack}\ngrid: {grid}\n")}
    assert len(found) == 3**6
    assert all(len(name) <= 100 for name in found)


def test_a_fault_of_a_cell_names_the_line_of_the_grid():
    text = "data: digits\ngrid:\n  hidden: [[4]]\n  activations: [[relu, {relu: 3, tanh: 4}]]\n  batch_size: [8, 5000]\n"
    recipe = cells(text, "r.yaml")[1].recipe
    assert recipe.where("training", "batch_size") == "r.yaml:5:19: grid.batch_size[1]"
    assert recipe.where("stack", "hidden") == "r.yaml:3:12: grid.hidden[0]"
    with pytest.raises(
        RecipeError, match=r"^r\.yaml:4:16: grid\.activations: expected counts that sum to the layer's 10 units"
    ):
        recipe.check_output_width(10)
    assert recipe.where("data") == "r.yaml:1:7"


def test_a_thousand_cells_share_what_they_can():
    text = "data: mnist\nstack: {hidden: [500, 256]}\ngrid: {activations: {pairs: [relu, tanh, sigmoid, selu]}}\n"
    found = cells(text)
    assert len(found) == 1000
    assert len({id(cell.recipe.training) for cell in found}) == 1
    assert len({id(layer) for cell in found for layer in cell.recipe.stack.layers}) == 10


def test_no_value_is_checked_once_per_cell(monkeypatch):
    from gradscope import recipe_stack

    recipe = parse_recipe(
        "data: mnist\nstack: {hidden: [500, 256]}\ngrid: {activations: {pairs: [relu, tanh, sigmoid, selu]}}\n"
    )
    monkeypatch.setattr(recipe_stack, "misfits", lambda *_: pytest.fail("a cell's stack was checked again"))
    assert len(cells_of(recipe)) == 1000


def test_shortcuts_and_clipping_may_be_compared_with_none():
    text = "data: digits\nstack: {hidden: [8, 8], activations: [relu, relu, none]}\n"
    found = cells(text + "grid: {residual: [true, false], clip: [none, 1], normalize: [per-feature, [0, 1]]}\n")
    assert tuple(found[0].factors.values()) == ("true", "none", "per-feature")
    assert tuple(found[-1].factors.values()) == ("false", "1", "0/1")
    assert [cell.recipe.stack.residual for cell in found] == [True] * 4 + [False] * 4
    assert len({run_keys(cell.recipe, (1,), samples=str(cell.recipe.normalize))[1] for cell in found}) == 8
