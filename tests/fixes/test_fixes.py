"""Every fix: one change and nothing else, and a recipe that can be written and trained."""

import re
import sys

import numpy as np
import pytest
import torch
import yaml
from small_trials import CPU, data_of, model_text, recipe_of, stack_text

from gradscope.arms import ArmPlan, build_network, pack, plan_arms
from gradscope.errors import CodeError
from gradscope.fixes import FIXES, Fix, find_fix, left_out
from gradscope.recipe import replace
from gradscope.recipe_fields import FIX_NAMES, TRAINING_FIX_NAMES
from gradscope.recipe_file import dump_recipe, parse_recipe
from gradscope.rules import RULES
from gradscope.trained_arms import samples_of
from gradscope.training import task_of, train

SICK = "[relu, sigmoid, relu]"
EQUAL = """
name: equal
data: digits
stack: {hidden: [8, 8], activations: [relu, sigmoid, relu]}
training: {lr: 0.05, epochs: 1}
seeds: 2
"""
CHANGED = {
    "lower-lr": ("training", {"lr": 0.005}),
    "lr-warmup": ("training", {"warmup": 0.1}),
    "clip-gradient": ("training", {"clip": 1.0}),
    "adam": ("training", {"optimizer": "adam", "lr": 0.001}),
    "scale-input": (None, {"normalize": "per-feature"}),
    "he-init": ("stack", {"init": "kaiming-normal"}),
    "xavier-init": ("stack", {"init": "xavier-uniform"}),
    "lsuv-init": ("stack", {"init": "lsuv"}),
    "drop-output-activation": ("stack", {"activations": ["relu", "sigmoid", "none"]}),
    "leaky-relu": ("stack", {"activations": ["leaky_relu", "sigmoid", "leaky_relu"]}),
    "gelu": ("stack", {"activations": ["gelu", "sigmoid", "gelu"]}),
    "centre-sigmoid": ("stack", {"activations": ["relu", "centred_sigmoid", "relu"]}),
    "swap-sigmoid-tanh": ("stack", {"activations": ["relu", "tanh", "relu"]}),
    "batchnorm-last": ("stack", {"norm": "batchnorm-last", "norm_weight": "ones"}),
    "batchnorm-all": ("stack", {"norm": "batchnorm-all", "norm_weight": "ones"}),
    "layernorm-all": ("stack", {"norm": "layernorm-all", "norm_weight": "ones"}),
    "residual": ("stack", {"residual": True}),
}


def plain(recipe):
    return recipe.model_dump()


def test_every_fix_has_its_line_here():
    assert list(CHANGED) == [fix.slug for fix in FIXES]


@pytest.mark.parametrize("fix", FIXES)
def test_a_fix_changes_one_thing_and_nothing_else(fix):
    recipe = recipe_of(EQUAL)
    before = plain(recipe)
    changed = fix().apply(recipe)
    assert plain(recipe) == before, "the recipe itself must stay as it is"
    part, keys = CHANGED[fix.slug]
    wanted = yaml.safe_load(dump_recipe(recipe))
    (wanted[part] if part else wanted).update(keys)
    if fix.slug == "adam":
        del wanted["training"]["momentum"]
    assert yaml.safe_load(dump_recipe(changed)) == wanted
    assert fix().changes(recipe)


@pytest.mark.parametrize("fix", FIXES)
def test_the_fixed_recipe_can_be_written_read_and_trained(fix):
    changed = fix().apply(recipe_of(EQUAL))
    again = parse_recipe(dump_recipe(changed))
    assert plain(again) == plain(changed)
    assert plain(replace(changed, epochs=3)) == plain(changed) | {"training": plain(changed)["training"] | {"epochs": 3}}
    data = data_of(again).flattened()
    (batch,) = pack([ArmPlan("fix", again, (1, 2))])
    network = build_network(batch, data, CPU, allow_code=False)
    done = train(network, batch.members, data, changed.training, task_of(data, changed.training, 3))
    assert all(np.isfinite(trace.loss).all() for trace in done.traces)


