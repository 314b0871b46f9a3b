"""Updates taken during the backward pass: torch's own SGD by another way, with or without someone looking on."""

import pytest
import torch
from networks import class_data, names, population, stack
from torch import nn

from gradscope.activations import TABLE
from gradscope.fused_update import LinearUpdate, linear_updates, updated_linear
from gradscope.recipe import Training
from gradscope.schedule import every
from gradscope.training import Watching, task_of, train

SETTINGS = [
    {"momentum": 0.0},
    {"momentum": 0.9},
    {"momentum": 0.0, "weight_decay": 0.1},
    {"momentum": 0.5, "weight_decay": 0.1},
]
NEEDS_VALUES = {"threshold": {"threshold": {"threshold": 0.1, "value": 0}}}
NOT_SMOOTH_ENOUGH = {"rrelu"}  # draws its slopes


def trained(described, training, *, seeds, schedule=every(7), dtype=torch.float64, plain=False, monkeypatch=None):
    """Train a population; `plain` by torch.optim alone."""
    network = population(*described, seeds=seeds).to(dtype)
    data = class_data(dtype=dtype)
    if plain:
        monkeypatch.setattr("gradscope.training.linear_updates", lambda layers, optimizer: [])
    done = train(
        network,
        names(*map(str, range(len(described))), seeds=seeds),
        data,
        training,
        task_of(data, training),
        Watching(schedule=schedule),
    )
    return [p.detach() for p in network.parameters()], done


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("seeds", [[1, 1, 1], [1, 2, 2]], ids=["one batch for all", "batches by seed"])
def test_the_way_is_another_but_the_weights_are_those_of_torchs_sgd(settings, seeds, monkeypatch):
    described = [stack(), stack(["tanh", "tanh", "none"]), stack(["relu", "selu", "none"], norm="batchnorm-all")]
    training = Training(lr=0.1, epochs=6, **settings)
    ours, _ = trained(described, training, seeds=seeds)
    theirs, _ = trained(described, training, seeds=seeds, plain=True, monkeypatch=monkeypatch)
    for got, wanted in zip(ours, theirs, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("activation", sorted(set(TABLE) - NOT_SMOOTH_ENOUGH))
@pytest.mark.parametrize("norm", ["none", "batchnorm-last", "layernorm-all"])
def test_every_activation_and_norm_comes_to_the_same_in_float32(activation, norm, monkeypatch):
    entry = NEEDS_VALUES.get(activation, activation)
    described = [stack([entry, entry, "none"], norm=norm), stack(["tanh", entry, "none"], norm=norm)]
    training = Training(lr=0.05, epochs=2)
    ours, _ = trained(described, training, seeds=[1, 1], dtype=torch.float32)
    theirs, _ = trained(described, training, seeds=[1, 1], dtype=torch.float32, plain=True, monkeypatch=monkeypatch)
    for got, wanted in zip(ours, theirs, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
@pytest.mark.parametrize("norm", ["none", "batchnorm-all"])
def test_looking_on_changes_no_bit(optimizer, norm):
    """Whichever steps are recorded."""
    described = [stack(norm=norm), stack(["prelu", "tanh", "relu"], norm=norm)]
    training = Training(optimizer=optimizer, lr=0.01, epochs=6)
    found = [
        trained(described, training, seeds=[3, 3], schedule=schedule, dtype=torch.float32)
        for schedule in (lambda step: False, every(1), every(3), lambda step: step == 0)
    ]
    first, _ = found[0]
    for weights, done in found[1:]:
        assert len(done.traces[0].steps) > 0
        assert all(torch.equal(a, b) for a, b in zip(first, weights, strict=True))
    assert len({tuple(done.traces[1].loss.tolist()) for _, done in found}) == 1


def test_recorded_gradients_are_those_of_the_plain_way(monkeypatch):
    training = Training(lr=0.1, epochs=2)
    _, ours = trained([stack()], training, seeds=[1], schedule=every(2))
    _, theirs = trained([stack()], training, seeds=[1], schedule=every(2), plain=True, monkeypatch=monkeypatch)
    for name in ("grad_rms", "grad_to_weight", "update_to_weight"):
        wanted = torch.tensor(theirs.traces[0].parameter_statistics[name])
        assert torch.isfinite(wanted).any()
        torch.testing.assert_close(
            torch.tensor(ours.traces[0].parameter_statistics[name]), wanted, rtol=1e-5, atol=0, equal_nan=True
        )


def layer(dtype=torch.float64):
    draw = torch.Generator().manual_seed(0)
    weight = nn.Parameter(torch.randn(2, 3, 5, generator=draw, dtype=dtype))
    bias = nn.Parameter(torch.randn(2, 3, generator=draw, dtype=dtype))
    return weight, bias, torch.randn(2, 7, 5, generator=draw, dtype=dtype)


@pytest.mark.parametrize("ways", [(0, 1, 0, 1), (1, 0, 0), (0, 0, 1, 1), (2, 0, 1, 2)])
def test_a_step_may_be_taken_either_way(ways):
    """0: on the way back, 1: by the optimizer, 2: held first, then taken."""
    weight, bias, x = layer()
    twin_weight, twin_bias, _ = layer()
    optimizer = torch.optim.SGD([weight, bias], lr=0.1, momentum=0.9, weight_decay=0.01)
    twin = torch.optim.SGD([twin_weight, twin_bias], lr=0.1, momentum=0.9, weight_decay=0.01)
    (update,) = linear_updates([(weight, bias)], optimizer)
    for way in ways:
        update.waits = way > 0
        optimizer.zero_grad()
        z = updated_linear(x, update) if way != 1 else torch.baddbmm(bias.unsqueeze(1), x, weight.mT)
        z.square().sum().backward()
        if way == 1:
            optimizer.step()
        elif way == 2:
            assert weight.grad is not None
            update.take_held()
        assert (weight.grad is None) == (way != 1)
        twin.zero_grad()
        torch.baddbmm(twin_bias.unsqueeze(1), x, twin_weight.mT).square().sum().backward()
        twin.step()
        torch.testing.assert_close(weight, twin_weight, rtol=1e-12, atol=0)
        torch.testing.assert_close(bias, twin_bias, rtol=1e-12, atol=0)


def test_the_gradient_at_the_input_is_that_of_the_weights_before_the_update():
    weight, bias, x = layer()
    before = weight.detach().clone()
    update = LinearUpdate(weight, bias, torch.optim.SGD([weight, bias], lr=1.0))
    x.requires_grad_()
    z = updated_linear(x, update)
    z.backward(torch.ones_like(z))
    torch.testing.assert_close(x.grad, torch.ones_like(z) @ before)
    assert not torch.equal(weight, before)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.Adam(p),
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.1),
        lambda p: torch.optim.SGD(p, lr=0.1, maximize=True),
        lambda p: torch.optim.SGD([{"params": p[:1]}, {"params": p[1:], "lr": 0.2}], lr=0.1),
    ],
)
def test_other_optimizers_than_plain_sgd_take_their_steps_themselves(make):
    weight, bias, _ = layer()
    assert linear_updates([(weight, bias)], make([weight, bias])) == []
