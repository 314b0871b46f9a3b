"""Each member's gradient is clipped as torch clips that of a network alone, and recorded as it was before and after."""

import copy

import numpy as np
import pytest
import torch
from networks import class_data, member_weights, names, plain_twin, population, stack, train_alone
from torch import nn

from gradscope.member_clipping import clip_members
from gradscope.recipe import Training
from gradscope.schedule import every
from gradscope.training import Watching, task_of, train

ARMS = {
    "plain": stack(["relu", "tanh", "none"]),
    "published": stack(),
    "layernorm": stack(["relu", "tanh", "none"], norm="layernorm-all"),
    "batchnorm": stack(norm="batchnorm-last"),
    "prelu": stack(["prelu", "prelu", "none"]),
    "by units": stack([["relu", "prelu"], "gelu", "none"]),
}


class OneWeight(nn.Module):
    """An activation with weights of its own, one without an axis."""

    def __init__(self):
        super().__init__()
        self.beta, self.few = nn.Parameter(torch.tensor(1.5)), nn.Parameter(torch.ones(3))

    def forward(self, z):
        return z * torch.sigmoid(self.beta * z) * self.few.mean()


def with_gradients(scale=1.0):
    network = population(*ARMS.values(), stack(["test_member_clipping:OneWeight"] * 2 + ["none"]), allow_code=True).double()
    draw = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        parameter.grad = scale * torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
    return network


def of_member(network, i):
    """The gradients of one member, as those of a network alone."""
    found = []
    for parameter, rows in network.parameters_with_members():
        if i in rows:
            plain = nn.Parameter(torch.zeros(parameter.shape[1:] if len(rows) > 1 else parameter.shape))
            plain = plain.double().detach().requires_grad_()
            plain.grad = (parameter.grad[rows.index(i)] if len(rows) > 1 else parameter.grad).clone()
            found.append(plain)
    return found


@pytest.mark.parametrize("max_norm", [1e-3, 5.0, 12.0, 1e9])
def test_members_are_clipped_as_networks_alone(max_norm):
    network = with_gradients()
    alone = [of_member(network, i) for i in range(network.size)]
    norms = clip_members(network.parameters_with_members(), network.size, max_norm)
    for i, plain in enumerate(alone):
        torch.testing.assert_close(norms[i], nn.utils.clip_grad_norm_(plain, max_norm))
        for ours, theirs in zip(of_member(network, i), plain, strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-12, atol=0)
    assert len({round(float(norm), 6) for norm in norms}) == network.size


def test_every_parameter_belongs_to_its_members():
    network = with_gradients()
    listed = {id(parameter) for parameter, _ in network.parameters_with_members()}
    assert listed == {id(parameter) for parameter in network.parameters()}


@pytest.mark.parametrize("bad", [torch.inf, torch.nan])
def test_what_is_not_finite_stays_with_its_member(bad):
    network = with_gradients()
    network.layers[1].weight.grad[2, 0, 0] = bad
    alone = [of_member(network, i) for i in range(network.size)]
    clip_members(network.parameters_with_members(), network.size, 1.0)
    for i, plain in enumerate(alone):
        nn.utils.clip_grad_norm_(plain, 1.0)
        for ours, theirs in zip(of_member(network, i), plain, strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-12, atol=0, equal_nan=True)
            assert torch.isfinite(ours.grad).all() == (i != 2 or bad is torch.inf and not ours.grad.isnan().any())


def test_without_gradients_there_is_nothing_to_clip():
    network = population(stack())
    assert clip_members(network.parameters_with_members(), 1, 1.0).tolist() == [0.0]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_each_member_is_the_plain_network_trained_alone_with_clipping(optimizer):
    training = Training(optimizer=optimizer, lr=0.05, epochs=6, clip=0.2, weight_decay=0.01)
    data = class_data(dtype=torch.float64)
    network = population(*ARMS.values()).double()
    train(network, names(*ARMS), data, training, task_of(data, training))
    for i, (name, described) in enumerate(ARMS.items()):
        twin = plain_twin(described, 1).double()
        loose = copy.deepcopy(twin)
        train_alone(twin, data, training, 1, 30)
        train_alone(loose, data, training.model_copy(update={"clip": "none"}), 1, 30)
        weights = [module.weight for module in twin if isinstance(module, nn.Linear)]
        for (weight, _), plain in zip(member_weights(network, i), weights, strict=True):
            assert (weight - plain).abs().max() < 1e-8, name
        if optimizer == "sgd":  # adam divides by the gradients' size
            assert not torch.allclose(weights[0], loose[0].weight, atol=1e-4), name


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_looking_on_changes_no_bit_of_a_clipped_training(optimizer):
    training = Training(optimizer=optimizer, lr=0.05, epochs=4, clip=0.2, warmup=0.3)
    found = []
    for schedule in (lambda step: False, every(1), every(3)):
        network = population(*ARMS.values())
        data = class_data()
        train(network, names(*ARMS), data, training, task_of(data, training), Watching(schedule=schedule))
        found.append([parameter.detach() for parameter in network.parameters()])
    for weights in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], weights, strict=True))


@pytest.mark.parametrize("is_population", [True, False])
def test_gradients_are_recorded_before_and_after_clipping(is_population):
    data, found = class_data(), {}
    for clip in (0.2, "none"):
        network = population(ARMS["plain"]) if is_population else plain_twin(ARMS["plain"], 1)
        training = Training(lr=0.05, clip=clip)
        done = train(network, names("a"), data, training, task_of(data, training, 1), Watching(schedule=every(1)))
        found[clip] = done.traces[0]
    clipped, loose = found[0.2], found["none"]
    assert [site.name for site in clipped.sites] == [site.name for site in loose.sites], "clipping is no site"
    before = clipped.parameter_statistics["grad_rms_before_clipping"]
    np.testing.assert_allclose(before, loose.parameter_statistics["grad_rms"], rtol=1e-5)
    counts = np.array([p.numel() for p in plain_twin(ARMS["plain"], 1).parameters()])
    after = clipped.parameter_statistics["grad_rms"][0]
    assert float(np.sqrt((after**2 * counts).sum())) == pytest.approx(0.2, rel=1e-4)
    assert float(np.sqrt((before[0] ** 2 * counts).sum())) > 0.3
