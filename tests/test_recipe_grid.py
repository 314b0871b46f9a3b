"""The `grid` of a recipe: what it may hold, how it is written again, and what is told about every fault."""

import copy
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradscope.activation_entries import parse_layer
from gradscope.errors import RecipeError
from gradscope.grid import cell_count, cells_of
from gradscope.grid_activations import EachLayer, halves_of
from gradscope.recipe import Recipe, Stack, build_recipe, replace
from gradscope.recipe_file import dump_recipe, load_single, parse_recipe
from gradscope.recipe_grid import PART_OF
from gradscope.recipe_stack import Stack as StackPart
from gradscope.recipe_training import Training

HEAD = "data: digits\nstack: {hidden: [4, 3], activations: [relu, tanh, none]}\n"
OPEN = "data: digits\nstack: {hidden: [4, 3]}\n"  # activations are the grid's


def faults_of(text):
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, "r.yaml")
    return caught.value.faults


# One fault each: the text, its position and key, and words of the message.
BAD = [
    # the grid and its keys
    (HEAD + "grid: [lr]\n", "3:7: grid", "expected a mapping of keys over lists of values, such as {lr: [0.1, 0.01], act"),
    (HEAD + "grid: {}\n", "3:7: grid", "got {}"),
    (HEAD + "grid: {sample: 3}\n", "3:7: grid", "expected a mapping of keys over lists of values"),
    (HEAD + "grid:\n", "3:6: grid", "expected a value, got nothing; write one or delete the line"),
    (HEAD + "grid: {lrr: [1]}\n", "3:8: grid.lrr", "expected one of data, normalize, hidden, act"),
    (HEAD + "grid: {learning_rate: [1]}\n", "3:8: grid.learning_rate", "did you mean 'lr'?"),
    (HEAD + "grid: {training.optimiser: [sgd]}\n", "3:8: grid.training.optimiser", "did you mean 'optimizer'?"),
    (HEAD + "grid: {seeds: [1, 2]}\n", "3:8: grid.seeds", "got 'seeds'; write it beside grid"),
    (HEAD + "grid: {training.lr: [1], lr: [2]}\n", "3:8: grid.training.lr", "expected each key only once, got lr as well"),
    (HEAD + "grid: {lr: [1], lr: [2]}\n", "3:17: grid.lr", "expected each key only once, got it again; first on line 3"),
    # values, checked as the recipe's own
    (HEAD + "grid: {lr: []}\n", "3:12: grid.lr", "expected a list of values for lr, got []"),
    (HEAD + "grid: {lr: 0.1}\n", "3:12: grid.lr", "got 0.1; write [0.1]"),
    (HEAD + "grid: {lr: [0.1, -1]}\n", "3:18: grid.lr[1]", "expected a finite number above 0, got -1"),
    (HEAD + "grid: {lr: ['1e-3']}\n", "3:13: grid.lr[0]", "got '1e-3'; write it without quotes"),
    (HEAD + "grid: {lr: [1, 1.0]}\n", "3:16: grid.lr[1]", "expected each only once, got 1.0"),
    (HEAD + "grid: {lr: [0.1, ~]}\n", "3:18: grid.lr[1]", "expected a finite number above 0, got nothing"),
    (HEAD + "grid: {batch_size: [1.5]}\n", "3:21: grid.batch_size[0]", "expected a whole number of samples of at least 1"),
    (HEAD + "grid: {optimizer: [sgd, adm]}\n", "3:25: grid.optimizer[1]", "got 'adm'; did you mean 'adam'?"),
    (HEAD + "grid: {loss: [ce]}\n", "3:15: grid.loss[0]", "did you mean 'cross-entropy'?"),
    (HEAD + "grid: {epochs: [0]}\n", "3:17: grid.epochs[0]", "expected a whole number from 1 to 1000000, got 0"),
    (HEAD + "grid: {norm: [none, bn]}\n", "3:21: grid.norm[1]", "did you mean 'batchnorm-all'?"),
    (HEAD + "grid: {norm: [[none, bn, none]]}\n", "3:22: grid.norm[0][1]", "did you mean 'batchnorm'?"),
    (HEAD + "grid: {init: [{std: 0}]}\n", "3:21: grid.init[0].std", "expected a finite number above 0, got 0"),
    (HEAD + "grid: {init: [matched]}\n", "3:15: grid.init[0]", "did you mean 'matched-normal'?"),
    (HEAD + "grid: {residual: [false, true]}\n", "3:26: grid.residual[1]", "for a shortcut, got hidden [4, 3]"),
    (HEAD + "grid: {normalize: [[0.5, 0]]}\n", "3:26: grid.normalize[0][1]", "std above 0, got 0"),
    (HEAD[13:] + "grid: {data: [digits, mnsit]}\n", "2:23: grid.data[1]", "did you mean 'mnist'?"),
    (HEAD[13:] + "grid: {data: [{source: npz}]}\n", "2:15: grid.data[0].path", "expected the path of an npz file, got nothing"),
    ("data: digits\nstack: {activations: [none]}\ngrid: {hidden: [4]}\n", "3:17: grid.hidden[0]", "such as [500, 256], got 4"),
    # activations
    (OPEN + "grid: {activations: relu}\n", "3:21: grid.activations", "expected a list of stacks such as [[relu, tanh]"),
    (OPEN + "grid: {activations: [relu]}\n", "3:22: grid.activations[0]", "for all their combinations write {product: [...]}"),
    (OPEN + "grid: {activations: [[relu, rleu, relu]]}\n", "3:29: grid.activations[0][1]", "did you mean 'relu'?"),
    (OPEN + "grid: {activations: [[relu, relu]]}\n", "3:22: grid.activations[0]", "expected 3 entries, one for each"),
    (OPEN + "grid: {activations: [[elu, elu, elu], [elu, elu, elu]]}\n", "3:39: grid.activations[1]", "each stack only once"),
    (
        OPEN + "grid: {activations: [[[elu, relu], elu, elu], [elu, elu, elu], [[relu, elu], elu, elu]]}\n",
        "3:64: grid.activations[2]",
        "expected each stack only once, in whatever order the units of its layers are",
    ),
    *(
        (
            OPEN + f"grid: {{activations: [[{one}, elu, elu], [elu, elu, elu], [{other}, elu, elu]]}}\n",
            f"3:{len(one) + len('grid: {activations: [[, elu, elu], [elu, elu, elu], ') + 1}: grid.activations[2]",
            "got the network of [0] again: ",
        )
        for one, other in (
            ("relu", "[relu, relu]"),
            ("relu", "{relu: 4}"),
            ("leaky_relu", "{leaky_relu: {negative_slope: 0.01}}"),
            ("[relu, tanh]", "{relu: 0.5, tanh: 0.5}"),
            ("{relu: 0.25, tanh: 0.75}", "{tanh: 3, relu: 1}"),
        )
    ),
    (
        OPEN + "grid: {activations: {product: [celu, {celu: {alpha: 1}}]}}\n",
        "3:38: grid.activations.product[1]",
        "expected each layer only once, got 'celu(alpha=1)', which has the units of celu",
    ),
    (
        OPEN + "grid: {activations: {product: [elu, [elu, relu], {relu: 3, elu: 1}, [relu, elu]]}}\n",
        "3:69: grid.activations.product[3]",
        "expected each layer only once, got 'relu+elu', which has the units of elu+relu",
    ),
    (
        OPEN + "grid: {activations: {pairs: [elu, relu, [relu, elu]]}}\n",
        "3:41: grid.activations.pairs[2]",
        "expected each layer only once, got 'relu+elu', which has the units of elu and relu",
    ),
    (OPEN + "grid: {activations: [[{elu: 9, relu: 1}, elu, elu]]}\n", "3:23: grid.activations[0][0]", "the layer's 4 units"),
    (OPEN + "grid: {activations: {produkt: [relu]}}\n", "3:22: grid.activations.produkt", "did you mean 'product'?"),
    (OPEN + "grid: {activations: {output: none}}\n", "3:21: grid.activations", "expected either product or pairs, got neither"),
    (OPEN + "grid: {activations: {product: [elu], pairs: [elu]}}\n", "3:21: grid.activations", "got both"),
    (OPEN + "grid: {activations: {product: []}}\n", "3:31: grid.activations.product", "expected a list of activations"),
    (
        OPEN + "grid: {activations: {product: [elu, elu]}}\n",
        "3:37: grid.activations.product[1]",
        "expected each only once, got 'elu'",
    ),
    (OPEN + "grid: {activations: {product: [{elu: {beta: 1}}]}}\n", "3:39: grid.activations.product[0].elu.beta", "got 'beta'"),
    (
        OPEN + "grid: {activations: {product: [{elu: 3, relu: 1}]}}\n",
        "3:32: grid.activations.product[0]",
        "the layer's 3 units",
    ),
    (
        OPEN + "grid: {activations: {pairs: [{elu: 3, relu: 1}]}}\n",
        "3:30: grid.activations.pairs[0]",
        "expected shares of the half",
    ),
    (OPEN + "grid: {activations: {pairs: [elu], output: non}}\n", "3:44: grid.activations.output", "did you mean 'none'?"),
    (
        OPEN.replace("3]", "1]") + "grid: {activations: {pairs: [elu, relu]}}\n",
        "2:21: stack.hidden[1]",
        "at least 2 units, one for each",
    ),
    (
        "data: digits\ngrid: {hidden: [[8], [1]], activations: {pairs: [elu, relu]}}\n",
        "2:23: grid.hidden[1][0]",
        "expected at least 2 units, one for each half of a pair, got 1",
    ),
    # between the grid and the rest
    (HEAD + "training: {lr: 1}\ngrid: {lr: [1]}\n", "3:12: training.lr", "expected lr either in training or in grid, got both"),
    (HEAD + "grid: {stack.hidden: [[4, 3]]}\n", "2:9: stack.hidden", "expected hidden either in stack or in grid, got both"),
    (HEAD + "grid: {data: [mnist]}\n", "1:1: data", "expected data either in the recipe or in grid, got both"),
    (
        HEAD + "grid: {activations: {product: [elu]}}\n",
        "2:25: stack.activations",
        "expected activations either in stack or in grid",
    ),
    ("data: digits\ngrid: {lr: [1]}\n", "1:1: stack", "expected a mapping with hidden and activations, or model"),
    ("data: digits\ngrid: {activations: {product: [elu]}}\n", "1:1: stack.hidden", "expected a list of layer widths"),
    ("data: digits\nstack: {hidden: [4]}\ngrid: {lr: [1]}\n", "2:8: stack.activations", "expected a list of activations"),
    ("stack: {hidden: [4], activations: [elu, elu]}\ngrid: {lr: [1]}\n", "1:1: data", "expected digits, mnist"),
    ("data: digits\nmodel: a:b\ngrid: {lr: [1]}\n", "3:1: grid", "expected stack beside grid, got model"),
    (
        HEAD + "fixes: [batchnorm-last]\ngrid: {lr: [1]}\n",
        "3:1: fixes",
        "a sweep tries none, got ['batchnorm-last']; a norm is compared",
    ),
    (HEAD + "expect: healthy\ngrid: {lr: [1]}\n", "3:1: expect", "expected no expect beside grid, a sweep is not checked"),
    (HEAD + "grid: {norm: [none, [none, none]]}\n", "3:21: grid.norm[1]", "expected 3 entries, one for each hidden layer"),
    (HEAD.replace("}", ", norm: [none]}") + "grid: {lr: [1]}\n", "2:64: stack.norm", "expected 3 entries, one for each hidden"),
    (
        "data: digits\nstack: {activations: [elu, elu]}\ngrid: {hidden: [[3], [3, 3]]}\n",
        "2:22: stack.activations",
        "expected 3 entries, one for each hidden layer and one for the output, got 2 for hidden [3, 3]",
    ),
    (
        "data: digits\nstack: {activations: [{elu: 3, relu: 1}, elu]}\ngrid: {hidden: [[4], [5]]}\n",
        "2:23: stack.activations[0]",
        "expected counts that sum to the layer's 5 units, got a sum of 4 for hidden [5]",
    ),
    (
        "data: digits\nstack: {activations: [elu, elu]}\ngrid: {hidden: [[3], []], init: [zeros]}\n",
        "2:22: stack.activations",
        "expected 1 entry, for the output, got 2 for hidden []",
    ),
    (
        HEAD + "training: {momentum: 0.9}\ngrid: {optimizer: [adam, adamw]}\n",
        "3:12: training.momentum",
        "only sgd and rmsprop use",
    ),
    (HEAD + "grid: {optimizer: [sgd, adam], momentum: [0.9]}\n", "3:32: grid.momentum", "no momentum in a grid beside adam"),
    (HEAD + "training: {optimizer: adamw}\ngrid: {momentum: [0, 0.9]}\n", "4:8: grid.momentum", "in a grid beside adamw"),
    # how many
    (HEAD + "grid: {lr: [1, 2], sample: 3}\n", "3:28: grid.sample", "expected no more than the grid has cells, 2, got 3"),
    (
        HEAD + "grid: {lr: [1, 2], sample: 0}\n",
        "3:28: grid.sample",
        "expected a whole number of cells from 1 to 1000000, got 0",
    ),
    (
        HEAD + "grid: {lr: [1, 2], sample: some}\n",
        "3:28: grid.sample",
        "a number of cells such as 100, or {size: 100, seed: 7}",
    ),
    (HEAD + "grid: {lr: [1, 2], sample: {seed: 7}}\n", "3:28: grid.sample.size", "got nothing"),
    (HEAD + "grid: {lr: [1, 2], sample: {size: 1, sed: 7}}\n", "3:38: grid.sample.sed", "did you mean 'seed'?"),
]