@pytest.mark.parametrize("fix", [fix for fix in FIXES if fix.needs is not None])
def test_a_second_time_changes_nothing_more_and_is_left_out(fix):
    once = fix().apply(recipe_of(EQUAL))
    assert plain(fix().apply(once)) == plain(once)
    assert not fix().changes(once)
    assert left_out(once, ["lower-lr", fix.slug, "mine:Own"]) == [f"{fix.slug} was not tried: it needs {fix.needs}"]
    named = once.model_copy(update={"fixes": (fix.slug,)})
    assert [arm.name for arm in plan_arms(named, allow_code=False)] == ["control"]


@pytest.mark.parametrize(
    ("slug", "text"),
    [
        ("leaky-relu", stack_text("[tanh, sigmoid, none]")),
        ("gelu", stack_text("[tanh, sigmoid, none]")),
        ("centre-sigmoid", stack_text("[tanh, relu, none]")),
        ("swap-sigmoid-tanh", stack_text("[tanh, relu, none]")),
        ("residual", stack_text(SICK)),
        ("drop-output-activation", stack_text("[tanh, relu, none]")),
        ("drop-output-activation", stack_text("[tanh, relu, logsigmoid]", training="{loss: nll}")),
        ("batchnorm-last", stack_text(SICK, training="{batch_size: 1}")),
        ("batchnorm-all", stack_text(SICK, training="{batch_size: 1}")),
        ("adam", stack_text(training="{optimizer: adamw}")),
        ("clip-gradient", stack_text(training="{clip: 0.5}")),
        ("lr-warmup", stack_text(training="{warmup: 0.01}")),
        ("scale-input", stack_text(extra="normalize: per-feature\n")),
    ],
)
def test_a_fix_that_has_nothing_to_change_is_not_tried(slug, text):
    recipe = recipe_of(text)
    fix = find_fix(slug, allow_code=False)
    assert not fix.changes(recipe)
    assert plain(fix.apply(recipe)) == plain(recipe)


def test_a_looser_limit_than_the_fix_s_is_made_tighter():
    changed = find_fix("clip-gradient", allow_code=False).apply(recipe_of(stack_text(training="{clip: 5}")))
    assert changed.training.max_norm == 1.0


def test_activations_are_replaced_in_blocks_of_units_too():
    recipe = recipe_of(stack_text("[[relu, tanh], {relu: 3, sigmoid: 5}, [{elu: {alpha: 2}}, relu]]"))
    changed = find_fix("leaky-relu", allow_code=False).apply(recipe)
    assert [layer.label for layer in changed.stack.layers] == ["leaky_relu+tanh", "leaky_relu+sigmoid", "elu+leaky_relu"]
    assert [units for _, units in changed.stack.layers[1].resolve(8)] == [3, 5]
    assert changed.stack.layers[2].blocks[0] == recipe.stack.layers[2].blocks[0]


def test_the_placebo_changes_every_number_and_nothing_that_matters():
    recipe = recipe_of(EQUAL)
    placebo = find_fix("placebo", allow_code=False)
    changed = placebo.apply(recipe)
    assert changed.training.lr == pytest.approx(recipe.training.lr, rel=2e-3)
    assert changed.training.lr != recipe.training.lr
    assert plain(changed.model_copy(update={"training": recipe.training})) == plain(recipe)
    assert placebo.slug not in FIX_NAMES
    assert placebo.changes(recipe)


@pytest.mark.parametrize(
    ("norm", "last", "all_"),
    [
        ("none", ("none", "none", "batchnorm"), ("batchnorm",) * 3),
        ("batchnorm-last", ("none", "none", "batchnorm"), ("batchnorm",) * 3),
        ("layernorm-all", ("layernorm", "layernorm", "batchnorm"), ("batchnorm",) * 3),
        ("[batchnorm, none, layernorm]", ("batchnorm", "none", "batchnorm"), ("batchnorm",) * 3),
    ],
)
def test_where_batch_norm_is_put(norm, last, all_):
    recipe = recipe_of(stack_text(norm=norm))
    assert find_fix("batchnorm-last", allow_code=False).apply(recipe).stack.norms == last
    assert find_fix("batchnorm-all", allow_code=False).apply(recipe).stack.norms == all_


