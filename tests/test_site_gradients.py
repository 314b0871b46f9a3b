"""Gradients at a site are those that autograd has, of one operation or several, in place or not, wherever else z is used."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from gradscope.site_gradients import Gradients, combined, hook_before, hook_network, hook_output, measure
from gradscope.timing import Timed

BATCH, WIDTH = 5, 4


class Counted(Timed):
    """Counts the times that it is entered."""

    count = 0

    def __enter__(self):
        self.count += 1
        super().__enter__()


def gradients(*, has_members=False, timed=None):
    return Gradients(has_members, timed or Timed())


def pre_activation(leaf=False):
    return torch.randn(BATCH, WIDTH, requires_grad=True) if leaf else nn.Linear(WIDTH, WIDTH)(torch.randn(BATCH, WIDTH))


def looked_at(function, z, into):
    """Call `function` as a recorder does: both gradients at its node, or at the tensors."""
    made_z = z.grad_fn
    output = function(z)
    if not hook_output(output, z, made_z, into) and z is not output:
        hook_before(z, into)
    return output


def backward(loss, *into):
    loss.backward()


def by_hand(function, z, loss):
    """Norms of the gradients at output and z, z being used by the function alone."""
    apart = z.detach().clone().requires_grad_()
    output = function(apart.clone())
    held = output.detach().requires_grad_()
    loss(held).backward()
    output.backward(held.grad)
    return held.grad.norm().item(), apart.grad.norm().item()


def weighed(output):
    return (output * torch.arange(1.0, output.numel() + 1).view(output.shape)).sum()


@pytest.mark.parametrize("leaf", [False, True])
@pytest.mark.parametrize(
    "function",
    [
        torch.relu, torch.sigmoid, F.gelu, F.elu, F.softplus, F.softsign, F.hardswish,
        lambda z: z * torch.sigmoid(z),
    ],
)  # fmt: skip
def test_norms_are_those_of_autograds_gradients(function, leaf):
    z, into = pre_activation(leaf), gradients()
    wanted = by_hand(function, z, weighed)
    backward(weighed(looked_at(function, z, into)), into)
    assert (into.into_gate.item(), into.out_of_gate.item()) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("function", [torch.relu_, torch.sigmoid_, F.elu_, lambda z: F.silu(z, inplace=True)])
def test_in_place_they_are_the_same(function):
    z, into = pre_activation(), gradients()
    wanted = by_hand(function, z, weighed)
    output = looked_at(function, z, into)
    assert output is z
    backward(weighed(output), into)
    assert (into.into_gate.item(), into.out_of_gate.item()) == pytest.approx(wanted, rel=1e-5)
    assert not into.hooked_before


def test_of_a_z_that_feeds_others_too_only_the_gates_own_share_counts():
    z, into = pre_activation(), gradients()
    wanted = by_hand(torch.relu, z, weighed)
    backward(weighed(looked_at(torch.relu, z, into)) + 100 * z.square().sum(), into)
    assert into.out_of_gate.item() == pytest.approx(wanted[1], rel=1e-5)


def test_of_several_operations_all_that_reaches_z_counts():
    z, into = pre_activation(), gradients()
    backward(looked_at(F.softsign, z, into).sum(), into)
    assert into.hooked_before
    assert into.out_of_gate.item() > 0


def test_gradients_of_an_output_that_is_used_twice_are_one():
    z, into = pre_activation(), gradients()
    output = looked_at(torch.relu, z, into)
    backward(output.sum() + 2 * output.sum(), into)
    assert into.into_gate.item() == pytest.approx(3 * math.sqrt(BATCH * WIDTH))


def test_the_last_backward_counts():
    """A penalty on gradients comes before the loss."""
    z, into = pre_activation(), gradients()
    output = looked_at(torch.sigmoid, z, into)
    torch.autograd.grad(output.sum() * 50, z, create_graph=True)
    backward(output.sum(), into)
    assert into.into_gate.item() == pytest.approx(math.sqrt(BATCH * WIDTH))


def test_a_gradient_that_does_not_come_leaves_nothing():
    z, into = pre_activation(), gradients()
    looked_at(torch.relu, z, into)
    backward(z.sum(), into)
    assert (into.into_gate, into.out_of_gate) == (None, None)


def test_only_the_output_is_heard_where_z_needs_no_gradient():
    z, into = torch.randn(BATCH, 1), gradients()
    output = F.prelu(z, nn.Parameter(torch.tensor([0.1])))
    assert not hook_output(output, z, None, into)
    backward(output.sum(), into)
    assert into.into_gate.item() == pytest.approx(math.sqrt(BATCH))
    assert into.out_of_gate is None


def test_members_have_norms_of_their_own():
    z, into = torch.randn(3, BATCH, WIDTH, requires_grad=True), gradients(has_members=True)
    output = looked_at(torch.relu, z, into)
    backward((output * torch.tensor([1.0, 0.0, 5.0]).view(3, 1, 1)).sum(), into)
    assert into.into_gate.tolist() == pytest.approx([math.sqrt(BATCH * WIDTH) * factor for factor in (1, 0, 5)])
    assert into.out_of_gate.shape == (3,)
    assert into.out_of_gate.tolist() == pytest.approx(z.grad.flatten(1).norm(dim=1).tolist())


def test_the_networks_output_is_heard():
    output, into = nn.Linear(WIDTH, 2)(torch.randn(BATCH, WIDTH)), gradients()
    hook_network(output, into)
    backward(3 * output.sum(), into)
    assert into.into_gate.item() == pytest.approx(3 * math.sqrt(2 * BATCH))


@pytest.mark.parametrize("function", [torch.relu, F.softsign, torch.relu_])
@pytest.mark.parametrize("width", [WIDTH, 1000])
def test_looking_changes_no_gradient(function, width):
    z = torch.randn(BATCH, width)
    results = []
    for into in (None, gradients()):
        leaf = z.clone().requires_grad_()
        output = function(leaf * 1) if into is None else looked_at(function, leaf * 1, into)
        weighed(output).backward()
        results.append(leaf.grad)
    assert torch.equal(*results)


@pytest.mark.parametrize("function", [torch.sigmoid, F.softsign, torch.sigmoid_])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_every_precision_is_measured(function, dtype):
    timed = Counted()
    z, into = (torch.randn(BATCH, 50, requires_grad=True, dtype=dtype) * 1), gradients(timed=timed)
    z.retain_grad()
    held = z.detach().clone().requires_grad_()
    function(held.clone()).sum().backward()
    looked_at(function, z, into).sum().backward()
    assert timed.count
    assert into.into_gate.item() == pytest.approx(math.sqrt(BATCH * 50))
    assert into.out_of_gate.item() == pytest.approx(held.grad.double().norm().item(), rel=1e-6)


def test_gradients_that_autograd_adds_to_are_those_that_arrived():
    """Autograd adds gradients up in place where nobody else holds them."""
    z, into = pre_activation(), gradients()
    output = looked_at(F.softsign, z, into)
    backward(output.sum() + (output * 2).sum() + (output * 3).sum(), into)
    assert into.into_gate.item() == pytest.approx(6 * math.sqrt(BATCH * WIDTH))
    apart = z.detach().requires_grad_()
    (6 * F.softsign(apart)).sum().backward()
    assert into.out_of_gate.item() == pytest.approx(apart.grad.norm().item(), rel=1e-6)


def test_what_was_measured_holds_no_graph_and_no_gradient():
    z, into = torch.randn(BATCH, WIDTH, requires_grad=True) * 1, gradients()
    output = looked_at(torch.sigmoid, z, into)
    torch.autograd.grad(output.sum(), z, create_graph=True)
    for norm in (into.into_gate, into.out_of_gate):
        assert not norm.requires_grad
        assert norm.numel() == 1


@pytest.mark.parametrize("size", [1e-38, 1e-30, 1.0, 1e30])
def test_a_gradient_of_any_size_has_a_norm(size):
    gradient = torch.tensor([[3.0, 4.0], [0.0, 0.0]]) * size
    assert measure(gradient, False).item() == pytest.approx(5 * size, rel=1e-3, abs=0)
    assert measure(gradient, True).tolist() == [pytest.approx(5 * size, rel=1e-3, abs=0), 0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_does_not_overflow(dtype):
    assert measure(torch.full((10_000,), 1000.0, dtype=dtype), False).item() == pytest.approx(1e5, rel=1e-2)


def test_what_is_not_finite_shows():
    assert math.isnan(measure(torch.tensor([1.0, math.nan]), False).item())
    assert math.isinf(measure(torch.tensor([1.0, math.inf]), False).item())
    assert measure(torch.zeros(0, 3), False).item() == 0


# --- several passes ---


def norms(*values):
    return [torch.tensor(value, dtype=torch.float64) for value in values]


def test_no_pass_and_one_pass():
    assert combined([], drop_overflows=False) is None
    (one,) = norms(3.0)
    assert combined([one], drop_overflows=True) is one


@pytest.mark.parametrize("drop", [False, True])
def test_passes_add_up_as_one_vector(drop):
    assert combined(norms(3.0, 4.0, 12.0), drop_overflows=drop).item() == pytest.approx(13)
    per_member = [torch.tensor([3.0, 0.0]), torch.tensor([4.0, 2.0])]
    assert combined(per_member, drop_overflows=drop).tolist() == pytest.approx([5, 2])
    tiny = combined([torch.tensor(3e-30), torch.tensor(4e-30)], drop_overflows=drop)
    assert tiny.item() == pytest.approx(5e-30, rel=1e-4)


@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_overflows_are_left_out_where_others_are_finite(bad):
    assert combined(norms(3.0, bad, 4.0), drop_overflows=True).item() == pytest.approx(5)
    assert not math.isfinite(combined(norms(3.0, bad), drop_overflows=False).item())
    assert not math.isfinite(combined(norms(bad, bad), drop_overflows=True).item())
    per_member = [torch.tensor([3.0, bad, bad]), torch.tensor([bad, 4.0, bad])]
    got = combined(per_member, drop_overflows=True)
    assert got[:2].tolist() == pytest.approx([3, 4])
    assert not math.isfinite(got[2].item())