@pytest.mark.parametrize(("text", "where", "words"), BAD, ids=[f"{i}-{where}" for i, (_, where, _) in enumerate(BAD)])
def test_a_bad_grid_gives_one_line_with_place_key_and_what_was_expected(text, where, words):
    faults = faults_of(text)
    assert len(faults) == 1, faults
    assert faults[0].startswith(f"r.yaml:{where}: ")
    assert words in faults[0]
    assert faults[0].isprintable()


def test_all_faults_are_told_at_once_in_the_order_of_the_file():
    text = (
        "data: digits\nstack: {hidden: [4], norm: bn}\ntraining: {lr: 1, epochs: x}\n"
        "grid: {lr: [1, x], activations: {pairs: [rlu], output: non}, hiden: [[1]], sample: 0}\nseeds: no\n"
    )
    assert [fault.split(": ")[1] for fault in faults_of(text)] == [
        "stack.norm",
        "training.lr",
        "training.epochs",
        "grid.lr[1]",
        "grid.activations.pairs[0]",
        "grid.activations.output",
        "grid.hiden",
        "grid.sample",
        "seeds",
    ]


@pytest.mark.parametrize("layers", [11, 999])
def test_too_many_cells_are_counted_and_not_made(layers):
    (fault,) = faults_of(
        f"data: digits\nstack: {{hidden: {[4] * layers}}}\ngrid: {{activations: {{product: [relu, elu, selu, tanh]}}}}\n"
    )
    assert fault.startswith("r.yaml:3:1: grid: expected at most 1000000 cells, got ")


