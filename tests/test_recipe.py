import copy
import pickle
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gradscope.errors import RecipeError
from gradscope.recipe import Recipe, Stack, build_recipe, replace
from gradscope.recipe_fields import RULES
from gradscope.recipe_file import dump_recipe, load_recipe, parse_recipe

ROOT = Path(__file__).parents[1]
GOOD = "data: digits\nstack: {hidden: [4], activations: [relu, tanh]}\n"
NET = "data: digits\nstack:\n  hidden: [4]\n"
LIST = "  activations: "


def faults_of(text):
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, "r.yaml")
    return caught.value.faults


# One fault each: the text, its position and key, and words of the message.
BAD = [
    # the file as a whole
    ("", "1:1: recipe", "got an empty file"),
    ("# nothing\n", "1:1: recipe", "got an empty file"),
    ("---\n...\n", "1:1: recipe", "got an empty file"),
    ("[1, 2]", "1:1: recipe", "expected a mapping with data and stack (see `gradscope schema`), got [1, 2]"),
    ("hello", "1:1: recipe", "got 'hello'"),
    ("data: [", "1:8: recipe", "syntax error: expected the node content"),
    ("data: digits\n\tstack: x", "2:1: recipe", "indent with spaces, not tabs"),
    ("data: digits: x", "1:13: recipe", "mapping values are not allowed here"),
    ("data: 'x", "1:9: recipe", "unexpected end of stream"),
    ("data: *x", "1:7: recipe", "undefined alias 'x'"),
    ("a: \x01", "1:4: recipe", "got the character '\\x01'"),
    ('a: "\\UFFFFFFFF"', "1:1: recipe", "impossible escape"),
    (GOOD + "---\n" + GOOD, "3:1: recipe", "expected one document"),
    ("a: " + "[" * 100_000, "1:23: recipe", "at most 20 levels"),
    ("- " * 3000, "1:41: recipe", "at most 20 levels"),
    ("x: [" + "1," * 20_000 + "]", "1:19999: recipe", "at most 10000 values, got more"),
    ("x: &x [*x]\n", "1:4: recipe", "contains itself"),
    # keys
    (GOOD + "data: mnist\n", "3:1: data", "expected each key only once, got it again; first on line 1"),
    (GOOD + "seed: 3\n", "3:1: seed", "got 'seed'; did you mean 'seeds'?"),
    (GOOD + "lr: 0.1\n", "3:1: lr", "did you mean 'training.lr'?"),
    (GOOD + "1: 2\n", "3:1: 1", "expected a word as key, got 1"),
    (GOOD + "? [a]\n: 3\n", "3:3: '?'", "expected a word as key, got something else"),
    ("<<: {data: digits}\n" + GOOD, "1:1: '<<'", "got the merge key '<<'; write its keys out"),
    (GOOD + '"a\\nb\\e[31m": 3\n', "3:1: 'a\\nb\\x1b[31m'", "expected one of name, data"),
    (GOOD + "seeds:\n", "3:7: seeds", "expected a count of seeds from 1 to 1000, or a list of them, got nothing"),
    (GOOD + "expect:\n", "3:8: expect", "expected a value, got nothing; write one or delete the line"),
    # name, data, normalize, device
    (GOOD + "name: 2024\n", "3:7: name", "got 2024; quote it"),
    (GOOD + "name: ../up\n", "3:7: name", "expected a name of up to 100 letters"),
    (GOOD.replace("digits", "mnsit"), "1:7: data", "got 'mnsit'; did you mean 'mnist'?"),
    (GOOD.replace("digits", "FashionMNIST"), "1:7: data", "did you mean 'fashion-mnist'?"),
    (GOOD.replace("digits", "a.npz"), "1:7: data", "write {source: npz, path: a.npz}"),
    (GOOD.replace("digits", "{source: csv, path: a}"), "1:16: data.source", "expected npz, got 'csv'"),
    (GOOD.replace("digits", "{source: npz}"), "1:7: data.path", "expected the path of an npz file, got nothing"),
    (GOOD.replace("digits", "{source: npz, path: a, test: 0}"), "1:36: data.test", "of at least 1, got 0"),
    (GOOD.replace("digits", "!!python/object/apply:os.system [ls]"), "1:7: data", "got one with the tag '!!python/object"),
    (GOOD.replace("digits", "!mine x"), "1:7: data", "got one with the tag '!mine'; remove the tag"),
    (GOOD + "normalize: [0.1]\n", "3:12: normalize[1]", "expected [mean, std] with two finite numbers"),
    (GOOD + "normalize: [0.1, 0]\n", "3:18: normalize[1]", "std above 0, got 0"),
    (GOOD + "normalize: [a, 1]\n", "3:13: normalize[0]", "expected [mean, std] with two finite numbers, std above 0, got 'a'"),
    (GOOD + "normalize: per_feature\n", "3:12: normalize", "expected per-feature, or [mean, std] with two finite"),
    (GOOD + "normalize: [1, 2, 3]\n", "3:12: normalize", "std above 0, got [1, 2, 3]"),
    (GOOD + "device: tpu\n", "3:9: device", "expected auto, cpu, cuda, cuda:0 or mps, got 'tpu'"),
    (GOOD + "device: gpu\n", "3:9: device", "got 'gpu'; did you mean 'cuda'?"),
    # stack and model
    ("data: digits\n", "1:1: stack", "or model: package.module:callable, got neither"),
    (GOOD + "model: a:b\n", "3:1: model", "expected either stack or model, got both"),
    ("data: digits\nmodel: a.b\n", "2:8: model", "expected package.module:callable"),
    ("data: digits\nstack: 3\n", "2:8: stack", "expected a mapping with hidden and activations, got 3"),
    ("data: digits\nstack: {hidden: []}\n", "2:8: stack.activations", "expected a list of activations"),
    ("data: digits\nstack: {hidden: 4, activations: [relu]}\n", "2:17: stack.hidden", "such as [500, 256], got 4"),
    (GOOD.replace("[4]", "[4.0]"), "2:18: stack.hidden[0]", "expected a whole number of units from 1 to 1000000, got 4.0"),
    (GOOD.replace("[4]", "[0]"), "2:18: stack.hidden[0]", "got 0"),
    (GOOD.replace("[4]", "[" + "9" * 5000 + "]"), "2:18: stack.hidden[0]", "got inf"),
    (GOOD.replace("[4]", "[9, 9]"), "2:38: stack.activations", "expected 3 entries, one for each hidden layer and one for the"),
    (GOOD.replace("[4]", "[]"), "2:34: stack.activations", "expected 1 entry, for the output, got 2"),
    (NET + LIST + "[relu, rleu]\n", "4:23: stack.activations[1]", "got 'rleu'; did you mean 'relu'?"),
    (NET + LIST + "[relu, swish]\n", "4:23: stack.activations[1]", "did you mean 'silu'?"),
    (NET + LIST + "[relu, LeakyReLU]\n", "4:23: stack.activations[1]", "did you mean 'leaky_relu'?"),
    (NET + LIST + "[relu, off]\n", "4:23: stack.activations[1]", "did you mean 'none'?"),
    (NET + LIST + "[relu, ~]\n", "4:23: stack.activations[1]", "got nothing; write none for a layer without activation"),
    (NET + LIST + "[relu, softmax]\n", "4:23: stack.activations[1]", "it mixes units"),
    (NET + LIST + "[relu, {elu: {beta: 1}}]\n", "4:30: stack.activations[1].elu.beta", "elu's parameters (alpha), got 'beta'"),
    (NET + LIST + "[relu, {relu: {inplace: true}}]\n", "4:31: stack.activations[1].relu.inplace", "expected no parameters"),
    (NET + LIST + "[relu, {celu: {alpha: 0}}]\n", "4:38: stack.activations[1].celu.alpha", "a finite number above 0, got 0"),
    (NET + LIST + "[relu, {elu: {alpha: .nan}}]\n", "4:37: stack.activations[1].elu.alpha", "a finite number, got nan"),
    (NET + LIST + "[relu, threshold]\n", "4:23: stack.activations[1]", "got no threshold and no value"),
    (NET + LIST + "[{relu: 1, tanh: 2}, tanh]\n", "4:17: stack.activations[0]", "sum to the layer's 4 units, got a sum of 3"),
    (NET + LIST + "[[elu, relu, elu, relu, elu], tanh]\n", "4:17: stack.activations[0]", "at most 4 blocks for 4 units, got 5"),
    (NET + LIST + "[{relu: 0.5, tanh: 0.4}, tanh]\n", "4:17: stack.activations[0]", "sum to 1, got a sum of 0.9"),
    (NET + LIST + "[{relu: 1, tanh: 0.5}, tanh]\n", "4:17: stack.activations[0]", "only counts (whole numbers) or only shares"),
    (NET + LIST + "[{relu: true, tanh: 3}, tanh]\n", "4:24: stack.activations[0].relu", "expected a count of units (3)"),
    (NET + LIST + "[relu, {}]\n", "4:23: stack.activations[1]", "expected one activation with its parameters"),
    (NET + LIST + "[relu, tanh]\n  norm: off\n", "5:9: stack.norm", "got 'off'; did you mean 'none'?"),
    (NET + LIST + "[relu, tanh]\n  norm:\n", "5:8: stack.norm", "expected one of none, batchnorm-all"),
    (NET + LIST + "[relu, tanh]\n  norm: batchnorm\n", "5:9: stack.norm", "did you mean 'batchnorm-all'?"),
    (NET + LIST + "[relu, tanh]\n  norm: [none]\n", "5:9: stack.norm", "expected 2 entries"),
    (NET + LIST + "[relu, tanh]\n  norm: [none, bn]\n", "5:16: stack.norm[1]", "did you mean 'batchnorm'?"),
    (NET + LIST + "[relu, tanh]\n  init: he\n", "5:9: stack.init", "did you mean 'kaiming-normal'?"),
    (NET + LIST + "[relu, tanh]\n  init: {std: 0}\n", "5:15: stack.init.std", "expected a finite number above 0, got 0"),
    (NET + LIST + "[relu, tanh]\n  residual: true\n", "5:13: stack.residual", "expected two hidden layers of equal width"),
    (NET + LIST + "[relu, tanh]\n  residual: 1\n", "5:13: stack.residual", "expected one of true or false, got 1"),
    (NET + LIST + "[relu, centered_sigmoid]\n", "4:23: stack.activations[1]", "did you mean 'centred_sigmoid'?"),
    (NET + LIST + "[relu, tanh]\n  activation: 1\n", "5:3: stack.activation", "did you mean 'activations'?"),
    # training, seeds, watch, fixes, expect
    (GOOD + "training: {optimiser: sgd}\n", "3:12: training.optimiser", "did you mean 'optimizer'?"),
    (GOOD + "training: {learning_rate: 1}\n", "3:12: training.learning_rate", "did you mean 'lr'?"),
    (GOOD + "training: {lr: '1e-3'}\n", "3:16: training.lr", "got '1e-3'; write it without quotes"),
    (GOOD + "training: {lr: .inf}\n", "3:16: training.lr", "expected a finite number above 0, got inf"),
    (GOOD + "training: {lr: 1e999}\n", "3:16: training.lr", "got inf"),
    (GOOD + "training: {lr: .nan}\n", "3:16: training.lr", "got nan"),
    (GOOD + "training: {lr: -1}\n", "3:16: training.lr", "got -1"),
    (GOOD + "training: {lr: true}\n", "3:16: training.lr", "got true"),
    (GOOD + "training: {momentum: 1}\n", "3:22: training.momentum", "expected a number from 0 to below 1"),
    (GOOD + "training: {optimizer: adam, momentum: 0.9}\n", "3:29: training.momentum", "only sgd and rmsprop use, got 0.9"),
    (GOOD + "training: {epochs: 1e3}\n", "3:20: training.epochs", "expected a whole number from 1 to 1000000, got 1000.0"),
    (GOOD + "training: {batch_size: 0}\n", "3:24: training.batch_size", "got 0"),
    (GOOD + "training: {loss: CrossEntropyLoss}\n", "3:18: training.loss", "did you mean 'cross-entropy'?"),
    (GOOD + "training: {warmup: 100}\n", "3:20: training.warmup", "expected a share of the training from 0 to 1, got 100"),
    (GOOD + "training: {clip: 0}\n", "3:18: training.clip", "expected a number above 0, or none, got 0"),
    (GOOD + "training: {clip: .inf}\n", "3:18: training.clip", "or none, got inf"),
    (GOOD + "training: {clip: off}\n", "3:18: training.clip", "did you mean 'none'?"),
    (GOOD + "training: {max_norm: 1}\n", "3:12: training.max_norm", "did you mean 'clip'?"),
    (GOOD + "training: fast\n", "3:11: training", "expected a mapping such as {optimizer: sgd, lr: 0.01}, got 'fast'"),
    (GOOD + "seeds: true\n", "3:8: seeds", "got true"),
    (GOOD + "seeds: 1000000000\n", "3:8: seeds", "expected a count of seeds from 1 to 1000"),
    (GOOD + "seeds: [1, 2, 1]\n", "3:15: seeds[2]", "expected each only once, got 1"),
    (GOOD + "seeds: [1, -1]\n", "3:12: seeds[1]", "expected a whole number from 0 to 2**32 - 1, got -1"),
    (GOOD + "watch: {every: 0}\n", "3:16: watch.every", "at least 1, got 0"),
    (GOOD + "watch: {every: 5, schedule: default}\n", "3:9: watch.every", "expected either schedule or every, got both"),
    (GOOD + "fixes: none\n", "3:8: fixes", "[] for none, got 'none'"),
    (GOOD + "fixes: [auto]\n", "3:9: fixes[0]", "or package.module:Class, got 'auto'"),
    (GOOD + "fixes: [placebo]\n", "3:9: fixes[0]", "got 'placebo'"),
    (GOOD + "fixes: [grad_clip]\n", "3:9: fixes[0]", "did you mean 'clip-gradient'?"),
    (GOOD + "fixes: batchnorm-last\n", "3:8: fixes", "did you mean [batchnorm-last]?"),
    (GOOD + "fixes: [batch_norm_last]\n", "3:9: fixes[0]", "did you mean 'batchnorm-last'?"),
    (GOOD + "fixes: [batchnorm-all, batchnorm-all]\n", "3:24: fixes[1]", "expected each only once"),
    ("data: digits\nmodel: a:b\nfixes: [batchnorm-all]\n", "3:9: fixes[0]", "scale-input beside model:"),
    (GOOD + "expect: output-collapse\n", "3:9: expect", "did you mean [output-collapse]?"),
    (GOOD + "expect: [GS103]\n", "3:10: expect[0]", "did you mean 'output-collapse'?"),
    (GOOD + "expect: []\n", "3:9: expect", "expected healthy or a list of rules such as [output-collapse], got []"),
]


