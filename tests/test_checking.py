"""A check of one recipe: where its sites stand, step 0 without training, and faults as outcomes."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from small_trials import CPU, PUBLISHED, model_text, recipe_of, stack_text

from gradscope import checking
from gradscope.arms import plan_arms
from gradscope.checking import CheckOptions, check_recipe, observe
from gradscope.data import load_data
from gradscope.first_look import look_once
from gradscope.trace import UNIT_STATISTICS
from gradscope.trained_arms import ArmTraining, train_arms

LAYERED = """data: digits
stack:
  hidden: [16, 8]
  activations:
    - relu
    - [relu, tanh]
    - tanh
training: {lr: 0.1, epochs: 1}
seeds: 3
expect: healthy
"""


@pytest.fixture
def written(tmp_path):
    def write(text, name="net.yaml"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_the_published_failure_is_as_expected_and_fails_where_health_is_expected(written):
    assert check_recipe(written(PUBLISHED)).outcome == "as expected"
    result = check_recipe(written(PUBLISHED.replace("[output-collapse]", "healthy"), "b.yaml"))
    assert result.outcome == "not as expected"
    assert {one.rule for one in result.differences} >= {"output-collapse", "common-mode"}
    assert {(one.site, one.place.line, one.place.column) for one in result.differences if one.site} == {("3.relu", 4, 56)}
    assert result.try_fix == "batchnorm-last"
    assert result.seeds == [1, 2, 3]


def test_each_site_stands_at_its_activation(written):
    path = written(LAYERED)
    places = observe(path, CheckOptions(fast=True)).asked.places
    assert {site: (place.line, place.column) for site, place in places.items()} == {
        "1.relu": (5, 7), "2.relu+tanh": (6, 7), "3.tanh": (7, 7)
    }  # fmt: skip
    assert {place.file for place in places.values()} == {str(path)}


def test_only_the_control_is_trained_and_as_long_as_its_rules_need(written):
    path = written(PUBLISHED + "fixes: [batchnorm-last]\n")
    checked = observe(path, CheckOptions())
    assert [(trace.arm, trace.seed, len(trace.loss)) for trace in checked.traces] == [("control", s, 200) for s in (1, 2, 3)]
    assert [len(t.loss) for t in observe(path, CheckOptions(seeds=1, steps=7)).traces] == [7]
    assert [len(t.loss) for t in observe(written(LAYERED), CheckOptions(seeds=[4])).traces] == [45]


@pytest.mark.parametrize("norm", ["none", "batchnorm-all"])
def test_step_0_looked_at_once_is_step_0_of_the_training(norm):
    recipe = recipe_of(stack_text("[relu, sigmoid, relu]", norm=norm, seeds=2))
    data = load_data("digits").flattened()
    arms = plan_arms(recipe, allow_code=False)
    trained = train_arms(arms, recipe, data, ArmTraining(CPU, 1)).traces.values()
    for seen, trace in zip(look_once(arms, recipe, data, CPU, allow_code=False), trained, strict=True):
        seen.self_check()
        assert (seen.arm, seen.seed, seen.steps.tolist()) == (trace.arm, trace.seed, [0])
        assert [site.name for site in seen.sites] == [site.name for site in trace.sites]
        assert [site.is_output for site in seen.sites] == [site.is_output for site in trace.sites]
        for name in UNIT_STATISTICS:
            for one, other in zip(seen.unit_statistics[name], trace.unit_statistics[name], strict=True):
                np.testing.assert_array_equal(one, other)
        for name in ("remaining", "gate_transmission"):
            np.testing.assert_array_equal(seen.site_statistics[name], trace.site_statistics[name])
        np.testing.assert_array_equal(seen.loss, trace.loss)


def test_looking_once_leaves_the_random_state_alone():
    recipe = recipe_of(stack_text())
    before = torch.random.get_rng_state()
    look_once(plan_arms(recipe, allow_code=False), recipe, load_data("digits").flattened(), CPU, allow_code=False)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(("fast", "steps"), [(True, 1), (False, 200)])
def test_a_model_of_ones_own_is_checked_like_a_stack(fast, steps, written, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[1])
    path = written(
        model_text("recipes.own_model:DigitsNet", training="{lr: 0.01, epochs: 5}", seeds=2)
        + "expect: [output-collapse, common-mode]\n"
    )
    refused = check_recipe(path)
    assert refused.outcome == "bad recipe"
    assert "add --allow-code" in refused.message
    result = check_recipe(path, CheckOptions(allow_code=True, fast=fast))
    assert (result.outcome, result.steps, result.differences) == ("as expected", steps, [])
    assert {place.line for place in result.places.values()} == {4}


def test_faults_are_outcomes_with_the_lines_that_say_where(written, tmp_path):
    cases = {
        LAYERED.replace("- tanh", "- tahn"): "net.yaml:7:7: stack.activations[2]: expected",
        LAYERED.replace("data: digits", "data: {source: npz, path: a.npz}"): "a.npz: no such file",
        LAYERED.replace("epochs: 1", "epochs: 1, batch_size: 5000"): "training.batch_size: expected at most the 1437",
        LAYERED.replace("- tanh", "- 'nowhere:act'"): "'nowhere:act' runs code of its own; read it, then add --allow-code",
    }
    for text, phrase in cases.items():
        result = check_recipe(written(text))
        assert result.outcome == "bad recipe"
        assert phrase in result.message
        assert "\n" not in result.message


@pytest.mark.parametrize("fast", [True, False])
def test_code_that_fails_is_told_by_the_line_that_names_it(fast, written, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "checked_models", raising=False)
    (tmp_path / "checked_models.py").write_text(
        "from torch import nn\n"
        "def narrow(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))\n"
        "def other(): return nn.Linear(63, 10)\n"
        "def script(): raise SystemExit(0)\n"
    )
    cases = {
        "narrow": "(batch, outputs of digits), got [",
        "other": "failed",
        "script": "SystemExit: 0",
        "no": "cannot be loaded",
    }
    for name, phrase in cases.items():
        result = check_recipe(
            written(model_text(f"checked_models:{name}") + "expect: healthy\n"), CheckOptions(allow_code=True, fast=fast)
        )
        assert result.outcome == "bad recipe"
        assert phrase in result.message
        assert result.message.count("net.yaml:4:8: ") == 1


def test_a_network_without_sites_cannot_be_judged(written):
    result = check_recipe(written(stack_text("[none, none, none]") + "expect: healthy\n"))
    assert result.outcome == "could not judge"
    assert "no non-linearity was seen" in result.message


def test_a_damaged_baseline_is_one_line_of_a_bad_recipe(written, tmp_path):
    path = written(LAYERED)
    (tmp_path / "baselines").mkdir()
    (tmp_path / "baselines" / "net.json").write_text("{}")
    result = check_recipe(path, CheckOptions(fast=True))
    assert result.outcome == "bad recipe"
    assert result.message.startswith(str(tmp_path / "baselines" / "net.json"))


def test_the_public_names():
    assert set(checking.__all__) >= {"CheckOptions", "check_recipe"}