def test_the_largest_grid_that_is_allowed_is_only_counted():
    recipe = parse_recipe(HEAD + f"grid: {{lr: {list(range(1, 1001))}, epochs: {list(range(1, 1001))}}}\n")
    assert cell_count(recipe) == 1_000_000
    assert (
        "at most 1000000 cells, got 1001000"
        in faults_of(HEAD + f"grid: {{lr: {list(range(1, 1002))}, epochs: {list(range(1, 1001))}}}\n")[0]
    )


def test_every_key_has_a_short_and_a_long_name():
    assert set(PART_OF) == {"data", "normalize", *StackPart.model_fields, *Training.model_fields}
    short = parse_recipe(HEAD + "grid: {lr: [1, 2], norm: [none, batchnorm-all]}\n")
    long = parse_recipe(HEAD + "grid: {training.lr: [1, 2], stack.norm: [none, batchnorm-all]}\n")
    assert short == long
    assert cells_of(short) == cells_of(long)


def test_a_recipe_with_a_grid_tries_no_fixes():
    assert parse_recipe(HEAD + "grid: {lr: [1]}\n").fix_names == ()
    assert parse_recipe(HEAD + "fixes: []\ngrid: {lr: [1]}\n").fix_names == ()
    assert parse_recipe(HEAD).fix_names