@pytest.mark.parametrize(("text", "where", "words"), BAD, ids=[f"{i}-{where}" for i, (_, where, _) in enumerate(BAD)])
def test_a_bad_recipe_gives_one_line_with_place_key_and_what_was_expected(text, where, words):
    faults = faults_of(text)
    assert len(faults) == 1
    assert faults[0].startswith(f"r.yaml:{where}: ")
    assert words in faults[0]
    assert faults[0].isprintable()
    assert not any(leak in faults[0] for leak in ("Input should", "Value error", "pydantic", "Traceback", "function-"))


def test_all_faults_are_told_at_once_in_the_order_of_the_file():
    stack = "{hidden: [4, 0], activations: [rleu, {relu: 9, tanh: -1}], norm: [a]}"
    text = f"sed: 1\ndata: x\nstack: {stack}\ntraining: {{lr: x}}\nwatch: 1\n"
    assert [fault.split(": ")[1] for fault in faults_of(text)] == [
        "sed",
        "data",
        "stack.hidden[1]",
        "stack.activations",
        "stack.activations[0]",
        "stack.activations[1].tanh",
        "stack.norm",
        "stack.norm[0]",
        "training.lr",
        "watch",
    ]


def test_an_alias_bomb_is_refused_at_once():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    start = time.perf_counter()
    (fault,) = faults_of("\n".join(lines))
    assert "at most 10000 values with all aliases written out" in fault
    assert time.perf_counter() - start < 2