def test_the_names_that_recipes_may_say_are_those_that_there_are_the_smaller_change_first():
    assert tuple(fix.slug for fix in FIXES) == FIX_NAMES
    assert all(fix.summary and "\n" not in fix.summary for fix in FIXES)
    sizes = [fix.size for fix in FIXES]
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize("fix", FIXES)
def test_a_model_of_the_user_s_own_takes_the_fixes_of_its_training(fix):
    recipe = recipe_of(model_text("mine:build"))
    is_of_training = fix.slug in TRAINING_FIX_NAMES
    assert fix().changes(recipe) == is_of_training == (plain(fix().apply(recipe)) != plain(recipe))
    if is_of_training:
        named = recipe_of(model_text("mine:build", fixes=f"[{fix.slug}]"))
        assert [arm.name for arm in plan_arms(named, allow_code=False)] == ["control", fix.slug, "reseed", "placebo"]


def test_an_arm_has_its_own_samples_and_trains_apart():
    recipe = recipe_of(EQUAL + "fixes: [scale-input, he-init]\n")
    batches = pack(plan_arms(recipe, allow_code=False))
    assert [{m.arm for m in batch.members} for batch in batches] == [
        {"control", "he-init", "reseed"},
        {"scale-input"},
        {"placebo"},
    ]
    data = data_of(recipe).flattened()
    assert samples_of(batches[0].recipe, recipe, data) is data
    scaled = samples_of(batches[1].recipe, recipe, data).x_train
    assert scaled.mean(dim=0).abs().max() < 1e-5
    assert samples_of(batches[1].recipe, batches[1].recipe, data) is data, "what is scaled already is not scaled again"


def test_a_class_of_the_user_s_own(tmp_path, monkeypatch):
    (tmp_path / "own_fix_a.py").write_text(
        "from gradscope.fixes import Fix\n"
        "class Mine(Fix):\n    slug, summary = 'mine', 'mine'\n    def apply(self, recipe):\n        return recipe\n"
        "number = 3\nclass Other: pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    own = find_fix("own_fix_a:Mine", allow_code=True)
    assert isinstance(own, Fix)
    assert own.changes(recipe_of(EQUAL)), "what someone wants to be tried is tried"
    assert own.size > max(fix.size for fix in FIXES)
    with pytest.raises(CodeError, match="r.yaml:3: 'own_fix_a:Mine' runs code of its own; read it, then add --allow-code"):
        find_fix("own_fix_a:Mine", allow_code=False, where="r.yaml:3")
    for name, got in (("number", "int"), ("Other", "type")):
        with pytest.raises(CodeError, match=f"expected a class derived from gradscope.fixes.Fix, got {got}"):
            find_fix(f"own_fix_a:{name}", allow_code=True)
    del sys.modules["own_fix_a"]


@pytest.mark.parametrize("fix", [fix for fix in FIXES if not fix.slug.endswith("-init")])
def test_layers_that_keep_their_widths_keep_their_initial_weights(fix):
    """Control and fix differ in the fix alone: paired seeds."""
    recipe = recipe_of(EQUAL)
    data = data_of(recipe).flattened()
    arms = [ArmPlan("control", recipe, (3,)), ArmPlan("fix", fix().apply(recipe), (3,))]
    networks = [build_network(batch, data, CPU, allow_code=False) for batch in pack(arms)]
    rows = [(layer.weight[i], layer.bias[i]) for net in networks for i in range(net.size) for layer in net.layers]
    assert len(rows) == 6
    for (weight, bias), (other, other_bias) in zip(rows[:3], rows[3:], strict=True):
        assert torch.equal(weight, other)
        assert torch.equal(bias, other_bias)


@pytest.mark.parametrize("rule", RULES)
def test_fixes_that_a_rule_s_page_names_know_the_rule(rule):
    named = [fix for fix in FIXES if re.search(rf"(?<![\w-]){fix.slug}(?![\w-])", rule.remedies())]
    assert all(rule.slug in fix.rules for fix in named)