def test_options_replace_what_stands_beside_the_grid_and_never_what_is_in_it():
    recipe = parse_recipe(OPEN + "seeds: 3\ngrid: {activations: {product: [elu, relu]}, batch_size: [8, 16]}\n", "r.yaml")
    other = replace(recipe, seeds=2, epochs=3, device="cpu")
    assert [cell.factors for cell in cells_of(other)] == [cell.factors for cell in cells_of(recipe)]
    assert {(c.recipe.seed_list, c.recipe.training.epochs, c.recipe.device) for c in cells_of(other)} == {((1, 2), 3, "cpu")}
    varied = parse_recipe(HEAD[13:] + "grid: {epochs: [1, 2], data: [digits, mnist]}\n", "r.yaml")
    assert replace(varied, seeds=2).grid == varied.grid
    for change, line in (
        ({"epochs": 3}, "--epochs: expected epochs either in training or in grid, got both"),
        ({"data": "mnist"}, "--data: expected data either in the recipe or in grid, got both"),
    ):
        with pytest.raises(RecipeError) as caught:
            replace(varied, **change)
        assert caught.value.faults == [line]


def test_code_in_a_grid_is_listed_with_its_line():
    text = "stack: {hidden: [4]}\ngrid:\n  data: [digits, d:load]\n  activations: {product: [relu, [tanh, a.b:f]]}\n"
    assert parse_recipe(text, "r.yaml").needs_code == (("d:load", "r.yaml:3:18"), ("a.b:f", "r.yaml:4:16"))