def test_a_harmless_alias_is_followed():
    recipe = parse_recipe("data: digits\nstack: {hidden: [4, 4], activations: [&a {elu: {alpha: 2}}, *a, relu]}\n")
    assert recipe.stack.layers[0] == recipe.stack.layers[1]


def test_defaults_and_properties():
    recipe = parse_recipe(GOOD, "some/where.yaml")
    assert recipe.name == "where"
    assert recipe.seed_list == (1, 2, 3, 4, 5)
    assert recipe.fix_names == ("batchnorm-last", "batchnorm-all")
    assert recipe.expected == ()
    assert recipe.stack.norms == ("none", "none")
    assert (recipe.training.lr, recipe.training.momentum, recipe.training.batch_size) == (0.01, 0.5, 32)
    assert parse_recipe("data: digits\nmodel: a:b\n").fix_names == ()
    assert parse_recipe(GOOD + "expect: healthy\n").expected == ("healthy",)


@pytest.mark.parametrize(
    ("word", "norms"),
    [
        ("none", ("none",) * 3),
        ("batchnorm-all", ("batchnorm",) * 3),
        ("batchnorm-last", ("none", "none", "batchnorm")),
        ("layernorm-all", ("layernorm",) * 3),
        ("[none, layernorm, batchnorm]", ("none", "layernorm", "batchnorm")),
    ],
)
def test_norms_per_layer(word, norms):
    text = f"data: digits\nstack: {{hidden: [4, 4], activations: [relu, relu, relu], norm: {word}}}\n"
    assert parse_recipe(text).stack.norms == norms


