"""Every fix: one change and nothing else, and a recipe that can be written and trained."""

import sys

import pytest
import torch
from small_trials import CPU, data_of, model_text, recipe_of, stack_text

from gradscope.arms import ArmPlan, build_network, pack
from gradscope.errors import CodeError
from gradscope.fixes import FIXES, Fix, find_fix
from gradscope.recipe_fields import FIX_NAMES
from gradscope.recipe_file import dump_recipe, parse_recipe


def plain(recipe):
    return recipe.model_dump()


@pytest.mark.parametrize("fix", FIXES)
def test_a_fix_changes_the_norm_only(fix):
    recipe = recipe_of(stack_text("[relu, sigmoid, relu]"))
    before = plain(recipe)
    changed = fix().apply(recipe)
    assert plain(recipe) == before, "the recipe itself must stay as it is"
    after = plain(changed)
    assert after != before
    after["stack"]["norm"] = before["stack"]["norm"]
    assert after == before


@pytest.mark.parametrize("fix", FIXES)
def test_the_fixed_recipe_can_be_written_read_and_trained(fix):
    changed = fix().apply(recipe_of(stack_text("[relu, sigmoid, relu]")))
    again = parse_recipe(dump_recipe(changed))
    assert plain(again) == plain(changed)
    data = data_of(again).flattened()
    network = build_network(pack([ArmPlan("fix", again, (1, 2))])[0], data, CPU, allow_code=False)
    assert network(data.x_train[:8]).shape == (2, 8, 10)


@pytest.mark.parametrize("fix", FIXES)
def test_a_second_time_changes_nothing_more(fix):
    once = fix().apply(recipe_of(stack_text()))
    assert plain(fix().apply(once)) == plain(once)


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


@pytest.mark.parametrize("fix", FIXES)
def test_a_model_of_the_user_s_own_is_left_alone(fix):
    recipe = recipe_of(model_text("mine:build"))
    assert plain(fix().apply(recipe)) == plain(recipe)


def test_a_class_of_the_user_s_own(tmp_path, monkeypatch):
    (tmp_path / "own_fix_a.py").write_text(
        "from gradscope.fixes import Fix\n"
        "class Mine(Fix):\n    slug, summary = 'mine', 'mine'\n    def apply(self, recipe):\n        return recipe\n"
        "number = 3\nclass Other: pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert isinstance(find_fix("own_fix_a:Mine", allow_code=True), Fix)
    with pytest.raises(CodeError, match="r.yaml:3: 'own_fix_a:Mine' runs code of its own; read it, then add --allow-code"):
        find_fix("own_fix_a:Mine", allow_code=False, where="r.yaml:3")
    for name, got in (("number", "int"), ("Other", "type")):
        with pytest.raises(CodeError, match=f"expected a class derived from gradscope.fixes.Fix, got {got}"):
            find_fix(f"own_fix_a:{name}", allow_code=True)
    del sys.modules["own_fix_a"]


@pytest.mark.parametrize("fix", FIXES)
def test_layers_that_keep_their_widths_keep_their_initial_weights(fix):
    """Control and fix differ in the fix alone: paired seeds."""
    recipe = recipe_of(stack_text())
    data = data_of(recipe).flattened()
    plan = [ArmPlan("control", recipe, (3,)), ArmPlan("fix", fix().apply(recipe), (3,))]
    network = build_network(pack(plan)[0], data, CPU, allow_code=False)
    for layer in network.layers:
        assert torch.equal(layer.weight[0], layer.weight[1])
        assert torch.equal(layer.bias[0], layer.bias[1])
