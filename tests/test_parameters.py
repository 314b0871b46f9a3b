"""Parameters member by member, and the size of an optimizer's step against what the weights really moved."""

import pytest
import torch
from networks import INPUTS, OUTPUTS, population, stack
from torch import nn

from gradscope.parameter_sums import ALL, ParameterSums, place_of
from gradscope.parameters import groups_of, member_parameters, wants_copy


def moved_in_a_step(network, optimizer):
    """Make a step; return what was taken for it, and what the weights really moved, by parameter: [row] each."""
    parameters = member_parameters(network)
    members = network.size if hasattr(network, "size") else 1
    left_over = [i for i, p in enumerate(parameters) if id(p.parameter) not in groups_of(optimizer)]
    sums = ParameterSums(parameters, members, left_over)
    sums.begin()
    with torch.no_grad():
        before = [p.values.clone() for p in parameters]
        sums.take_gradients(optimizer, looks_at_signs=False)
    optimizer.step()
    with torch.no_grad():
        sums.take_updates(optimizer)
        moved = [(p.values - old).flatten(1).norm(dim=1) if old.dim() > 1 else (p.values - old).abs()
                 for p, old in zip(parameters, before, strict=True)]  # fmt: skip
    together = sums.found.get((ALL, "update_norm"))
    taken = []
    for i, parameter in enumerate(parameters):
        value = sums.found[place_of(i), "update_norm"] if together is None else together[i]
        taken.append(value.reshape(-1)[list(parameter.rows) if value.dim() else [0]])
    return taken, moved


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
        for got, wanted in zip(*moved_in_a_step(network, steps), strict=True):
            assert torch.allclose(got, wanted, rtol=1e-9, atol=1e-14)
        steps.zero_grad()


def test_groups_have_learning_rates_of_their_own():
    network = plain()
    optimizer = SGD(
        [{"params": network[0].parameters()}, {"params": network[2].parameters(), "lr": 1.0}], lr=0.01, momentum=0.5
    )
    network(torch.randn(9, INPUTS)).sum().backward()
    for got, wanted in zip(*moved_in_a_step(network, optimizer), strict=True):
        assert torch.allclose(got, wanted, rtol=1e-4)


def test_a_parameter_that_the_optimizer_does_not_hold_has_not_moved():
    network = plain()
    optimizer = SGD(network[2].parameters(), lr=0.1, momentum=0.9)
    network(torch.randn(9, INPUTS)).sum().backward()
    assert moved_in_a_step(network, optimizer)[0][0].tolist() == [0.0]
    assert len(optimizer.state_dict()["state"]) == 2  # asking left no entry behind