@pytest.mark.parametrize("lr", ["1e-3", "1.0e-3", "0.001", "1E-3", "+1e-3", ".001"])
def test_numbers_as_people_write_them(lr):
    assert parse_recipe(GOOD + f"training: {{lr: {lr}}}\n").training.lr == 0.001


@pytest.mark.parametrize("name", ["no", "off", "yes", "'1e-3'", "'true'", "'2024'", "2024-01-01", "a b", "'null'"])
def test_words_that_yaml_might_take_for_something_else_survive(name):
    recipe = parse_recipe(GOOD + f"name: {name}\n")
    assert recipe.name == name.strip("'")
    assert parse_recipe(dump_recipe(recipe)).name == recipe.name
    assert yaml.safe_load(dump_recipe(recipe))["name"] == recipe.name


def test_output_width_is_checked_when_it_is_known():
    recipe = parse_recipe(NET + LIST + "[relu, {relu: 1, tanh: 9}]\n", "r.yaml")
    recipe.check_output_width(10)
    with pytest.raises(RecipeError, match=r"^r.yaml:4:23: stack.activations\[1\]: expected counts that sum to the layer's 11"):
        recipe.check_output_width(11)


def test_code_is_listed_with_its_lines():
    text = "data: d:load\nstack: {hidden: [4], activations: [[relu, a.b:f], tanh]}\nfixes: [batchnorm-last, f:F]\n"
    recipe = parse_recipe(text, "r.yaml")
    assert recipe.needs_code == (("d:load", "r.yaml:1:7"), ("a.b:f", "r.yaml:2:36"), ("f:F", "r.yaml:3:25"))
    assert parse_recipe(GOOD).needs_code == ()