def test_a_grid_in_code_is_checked_as_in_a_file():
    stack = Stack(hidden=(4,), activations=("relu", "none"))
    recipe = Recipe(name="x", data="digits", stack=stack, grid={"lr": [0.1, 0.01]})
    assert [cell.recipe.training.lr for cell in cells_of(recipe)] == [0.1, 0.01]
    with pytest.raises(RecipeError, match=r"^stack.activations: expected activations either in stack or in grid, got both$"):
        build_recipe({"name": "x", "data": "digits", "stack": stack, "grid": {"activations": {"product": ["relu"]}}})
    with pytest.raises(RecipeError, match=r"^grid.lr\[0\]: expected a finite number above 0, got -1$"):
        build_recipe({"name": "x", "data": "digits", "stack": stack, "grid": {"lr": [-1]}})


def test_a_sweep_is_no_recipe_of_one_network(tmp_path):
    file = tmp_path / "r.yaml"
    file.write_text(HEAD + "grid: {lr: [1]}\n")
    with pytest.raises(RecipeError) as caught:
        load_single(file)
    assert caught.value.faults == [
        f"{file}:3:1: grid: expected a recipe of one network here, got a grid of them; run `gradscope sweep {file}`"
    ]
    file.write_text(HEAD)
    assert load_single(file).stack


def test_recipes_with_a_grid_can_be_copied_pickled_and_hashed():
    recipe = parse_recipe(OPEN + "grid: {activations: {pairs: [{elu: {alpha: 2}}, relu]}, lr: [1, 2], sample: 3}\n", "r.yaml")
    for twin in (copy.deepcopy(recipe), pickle.loads(pickle.dumps(recipe))):
        assert twin == recipe
        assert hash(twin) == hash(recipe)
        assert cells_of(twin) == cells_of(recipe)


def test_written_grids_are_compact_and_name_no_key_twice():
    grid = "training.lr: [0.1, 1], hidden: [[4], [6]], activations: {pairs: [elu, relu], output: none}, sample: 5"
    text = f"data: digits\ngrid: {{{grid}}}\n"
    assert dump_recipe(parse_recipe(text, "a.yaml")) == (
        "name: a\ndata: digits\nstack:\n  norm: none\n  init: default\ntraining:\n  optimizer: sgd\n  momentum: 0.5\n"
        "  weight_decay: 0.0\n  batch_size: 32\n  epochs: 20\n  loss: cross-entropy\nseeds: 5\nwatch: {schedule: default}\n"
        "fixes: []\ngrid:\n  activations: {pairs: [elu, relu], output: none}\n  lr: [0.1, 1.0]\n  hidden: [[4], [6]]\n"
        "  sample: {size: 5, seed: 0}\ndevice: auto\n"
    )


