"""Parameters member by member, and the size of an optimizer's step against what the weights really moved."""

import pytest
import torch
from networks import INPUTS, OUTPUTS, population, stack
from torch import nn

from gradscope.parameters import member_parameters, update_norm, wants_copy


def plain():
    return nn.Sequential(nn.Linear(INPUTS, 8), nn.PReLU(), nn.Linear(8, OUTPUTS))


def mixed():
    return population(
        stack(norm="batchnorm-all"), stack(), stack(["prelu", "relu", "none"], norm="layernorm-all"), seeds=[1, 2, 3]
    )


SGD = torch.optim.SGD
OPTIMIZERS = {
    "sgd": (lambda p: SGD(p, lr=0.1), True),
    "momentum": (lambda p: SGD(p, lr=0.1, momentum=0.9), False),
    "dampening": (lambda p: SGD(p, lr=0.1, momentum=0.9, dampening=0.5), False),
    "maximize": (lambda p: SGD(p, lr=0.1, momentum=0.9, maximize=True), False),
    "weight decay": (lambda p: SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1), False),
    "foreach": (lambda p: SGD(p, lr=0.1, momentum=0.9, foreach=True), False),
    "fused": (lambda p: SGD(p, lr=0.1, momentum=0.9, fused=True), False),
    "tensor lr": (lambda p: SGD(p, lr=torch.tensor(0.1), momentum=0.9), False),
    "nesterov": (lambda p: SGD(p, lr=0.1, momentum=0.9, nesterov=True), True),
    "adam": (lambda p: torch.optim.Adam(p, lr=0.1), True),
    "rmsprop": (lambda p: torch.optim.RMSprop(p, lr=0.1, momentum=0.9), True),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("make", [plain, mixed])
def test_the_step_is_what_the_weights_moved(make, optimizer):
    network = make().double()
    build, copied = OPTIMIZERS[optimizer]
    steps = build(network.parameters())
    assert wants_copy(steps) == copied
    for _ in range(4):
        network(torch.randn(20, INPUTS, dtype=torch.float64)).square().mean().backward()
        before = [p.values.clone() for p in member_parameters(network)]
        steps.step()
        for parameter, old in zip(member_parameters(network), before, strict=True):
            got = update_norm(parameter, steps, old if copied else None)
            wanted = (parameter.values - old).flatten(1).norm(dim=1) if old.dim() > 1 else (parameter.values - old).abs()
            assert torch.allclose(got, wanted, rtol=1e-9, atol=1e-14), parameter.name
        steps.zero_grad()


def test_groups_have_learning_rates_of_their_own():
    network = plain()
    optimizer = SGD(
        [{"params": network[0].parameters()}, {"params": network[2].parameters(), "lr": 1.0}], lr=0.01, momentum=0.5
    )
    network(torch.randn(9, INPUTS)).sum().backward()
    before = [p.values.clone() for p in member_parameters(network)]
    optimizer.step()
    for parameter, old in zip(member_parameters(network), before, strict=True):
        moved = (parameter.values - old).flatten(1).norm(dim=1)
        assert torch.allclose(update_norm(parameter, optimizer, None), moved, rtol=1e-4)


def test_a_parameter_that_the_optimizer_does_not_hold_has_not_moved():
    network = plain()
    optimizer = SGD(network[2].parameters(), lr=0.1, momentum=0.9)
    network(torch.randn(9, INPUTS)).sum().backward()
    optimizer.step()
    assert update_norm(member_parameters(network)[0], optimizer, None).tolist() == [0.0]
    assert len(optimizer.state_dict()["state"]) == 2  # asking left no entry behind


def test_values_and_gradients_have_a_member_axis_and_share_memory():
    network = plain()
    network(torch.randn(9, INPUTS)).sum().backward()
    weight = member_parameters(network)[0]
    assert (weight.name, weight.values.shape, weight.gradient.shape) == ("0.weight", (1, 8, INPUTS), (1, 8, INPUTS))
    assert weight.values.data_ptr() == network[0].weight.data_ptr()
    network.zero_grad()
    assert member_parameters(network)[0].gradient is None


def test_names_and_members_of_a_population():
    found = [(p.name, p.rows) for p in member_parameters(mixed()) if p.name.startswith("1.")]
    assert found == [
        ("1.weight", (0, 1, 2)),
        ("1.bias", (0, 1, 2)),
        ("1.norm.weight", (0,)),
        ("1.norm.bias", (0,)),
        ("1.norm.weight", (2,)),
        ("1.norm.bias", (2,)),
        ("1.activation.0.weight", (2,)),
    ]


def test_spread_puts_rows_in_their_places():
    prelu = [p for p in member_parameters(mixed()) if "activation" in p.name][0]
    spread = prelu.spread(torch.tensor([5.0]), 3)
    assert spread[2] == 5
    assert torch.isnan(spread[:2]).all()


def test_sparse_gradients_are_left_out():
    network = nn.Sequential(nn.Embedding(10, 4, sparse=True), nn.ReLU())
    network(torch.tensor([1, 2])).sum().backward()
    assert member_parameters(network)[0].gradient is None
