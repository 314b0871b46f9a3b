"""Weights drawn anew on models of anyone's own."""

import pytest
import torch
from surgery_models import Cnn, Listed, encoder, mlp
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

import gradscope
from gradscope.errors import FixError

X, IMAGES = torch.randn(400, 6), torch.randn(200, 1, 8, 8)


def layers(model):
    return [module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)]


@pytest.mark.parametrize(
    ("fix", "draw"),
    [("he-init", lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu")), ("xavier-init", nn.init.xavier_uniform_)],
)
def test_weights_are_torchs_own_and_biases_zero(fix, draw):
    applied = gradscope.apply_fix(Cnn(), fix, seed=7)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        wanted = [draw(torch.empty(layer.weight.shape)) for layer in layers(applied.model)]
    assert len(wanted) == 4
    for layer, weight in zip(layers(applied.model), wanted, strict=True):
        assert torch.equal(layer.weight, weight)
        assert not layer.bias.any()


def test_a_seed_means_the_same_weights_and_another_seed_others():
    model = mlp()
    first, again, other = (gradscope.apply_fix(model, "he-init", seed=seed).model for seed in (1, 1, 2))
    assert torch.equal(first[0].weight, again[0].weight)
    assert not torch.equal(first[0].weight, other[0].weight)


@pytest.mark.parametrize(("model", "x"), [(mlp(nn.Sigmoid, nn.ReLU), X), (Cnn(), IMAGES), (Listed(), X)])
def test_lsuv_gives_every_called_layer_outputs_of_variance_1(model, x):
    applied = gradscope.apply_fix(model, "lsuv-init", x)
    found = {}
    for layer in layers(applied.model):
        layer.register_forward_hook(
            lambda module, args, output: found.update({module: float(output.detach().var(correction=0))})
        )
    applied.model.eval()(x)
    assert len(found) >= 2
    assert list(found.values()) == pytest.approx([1.0] * len(found), rel=1e-3)


def test_lsuv_measures_behind_batch_norms_as_training_does():
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))
    for _ in range(50):
        model(100 * X)
    applied = gradscope.apply_fix(model.eval(), "lsuv-init", X)
    assert torch.equal(applied.model[1].running_var, model[1].running_var)
    assert float(applied.model.train()(X).detach().var(correction=0)) == pytest.approx(1.0, rel=1e-3)


def test_lsuv_needs_an_example():
    with pytest.raises(FixError, match="lsuv-init: expected samples on which to measure the layers' outputs, got none"):
        gradscope.apply_fix(mlp(), "lsuv-init")


def test_attention_s_weights_and_weights_made_of_others_are_left_alone():
    block = encoder()
    applied = gradscope.apply_fix(block, "he-init")
    assert [change.path for change in applied.replaced] == ["linear1", "linear2"]
    assert torch.equal(applied.model.self_attn.out_proj.weight, block.self_attn.out_proj.weight)
    model = nn.Sequential(weight_norm(nn.Linear(6, 6)), nn.Linear(6, 6))
    assert [change.path for change in gradscope.apply_fix(model, "he-init").replaced] == ["1"]


def test_a_weight_that_two_layers_share_is_drawn_once():
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6))
    model[2].weight = model[0].weight
    applied = gradscope.apply_fix(model, "he-init")
    assert [change.path for change in applied.replaced] == ["0"]
    assert applied.model[2].weight is applied.model[0].weight