def test_a_recipe_in_code_names_keys_instead_of_lines():
    stack = Stack(hidden=(4,), activations=("relu", {"relu": 1, "tanh": 1}))
    recipe = Recipe(name="x", data="digits", stack=stack)
    assert recipe.where("stack", "activations", 1) == "stack.activations[1]"
    with pytest.raises(RecipeError, match=r"^stack.activations\[1\]: expected counts"):
        recipe.check_output_width(3)
    with pytest.raises(RecipeError, match=r"^training.lr: expected a finite number above 0, got -1$"):
        build_recipe({"name": "x", "data": "digits", "stack": stack, "training": {"lr": -1}})


def test_options_replace_values_and_keep_the_lines_of_the_others():
    recipe = parse_recipe(GOOD, "r.yaml")
    other = replace(recipe, data="mnist", seeds=2, epochs=3, device="cpu", fixes=[])
    assert (other.data, other.seed_list, other.training.epochs, other.device, other.fix_names) == (
        "mnist",
        (1, 2),
        3,
        "cpu",
        (),
    )
    assert other.where("stack", "hidden") == recipe.where("stack", "hidden") == "r.yaml:2:17"
    assert other.where("seeds") == "--seeds"
    assert recipe.training.epochs == 20
    assert replace(recipe) == recipe


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"seeds": 0}, "--seeds: expected a count of seeds from 1 to 1000, or a list of them, got 0"),
        ({"epochs": -1}, "--epochs: expected a whole number from 1 to 1000000, got -1"),
        ({"device": "gpu"}, "--device: expected auto, cpu, cuda, cuda:0 or mps, got 'gpu'; did you mean 'cuda'?"),
        (
            {"fixes": ["batchnorm"]},
            "--fixes: expected lower-lr, lr-warmup, clip-gradient, adam,",
        ),
        ({"data": "mnst"}, "--data: expected digits, mnist,"),
    ],
)
def test_a_wrong_option_is_named(change, line):
    with pytest.raises(RecipeError) as caught:
        replace(parse_recipe(GOOD, "r.yaml"), **change)
    (fault,) = caught.value.faults
    assert fault.startswith(line)


