"""The arms of a trial: which there are, how they are packed, how a user's model is built."""

import pytest
import torch
from small_trials import CPU, data_of, model_text, recipe_of, stack_text

from gradscope.arms import build_network, further_seeds, other_seeds, pack, plan_arms
from gradscope.errors import CodeError
from gradscope.stack import Population

OWN = """
import torch
from torch import nn
calls = []
def build():
    calls.append(torch.initial_seed())
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
ready = nn.Linear(64, 10)
def fails():
    raise RuntimeError("no such\\nlayer")
def number():
    return 3
def empty():
    return nn.ReLU()
def frozen():
    return nn.Linear(64, 10).requires_grad_(False)
import gradscope.fixes
class Narrow(gradscope.fixes.Fix):
    slug, summary = "narrow", "half as wide"
    def apply(self, recipe):
        return recipe.model_copy(update={"stack": recipe.stack.model_copy(update={"hidden": (8, 8)})})
class Slow(gradscope.fixes.Fix):
    slug, summary = "slow", "a tenth of the learning rate"
    def apply(self, recipe):
        return recipe.model_copy(update={"training": recipe.training.model_copy(update={"lr": 0.01})})
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    name = f"own_arms_{abs(hash(tmp_path)) % 10**8}"
    (tmp_path / f"{name}.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_control_fixes_and_the_control_again_with_other_seeds():
    arms = plan_arms(recipe_of(stack_text(seeds="[4, 2]", fixes="[batchnorm-last]")), allow_code=False)
    beside = [("reseed", (5, 6)), ("placebo", (4, 2))]
    assert [(arm.name, arm.seeds) for arm in arms] == [("control", (4, 2)), ("batchnorm-last", (4, 2)), *beside]
    assert arms[2].recipe.stack == arms[0].recipe.stack


def test_the_placebo_is_the_control_but_for_a_thousandth_of_its_learning_rate():
    control, *_, placebo = (arm.recipe for arm in plan_arms(recipe_of(stack_text(fixes="[gelu]")), allow_code=False))
    assert placebo.training.lr == pytest.approx(1.001 * control.training.lr)
    assert placebo.training.model_dump(exclude={"lr"}) == control.training.model_dump(exclude={"lr"})
    assert placebo.stack == control.stack


def test_further_seeds_are_neither_the_control_s_nor_those_of_the_reseed_arm():
    found = further_seeds((4, 2, 9), 7)
    assert len(set(found)) == 4
    assert not set(found) & {4, 2, 9, *other_seeds((4, 2, 9))}


def test_without_fixes_there_is_no_baseline():
    assert [arm.name for arm in plan_arms(recipe_of(stack_text()), allow_code=False)] == ["control"]


@pytest.mark.parametrize("seeds", [(1,), (0, 7, 3), (2**32 - 1,)])
def test_other_seeds_are_as_many_and_others(seeds):
    found = other_seeds(seeds)
    assert len(set(found)) == len(seeds)
    assert not set(found) & set(seeds)


def test_the_largest_seed_still_has_others_that_torch_takes():
    for seed in other_seeds((2**32 - 1,)):
        torch.Generator().manual_seed(seed)


def test_arms_that_differ_in_norm_and_activation_only_train_in_one_population():
    batch, placebo = pack(plan_arms(recipe_of(stack_text(fixes="[batchnorm-last, batchnorm-all]")), allow_code=False))
    assert {m.arm for m in placebo.members} == {"placebo"}
    assert [(m.arm, m.seed) for m in batch.members] == [
        (arm, seed)
        for arm, seeds in (("control", (1, 2)), ("batchnorm-last", (1, 2)), ("batchnorm-all", (1, 2)), ("reseed", (3, 4)))
        for seed in seeds
    ]
    assert len(batch.stacks) == 8


def test_other_widths_and_other_training_are_groups_of_their_own_the_control_s_first(own):
    text = stack_text(fixes=f"['{own}:Narrow', '{own}:Slow', batchnorm-last]")
    batches = pack(plan_arms(recipe_of(text), allow_code=True))
    assert [sorted({m.arm for m in batch.members}) for batch in batches] == [
        ["batchnorm-last", "control", "reseed"],
        [f"{own}:Narrow"],
        [f"{own}:Slow"],
        ["placebo"],
    ]
    assert batches[2].recipe.training.lr == 0.01
    data = data_of(batches[0].recipe).flattened()
    for batch in batches:
        network = build_network(batch, data, CPU, allow_code=True)
        assert isinstance(network, Population)
        assert network.size == len(batch.members)


def test_models_train_alone_each_from_its_seed(own):
    recipe = recipe_of(model_text(f"{own}:build", seeds=2))
    batches = pack(plan_arms(recipe, allow_code=True))
    assert [(m.arm, m.seed) for batch in batches for m in batch.members] == [("control", 1), ("control", 2)]
    data = data_of(recipe)
    networks = [build_network(batches[0], data, CPU, allow_code=True)]
    before = torch.get_rng_state()
    networks += [build_network(batch, data, CPU, allow_code=True) for batch in (batches[1], batches[0])]
    assert torch.equal(before, torch.get_rng_state())
    weights = [network[1].weight for network in networks]
    assert torch.equal(weights[0], weights[2])
    assert networks[0] is not networks[2]
    assert not torch.equal(weights[0], weights[1])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fails", "failed: RuntimeError: no such layer"),
        ("number", "expected a callable that returns a torch.nn.Module, got int"),
        # the second seed would go on from the first
        ("ready", "got a module that all seeds would share; name its class or a function"),
        ("empty", "expected a model with parameters to train, got one without"),
        ("frozen", "expected a model with parameters to train, got one without"),
        ("absent", "cannot be loaded: AttributeError"),
    ],
)
def test_a_model_that_cannot_be_built_is_one_line(own, name, message):
    recipe = recipe_of(model_text(f"{own}:{name}"))
    (batch,) = pack(plan_arms(recipe, allow_code=True))
    with pytest.raises(CodeError, match=message) as caught:
        build_network(batch, data_of(recipe), CPU, allow_code=True)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("recipe:4:8: ")


def test_nothing_of_the_user_s_is_run_without_leave(own):
    (batch,) = pack(plan_arms(recipe_of(model_text(f"{own}:build")), allow_code=False))
    with pytest.raises(CodeError, match="add --allow-code"):
        build_network(batch, data_of(batch.recipe), CPU, allow_code=False)
