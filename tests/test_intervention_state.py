"""A state given to copies: what they do from there on is what the original does."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from networks import class_data, names, population, stack

from gradscope.elementwise import build_activation
from gradscope.intervention_state import draw_again, state_of
from gradscope.recipe import Training
from gradscope.training import Begin, Watching, make_optimizer, task_of, train

NEVER = Watching(schedule=lambda step: False)


def build(spec):
    return build_activation(spec, allow_code=False)


def trained(network, members, training, begin, end):
    data = class_data()
    task = replace(task_of(data, training), planned_steps=end)
    return train(network, members, data, training, task, NEVER, begin=begin).traces


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
@pytest.mark.parametrize(
    ("norm", "activations"), [("none", ("relu", "prelu", "none")), ("batchnorm-all", ("tanh", "relu", "none"))]
)
def test_copies_go_on_as_the_original_does(optimizer, norm, activations):
    training = Training(optimizer=optimizer, lr=0.02, batch_size=32, epochs=5)
    described = stack(activations, norm=norm)
    seeds = [3, 4]
    whole = trained(population(described, described, seeds=seeds), names("a", "a", seeds=seeds), training, None, 13)

    held = []
    original = population(described, described, seeds=seeds)
    trained(original, names("a", "a", seeds=seeds), training, Begin(ready=held.append), 7)
    state = state_of(original, held[0], 7)
    copies = population(*[described] * 6, seeds=seeds * 3)
    begin = Begin(7, lambda optimizer: state.give(copies, optimizer))
    going_on = trained(copies, names(*"aabbcc", seeds=seeds * 3), training, begin, 13)
    for i, trace in enumerate(going_on):
        expected = whole[i % 2].loss[7:]
        np.testing.assert_allclose(trace.loss[7:], expected, rtol=1e-4)
        assert (expected > 0).all()
        if optimizer == "sgd" and norm == "none":  # kernels over all members at once round by where a value lies
            assert trace.loss[7:].tolist() == expected.tolist()


def test_a_state_is_a_copy():
    training = Training(lr=0.1)
    network = population(stack())
    optimizer = make_optimizer(network, training)
    state = state_of(network, optimizer, 0)
    before = network.layers[0].weight.detach().clone()
    with torch.no_grad():
        network.layers[0].weight.zero_()
    state.give(network, optimizer)
    assert torch.equal(network.layers[0].weight, before)


def fresh(described, layer, rows=range(1, 2), seeds=(1, 1), optimizer="sgd"):
    network = population(*[described] * len(seeds), seeds=list(seeds))
    made = make_optimizer(network, Training(optimizer=optimizer, lr=0.1))
    network(torch.randn(10, 6)).sum().backward()
    made.step()
    before = [value.detach().clone() for value in network.state_dict().values()]
    draw_again(network, made, layer, described, names("a", "b", seeds=list(seeds)), rows, build, torch.full((len(seeds),), 3.0))
    return network, made, dict(zip(network.state_dict(), before, strict=True))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_drawing_again_touches_one_layer_of_the_members_meant_and_forgets_what_drove_it(optimizer):
    network, made, before = fresh(stack(norm="batchnorm-all"), 1, optimizer=optimizer)
    for name, value in network.state_dict().items():
        other, meant = torch.equal(value[0], before[name][0]), torch.equal(value[1], before[name][1])
        assert other, name
        assert meant == ("layers.1" not in name), name
    layer = network.layers[1]
    assert torch.equal(layer.norms[0].weight[1], torch.ones(7))
    assert torch.equal(layer.norms[0].running_mean[1], torch.zeros(7))
    for parameter in (layer.weight, layer.bias, layer.norms[0].weight, layer.norms[0].bias):
        kept = [value for value in made.state[parameter].values() if torch.is_tensor(value) and value.dim()]
        assert kept
        assert all((value[1] == 0).all() and (value[0] != 0).any() for value in kept)


@pytest.mark.parametrize("init", ["default", "xavier-normal", "matched-normal", {"std": 3}])
def test_a_new_draw_is_of_the_recipes_kind(init):
    described = stack(("relu", "sigmoid", "relu"), hidden=(60, 80), init=init)
    network, _, before = fresh(described, 1)
    new, old = network.layers[1].weight[1].detach(), population(described).layers[1].weight[0].detach()
    assert not torch.equal(new, old)
    assert float(new.std() / old.std()) == pytest.approx(1, rel=0.05)


def test_weights_of_lsuv_have_the_size_of_those_before_all_training_whatever_became_of_them():
    network, *_ = fresh(stack(init="lsuv"), 1, rows=range(2), seeds=(1, 2))
    assert network.layers[1].weight.flatten(1).norm(dim=1).tolist() == pytest.approx([3.0, 3.0])


def test_norms_are_drawn_again_where_the_recipe_draws_them():
    network, _, before = fresh(stack(norm="batchnorm-all", norm_weight="uniform"), 1)
    (norm,) = network.layers[1].norms
    assert 0 < norm.weight[1].std() < 1
    assert not torch.equal(norm.weight[1], before["layers.1.norms.0.weight"][1])
    drawn = population(stack(norm="batchnorm-all", norm_weight="uniform")).layers[1].norms[0].weight[0]
    assert not torch.equal(norm.weight[1], drawn)


def test_two_seeds_do_not_draw_the_same():
    network, *_ = fresh(stack(), 1, rows=range(2), seeds=(1, 2))
    assert not torch.equal(network.layers[1].weight[0], network.layers[1].weight[1])