def test_options_on_an_adam_recipe_do_not_invent_a_momentum():
    recipe = parse_recipe(GOOD + "training: {optimizer: adam}\n")
    assert replace(recipe, epochs=2).training.optimizer == "adam"
    assert parse_recipe(dump_recipe(recipe)) == recipe


def test_npz_path_is_found_from_the_recipes_folder_and_from_anywhere_once_written(tmp_path):
    (tmp_path / "a.yaml").write_text(GOOD.replace("digits", "{source: npz, path: x.npz, train: 8}"))
    recipe = load_recipe(tmp_path / "a.yaml")
    assert recipe.data.path == "x.npz"
    assert recipe.data_path == tmp_path / "x.npz"
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "fixed.yaml").write_text(dump_recipe(recipe, header="made by a test"))
    assert load_recipe(tmp_path / "runs" / "fixed.yaml").data_path == tmp_path / "x.npz"
    assert replace(recipe, data="y.npz").data_path == Path("y.npz").absolute()


def test_recipes_can_be_copied_pickled_and_hashed():
    recipe = parse_recipe(GOOD, "r.yaml")
    for twin in (copy.deepcopy(recipe), pickle.loads(pickle.dumps(recipe)), recipe.model_copy(update={"name": recipe.name})):
        assert twin == recipe
        assert twin.where("data") == "r.yaml:1:7"
        assert hash(twin) == hash(recipe)


entries = st.sampled_from(
    ["relu", "none", ["relu", "sigmoid"], {"relu": 3, "tanh": 5}, {"relu": 0.25, "tanh": 0.75}, {"elu": {"alpha": 2}}, "m.a:f"]
)
positive = st.floats(1e-12, 1e12)


