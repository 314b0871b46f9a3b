"""Each intervention against its formula in float64, on a population in which all other members stay what they are."""

import numpy as np
import pytest
import torch
from networks import population, stack

from gradscope.elementwise import build_activation
from gradscope.intervention_plan import PLACEBO, Arm
from gradscope.interventions import EPS, centred, intervene, open_gate, rescaled
from gradscope.unit_gates import Gates

SEEDS = 2
ARMS = [PLACEBO, Arm("centre z", (1,)), Arm("centre input", (1,)), Arm("open gate", (1,)), Arm("rescale z", (1,))]


@pytest.fixture
def z():
    draw = torch.Generator().manual_seed(3)
    return torch.randn(2, 30, 5, generator=draw, dtype=torch.float64) * 3 + 2


def build(spec):
    return build_activation(spec, allow_code=False)


def numeric_gradient(function, z, weights):
    """The gradient of sum(weights * function(z)) by central differences."""
    found, step = np.zeros(z.shape), 1e-6
    for place in np.ndindex(*z.shape):
        up, down = z.copy(), z.copy()
        up[place] += step
        down[place] -= step
        found[place] = (weights * (function(up) - function(down))).sum() / (2 * step)
    return found


def numpy_centred(z):
    return z - z.mean(axis=1, keepdims=True)


def numpy_rescaled(z):
    return z / np.sqrt(z.var(axis=1, keepdims=True) + EPS)


@pytest.mark.parametrize(("function", "formula"), [(centred, numpy_centred), (rescaled, numpy_rescaled)])
def test_the_forward_changes_follow_their_formulas_and_so_do_their_gradients(z, function, formula):
    np.testing.assert_allclose(function(z).numpy(), formula(z.numpy()), rtol=1e-12)
    small = z[:1, :6, :2].clone().requires_grad_()
    weights = torch.linspace(-1, 2, small.numel(), dtype=torch.float64).view_as(small)
    (function(small) * weights).sum().backward()
    numeric = numeric_gradient(formula, small.detach().numpy(), weights.numpy())
    np.testing.assert_allclose(small.grad.numpy(), numeric, atol=1e-7)


def test_rescaling_keeps_every_sign_and_makes_the_variance_one(z):
    assert torch.equal(rescaled(z).sign(), z.sign())
    torch.testing.assert_close(rescaled(z).var(dim=1, correction=0), torch.ones(2, 5, dtype=torch.float64), atol=1e-4, rtol=0)


def test_a_unit_that_never_varies_is_left_finite():
    constant = torch.full((1, 4, 1), 7.0, requires_grad=True)
    out = rescaled(constant)
    out.sum().backward()
    assert torch.isfinite(out).all()
    assert torch.isfinite(constant.grad).all()


def test_an_open_gate_changes_no_bit_forward_and_passes_the_gradient_by_its_largest_slope(z):
    given = z.requires_grad_()
    slopes = torch.tensor([1.0, 1.0, 1.0, 0.25, 0.25], dtype=torch.float64)
    a = open_gate(given, torch.relu(given), [1], slopes)
    assert torch.equal(a, torch.relu(z))
    weights = torch.linspace(-1, 2, z.numel(), dtype=torch.float64).view_as(z)
    (a * weights).sum().backward()
    assert torch.equal(given.grad[1], weights[1] * slopes)
    assert torch.equal(given.grad[0], weights[0] * (z[0] > 0))


def test_a_member_that_is_not_opened_keeps_what_its_own_slope_makes_of_an_infinite_gradient():
    given = torch.tensor([[[1.0]], [[1.0]]], requires_grad=True)
    open_gate(given, torch.relu(given), [1], torch.ones(1)).backward(torch.tensor([[[1.0]], [[torch.inf]]]))
    assert given.grad.flatten().tolist() == [1.0, torch.inf]


def gates_of(network):
    described = network.members[0].stack
    widths = [layer.bias.shape[1] for layer in network.layers]
    return [
        Gates.of(layer.resolve(width), build, torch.device("cpu"))
        for layer, width in zip(described.layers, widths, strict=True)
    ]


def changed_population(activations=("tanh", "sigmoid", "relu"), norm="none"):
    described = stack(activations, norm=norm)
    rows = {arm: range(k * SEEDS, (k + 1) * SEEDS) for k, arm in enumerate(ARMS)}
    seeds = [1, 2] * len(ARMS)
    untouched = population(*[described] * len(seeds), seeds=seeds)
    changed = population(*[described] * len(seeds), seeds=seeds)
    return untouched, changed, rows


@pytest.mark.parametrize("second", ["sigmoid", "prelu", ["relu", "tanh"]])
def test_only_the_members_that_are_meant_are_changed(second):
    untouched, changed, rows = changed_population(("tanh", second, "relu"))
    hooks = intervene(changed, rows, gates_of(changed))
    x = torch.randn(20, 6)
    before, after = untouched(x), changed(x)
    for arm, own in rows.items():
        same = torch.equal(before[own.start : own.stop], after[own.start : own.stop])
        assert same == (arm.kind in ("placebo", "open gate")), arm
    before.sum().backward()
    after.sum().backward()
    first = [network.layers[0].weight.grad for network in (untouched, changed)]
    assert torch.equal(first[0][:SEEDS], first[1][:SEEDS])
    assert not torch.equal(first[0][rows[Arm("open gate", (1,))]], first[1][rows[Arm("open gate", (1,))]])
    for hook in hooks:
        hook.remove()


def test_members_get_what_their_arm_says():
    untouched, changed, rows = changed_population()
    seen = {}
    layer = untouched.layers[1]
    x = torch.randn(20, 6)
    first = untouched.layers[0](x.expand(untouched.size, *x.shape))
    z = torch.baddbmm(layer.bias.unsqueeze(1), first, layer.weight.mT)
    hooks = intervene(changed, rows, gates_of(changed))
    hooks.append(changed.layers[1].activation.register_forward_pre_hook(lambda module, args: seen.update(z=args[0].detach())))
    changed(x)
    own = {arm.kind: slice(of.start, of.stop) for arm, of in rows.items()}
    torch.testing.assert_close(seen["z"][own["centre z"]], centred(z[own["centre z"]]))
    torch.testing.assert_close(seen["z"][own["rescale z"]], rescaled(z[own["rescale z"]]))
    bias = layer.bias.detach()[own["centre input"]].unsqueeze(1)
    torch.testing.assert_close(seen["z"][own["centre input"]], centred(z[own["centre input"]]) + bias, atol=1e-5, rtol=1e-5)
    for hook in hooks:
        hook.remove()


def test_several_layers_are_changed_at_once():
    described = stack(("sigmoid", "sigmoid", "relu"))
    network = population(described)
    hooks = intervene(network, {Arm("centre z", (0, 2)): range(1)}, gates_of(network))
    output = network(torch.randn(40, 6))
    assert len(hooks) == 2
    assert (output.amax(dim=1) > 0).all(), "centred, no relu is shut for all samples"
    for hook in hooks:
        hook.remove()
