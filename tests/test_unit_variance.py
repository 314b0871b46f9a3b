"""LSUV against the paper's algorithm on plain networks in float64."""

import pytest
import torch
from networks import INPUTS, class_data, member_weights, plain_twin, population, stack
from torch import nn

from gradscope.arms import ArmPlan, build_network, pack
from gradscope.recipe import build_recipe
from gradscope.unit_variance import SAMPLES, chosen, scale_to_unit_variance

ARMS = {
    "relu": stack(["relu", "relu", "none"], init="lsuv"),
    "published": stack(init="lsuv"),
    "default": stack(),
    "batchnorm": stack(["sigmoid", "tanh", "relu"], init="lsuv", norm="batchnorm-all"),
    "orthogonal": stack(init="orthogonal"),
    "layernorm": stack(["sigmoid", ["tanh", "relu"], "relu"], init="lsuv", norm="layernorm-all"),
}
X = class_data(dtype=torch.float64).x_train


def scaled(seeds=None):
    network = population(*ARMS.values(), seeds=seeds).double()
    scale_to_unit_variance(network, X)
    return network


def by_the_paper(network, x):
    """Algorithm 1: divide each layer's weights by the deviation of its outputs until that is 1; layer by layer."""
    with torch.no_grad():
        for module in network:
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
                while (module(x).var(correction=0) - 1).abs() > 1e-12:
                    module.weight /= module(x).std(correction=0)
            x = module(x)


def test_weights_are_those_of_the_paper_s_algorithm():
    network = scaled()
    orthogonal = population(*[arm.model_copy(update={"init": "orthogonal"}) for arm in ARMS.values()]).double()
    for i, described in enumerate(ARMS.values()):
        if described.init != "lsuv":
            continue
        twin = plain_twin(described, 1).double()
        linears = [module for module in twin if isinstance(module, nn.Linear)]
        for linear, (weight, _) in zip(linears, member_weights(orthogonal, i), strict=True):
            linear.weight.data = weight.clone()
        by_the_paper(twin, X[chosen(1, len(X))])
        for linear, (weight, bias) in zip(linears, member_weights(network, i), strict=True):
            torch.testing.assert_close(weight, linear.weight.detach(), rtol=1e-9, atol=1e-12)
            assert not bias.any()


def test_all_else_stays_as_it_is():
    network = scaled()
    for i, described in enumerate(ARMS.values()):
        if described.init != "lsuv":
            plain = population(described).double()
            for (weight, bias), (own, own_bias) in zip(member_weights(network, i), member_weights(plain, 0), strict=True):
                assert torch.equal(weight, own)
                assert torch.equal(bias, own_bias)
    for layer in network.layers:
        norms = [norm for norm in layer.norms if norm.kind == "batchnorm"]
        assert norms
        assert not any(norm.running_mean.any() or (norm.running_var != 1).any() for norm in norms)
    assert all(module.training for module in network.modules())


def test_the_global_random_state_is_left_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    scaled()
    assert torch.equal(torch.get_rng_state(), before)


def test_members_do_not_depend_on_who_stands_beside_them():
    network = scaled(seeds=[3] * len(ARMS))
    alone = population(ARMS["published"], seeds=[3]).double()
    scale_to_unit_variance(alone, X)
    for (weight, _), (own, _) in zip(member_weights(network, 1), member_weights(alone, 0), strict=True):
        torch.testing.assert_close(weight, own, rtol=1e-12, atol=0)


@pytest.mark.parametrize("x", [torch.zeros(5, INPUTS), torch.full((5, INPUTS), torch.nan)])
def test_a_layer_without_variance_is_left_as_it_is(x):
    network = population(ARMS["relu"])
    before = [weight.clone() for weight, _ in member_weights(network, 0)]
    scale_to_unit_variance(network, x)
    assert all(torch.equal(a, b) for a, (b, _) in zip(before, member_weights(network, 0), strict=True))


def test_each_seed_looks_at_samples_of_its_own():
    assert sorted(chosen(1, 7).tolist()) == list(range(7))
    assert len(chosen(1, 10_000)) == SAMPLES == len(set(chosen(1, 10_000).tolist()))
    assert chosen(1, 10_000).tolist() != chosen(2, 10_000).tolist()


def test_a_recipe_s_networks_begin_with_it():
    raw = {"name": "a", "data": "digits", "stack": {"hidden": [9], "activations": ["sigmoid", "none"], "init": "lsuv"}}
    recipe, data = build_recipe(raw), class_data()
    network = build_network(pack([ArmPlan("control", recipe, (1, 2))])[0], data, torch.device("cpu"), allow_code=False)
    z = torch.baddbmm(network.layers[0].bias.unsqueeze(1), data.x_train.expand(2, -1, -1), network.layers[0].weight.mT)
    assert z.var(dim=(1, 2)).tolist() == pytest.approx([1.0, 1.0], rel=0.1)