@st.composite
def raw_recipes(draw):
    hidden = draw(st.lists(st.just(8), max_size=3))
    optimizer = draw(st.sampled_from(["sgd", "adam", "adamw", "rmsprop"]))
    training = {
        "optimizer": optimizer,
        "lr": draw(positive),
        "epochs": draw(st.integers(1, 99)),
        "weight_decay": draw(positive),
        "warmup": draw(st.floats(0, 1)),
        "clip": draw(st.one_of(st.just("none"), positive)),
    }
    if optimizer in ("sgd", "rmsprop"):
        training["momentum"] = draw(st.floats(0, 0.999))
    layers = st.lists(st.sampled_from(["none", "batchnorm", "layernorm"]), min_size=len(hidden) + 1, max_size=len(hidden) + 1)
    raw = {
        "name": draw(st.from_regex(r"\A\w[\w .+-]{0,30}\Z")),
        "data": draw(st.sampled_from(["digits", "m.d:load", {"source": "npz", "path": "a b: #.npz", "test": 3}])),
        "stack": {
            "hidden": hidden,
            "activations": draw(st.lists(entries, min_size=len(hidden) + 1, max_size=len(hidden) + 1)),
            "norm": draw(st.one_of(st.sampled_from(["none", "batchnorm-last"]), layers)),
            "init": draw(st.one_of(st.sampled_from(["default", "lsuv"]), st.builds(lambda std: {"std": std}, positive))),
            "residual": len(hidden) > 1 and draw(st.booleans()),
        },
        "training": training,
        "seeds": draw(st.one_of(st.integers(1, 9), st.lists(st.integers(0, 2**32 - 1), min_size=1, unique=True))),
        "watch": draw(st.sampled_from([{}, {"every": 7}, {"schedule": "default"}])),
        "expect": draw(st.sampled_from([None, "healthy", ["output-collapse", "common-mode"]])),
        "normalize": draw(st.sampled_from([None, [0.1307, 0.3081], "per-feature"])),
        "device": draw(st.sampled_from(["auto", "cuda:1"])),
    }
    return raw if draw(st.booleans()) else {**raw, "fixes": draw(st.sampled_from([[], ["batchnorm-all"], ["m.f:Fix"], "auto"]))}


@given(raw_recipes())
def test_a_recipe_written_and_read_again_is_the_same(raw):
    recipe = build_recipe(raw)
    text = dump_recipe(recipe, header="one\ntwo")
    again = parse_recipe(text, "r.yaml")
    assert again == recipe
    assert dump_recipe(again, header="one\ntwo") == text


def test_written_recipes_are_compact_and_in_the_order_in_which_people_write_them():
    assert dump_recipe(parse_recipe(NET + LIST + "[relu, {relu: 1, tanh: 9}]\n", "a.yaml"), "made") == (
        "# made\nname: a\ndata: digits\nstack:\n  hidden: [4]\n  activations: [relu, {relu: 1, tanh: 9}]\n  norm: none\n"
        "  init: default\ntraining:\n  optimizer: sgd\n  lr: 0.01\n  momentum: 0.5\n  weight_decay: 0.0\n  batch_size: 32\n"
        "  epochs: 20\n  loss: cross-entropy\nseeds: 5\nwatch: {schedule: default}\nfixes: [batchnorm-last, batchnorm-all]\n"
        "device: auto\n"
    )


@given(st.text(max_size=60))
def test_any_text_is_a_recipe_or_a_list_of_faults(text):
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text)
    assert all(fault.isprintable() for fault in caught.value.faults)


def faults_in(raw):
    try:
        build_recipe(raw)
    except RecipeError as error:
        return error.faults
    return []


@given(
    st.recursive(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)), st.lists, max_leaves=5)
)
def test_any_value_anywhere_is_taken_or_gives_faults(value):
    base = yaml.safe_load(GOOD)
    for key in ("data", "stack", "training", "seeds", "fixes", "watch", "expect", "name", "model", "normalize"):
        assert all("expected" in fault for fault in faults_in({"name": "x", **base, key: value}))
    for key in ("hidden", "activations", "norm", "init"):
        assert all(
            "expected" in fault for fault in faults_in({"name": "x", "data": "digits", "stack": {**base["stack"], key: value}})
        )


RULE_FILES = {file.stem.replace("_", "-"): file for file in (ROOT / "gradscope" / "rules").glob("[a-z]*.py")}


@pytest.mark.skipif(not RULE_FILES, reason="no rules yet")
@pytest.mark.parametrize(("slug", "code"), RULES.items())
def test_rules_that_expect_may_name_are_there(slug, code):
    assert code in RULE_FILES[slug].read_text()
