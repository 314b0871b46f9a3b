"""Mean and spread of what networks are fed, alone and in populations."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import gradscope
from gradscope.network_input import MOST_LOOKS, NetworkInput

MEAN, DEVIATION = ("", "input_mean"), ("", "input_std")


def looked(tensor, members=1, *, has_members=False):
    looker = NetworkInput(members, has_members=has_members)
    looker.begin()
    looker.look(tensor)
    return looker.found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_one_network_has_one_number_of_each(dtype):
    x = (5 + 3 * torch.randn(64, 3, 8, 8)).to(dtype)
    found = looked(x)
    values = x.double().numpy()
    np.testing.assert_allclose(found[MEAN].item(), values.mean(), rtol=1e-5)
    np.testing.assert_allclose(found[DEVIATION].item(), values.std(), rtol=1e-5)
    assert found[MEAN].shape == ()


def test_a_population_has_one_for_each_member():
    x = torch.randn(4, 16, 3) * torch.tensor([1.0, 10.0, 100.0, 0.0]).view(4, 1, 1)
    found = looked(x, 4, has_members=True)
    np.testing.assert_allclose(found[DEVIATION], x.double().flatten(1).std(dim=1, correction=0), rtol=1e-5)
    shared = looked(x[1], 4, has_members=True)
    np.testing.assert_allclose(shared[MEAN], [x[1].mean()] * 4, rtol=1e-5)


@pytest.mark.parametrize("x", [torch.ones(4, 3, dtype=torch.long), torch.ones(4, 3, dtype=torch.bool), torch.empty(0, 3)])
def test_what_has_no_scale_is_passed_over(x):
    assert looked(x) == {}


def watched(model, batches):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with gradscope.watch(model, optimizer, on_finding="ignore") as scope:
        for x in batches:
            model(x).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    return scope.trace.network_statistics


def test_the_first_records_tell_and_the_later_ones_cost_nothing():
    batches = [torch.randn(32, 4) * 7 + 2 for _ in range(MOST_LOOKS + 3)]
    found = watched(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1)), batches)
    seen = [math.nan if step >= MOST_LOOKS else batches[step].double().mean().item() for step in range(len(batches))]
    np.testing.assert_allclose(found["input_mean"], seen, rtol=1e-4)


def test_words_leave_no_number():
    model = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    assert np.isnan(watched(model, [torch.randint(10, (8, 3))] * 3)["input_std"]).all()


def test_samples_that_vmap_maps_over_are_one_batch():
    found = {}

    def one(x):
        found.update(looked(x))
        return x.sum()

    x = 5 + 3 * torch.randn(16, 4)
    torch.func.vmap(one)(x)
    np.testing.assert_allclose(found[MEAN].numpy(), x.mean(), rtol=1e-5)
    np.testing.assert_allclose(found[DEVIATION].numpy(), x.std(correction=0), rtol=1e-5)