entries = st.sampled_from(
    ["relu", "none", "tanh", ["relu", "sigmoid"], {"relu": 0.25, "tanh": 0.75}, {"elu": {"alpha": 2}}, "m.a:f"]
)
VALUES = {
    "data": ["digits", "m.d:load", {"source": "npz", "path": "a b: #.npz", "test": 3}],
    "normalize": [[0.1307, 0.3081], [-1, 2]],
    "norm": ["none", "batchnorm-last", "layernorm-all"],
    "init": ["default", "matched-normal", {"std": 0.5}],
    "optimizer": ["sgd", "rmsprop", "adam"],
    "lr": [1e-3, 0.1, 3],
    "weight_decay": [0, 0.1],
    "batch_size": [8, 32],
    "epochs": [1, 2],
    "loss": ["cross-entropy", "mse"],
}


@st.composite
def raw_sweeps(draw):
    names = draw(st.lists(st.sampled_from(list(VALUES)), unique=True, max_size=3))
    grid = {name: draw(st.lists(st.sampled_from(VALUES[name]), min_size=1, max_size=3, unique_by=repr)) for name in names}
    hidden = draw(st.lists(st.lists(st.just(8), max_size=2), min_size=1, max_size=2, unique_by=len))
    raw = {"name": "x", "stack": {"hidden": hidden[0]}}
    if draw(st.booleans()):
        raw, grid["hidden"] = {"name": "x"}, hidden
    several, output = st.lists(entries, min_size=1, max_size=2, unique_by=repr), {"output": entries}
    forms = {form: st.fixed_dictionaries({form: several}, optional=output) for form in ("product", "pairs")}
    if "hidden" not in grid:
        forms["stacks"] = st.lists(
            st.tuples(*[entries] * (len(hidden[0]) + 1)).map(list), min_size=1, max_size=3, unique_by=repr
        )
    grid["activations"] = draw(forms[draw(st.sampled_from(sorted(forms)))])
    if draw(st.booleans()):
        grid["sample"] = draw(st.sampled_from([1, {"size": 1, "seed": 3}]))
    return raw | ({} if "data" in grid else {"data": "digits"}) | {"grid": grid}


@settings(deadline=None)
@given(raw_sweeps())
def test_a_sweep_written_and_read_again_is_the_same_and_so_are_its_cells(raw):
    recipe = build_recipe(raw)
    text = dump_recipe(recipe)
    again = parse_recipe(text, "r.yaml")
    assert again == recipe
    assert dump_recipe(again) == text
    cells = cells_of(recipe)
    assert cells_of(again) == cells
    assert len(cells) == cell_count(recipe)
    for cell in cells[:3]:
        assert build_recipe(cell.recipe.model_dump(include={"name"}) | parse_back(cell.recipe)) == cell.recipe


def parse_back(recipe):
    """What a cell's text says: it is a recipe that somebody could have written."""
    again = parse_recipe(dump_recipe(recipe), "cell.yaml")
    return {name: getattr(again, name) for name in again.model_fields_set}


anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)), st.lists, max_leaves=5
)


@settings(deadline=None)
@given(st.sampled_from([*PART_OF, "sample", "training.lr", "junk"]), anything)
def test_any_value_anywhere_is_taken_or_gives_faults(key, value):
    for grid in ({key: value}, {key: [value]}, {"activations": {"product": value}}, {"activations": {"pairs": [value]}}, value):
        try:
            build_recipe({"name": "x", "data": "digits", "stack": {"hidden": [4]}, "grid": grid})
        except RecipeError as error:
            assert all("expected" in fault for fault in error.faults)


def test_halves_of_an_odd_width_give_the_first_the_extra_unit():
    relu, tanh, mix = (parse_layer(entry) for entry in ("relu", "tanh", {"elu": 0.25, "selu": 0.75}))
    assert [units for _, units in halves_of(relu, tanh).resolve(9)] == [5, 4]
    assert [(spec.name, units) for spec, units in halves_of(mix, tanh).resolve(16)] == [("elu", 2), ("selu", 6), ("tanh", 8)]
    assert halves_of(relu, relu) == halves_of(relu) == relu
    assert EachLayer((relu, tanh, mix), in_pairs=True).count(3) == 6**3
