"""Which sites feed which, read from the graphs of networks whose paths part and meet."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import gradscope
from gradscope.site_edges import site_edges


class Net(nn.Module):
    """Four linear layers of one width, joined by the test."""

    def __init__(self, join):
        super().__init__()
        self.layers, self.join = nn.ModuleList(nn.Linear(6, 6) for _ in range(4)), join

    def forward(self, x):
        return self.join(*self.layers, x)


def chain(a, b, c, d, x):
    return d(F.relu(c(F.relu(b(F.relu(a(x)))))))


def residual(a, b, c, d, x):
    x = F.relu(a(x))
    x = x + F.relu(b(x))
    return d(F.relu(c(x)))


def towers(a, b, c, d, x):
    return d(F.relu(a(x)) + F.relu(c(F.relu(b(x)))))


def identity_between(a, b, c, d, x):
    return d(F.relu(c(F.leaky_relu(b(F.relu(a(x))), 1.0))))


def detached(a, b, c, d, x):
    return d(F.relu(c(F.relu(b(F.relu(a(x)))).detach())))


def again(a, b, c, d, x):
    for _ in range(3):
        x = F.relu(a(x))
    return d(x)


def feeds(model, steps=1, calls=1):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    with gradscope.watch(model, optimizer, on_finding="ignore") as scope:
        for _ in range(steps):
            x = torch.randn(8, 6)
            for _ in range(calls):
                x = model(x)
            x.square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    return [site.feeds for site in scope.trace.sites]


@pytest.mark.parametrize(
    ("join", "expected"),
    [
        (chain, [(1,), (2,), ()]),
        (residual, [(1, 2), (2,), ()]),
        (towers, [(), (2,), ()]),
        (identity_between, [(1,), ()]),
        (detached, [(1,), (), ()]),
        (again, [(1,), (2,), ()]),
    ],
)
def test_the_real_paths_are_read(join, expected):
    assert feeds(Net(join)) == expected


def test_later_steps_change_nothing():
    assert feeds(Net(residual), steps=6) == [(1, 2), (2,), ()]


def test_a_network_fed_with_its_own_output_does_not_lead_to_itself():
    for i, fed in enumerate(feeds(Net(chain), calls=2)):
        assert all(j > i for j in fed)


def test_a_part_that_is_computed_again_leaves_the_order_of_calls():
    def checkpointed(a, b, c, d, x):
        return d(F.relu(torch.utils.checkpoint.checkpoint(lambda y: c(F.relu(b(y))), F.relu(a(x)), use_reentrant=False)))

    assert feeds(Net(checkpointed)) in ([None] * 3, [(1,), (2,), ()])


def test_a_deep_network_with_a_trunk_is_read_in_one_walk():
    """Each of n blocks feeds all later ones past the trunk: n**2 / 2 edges, from a walk over each node once."""
    x = trunk = torch.randn(2, 3, requires_grad=True)
    sites = {}
    for i in range(300):
        branch = F.relu(trunk * 2)
        sites[branch.grad_fn] = f"{i}"
        trunk = trunk + branch
    found = site_edges([trunk.sum().grad_fn], sites)
    assert found["0"] == {f"{i}" for i in range(1, 300)}
    assert found["299"] == set()
    assert x.grad is None
