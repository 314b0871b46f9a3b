"""The learning rate of each step: torch's own linear warm-up, for whoever takes the steps."""

import pytest
import torch
from networks import class_data, member_weights, names, plain_twin, population, stack, train_alone
from torch import nn

from gradscope.fused_update import linear_updates
from gradscope.learning_rate import set_learning_rate, warmed_up
from gradscope.recipe import Training
from gradscope.training import task_of, train


@pytest.mark.parametrize("steps", [1, 2, 7, 40])
def test_it_rises_as_torchs_linear_schedule(steps):
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1 / steps, total_iters=steps - 1)
    for step in range(steps + 5):
        assert warmed_up(0.3, step, steps) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()


def test_without_warm_up_it_is_what_it_is():
    assert [warmed_up(0.3, step, 0) for step in range(3)] == [0.3] * 3


def test_optimizer_and_updates_are_told():
    weight, bias = nn.Parameter(torch.ones(1, 2, 3)), nn.Parameter(torch.ones(1, 3))
    optimizer = torch.optim.SGD([weight, bias], lr=0.3)
    updates = linear_updates([(weight, bias)], optimizer)
    set_learning_rate(optimizer, updates, 0.1)
    assert (optimizer.param_groups[0]["lr"], updates[0].lr) == (0.1, 0.1)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop"])
@pytest.mark.parametrize("epochs", [4, 1])
def test_networks_that_warm_up_are_plain_ones_under_torchs_schedule(optimizer, epochs):
    training = Training(optimizer=optimizer, lr=0.02, warmup=0.6, epochs=epochs)
    data = class_data(dtype=torch.float64)
    described = [stack(), stack(["tanh", "prelu", "none"], norm="layernorm-all")]
    network = population(*described, seeds=[1, 2]).double()
    train(network, names("a", "b", seeds=[1, 2]), data, training, task_of(data, training))
    for i, seed in enumerate([1, 2]):
        twin = plain_twin(described[i], seed).double()
        train_alone(twin, data, training, seed, 5 * epochs)
        weights = [module.weight for module in twin if isinstance(module, nn.Linear)]
        for (weight, _), plain in zip(member_weights(network, i), weights, strict=True):
            torch.testing.assert_close(weight, plain, rtol=0, atol=1e-10)


def test_a_training_cut_short_takes_the_steps_of_a_whole_one():
    training = Training(lr=0.1, warmup=0.5, epochs=4)
    data, found = class_data(), []
    for steps in (6, None):
        done = train(population(stack()), names("a"), data, training, task_of(data, training, steps))
        found.append(done.traces[0].loss[:6].tolist())
    assert found[0] == found[1]


def test_a_user_s_own_model_warms_up_too():
    training, data = Training(lr=0.1, warmup=1.0, epochs=2), class_data()
    model, twin = (plain_twin(stack(), 1) for _ in range(2))
    train(model, names("a"), data, training, task_of(data, training))
    train_alone(twin, data, training, 1, 10)
    for ours, plain in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-7)
