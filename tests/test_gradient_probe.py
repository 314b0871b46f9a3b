"""Which share of a layer the gradient reaches, against the formulas in NumPy."""

import numpy as np
import pytest
import torch
from networks import LARGEST_SLOPE, NumpyPass, population, stack

from gradscope.elementwise import build_activation
from gradscope.gradient_probe import GradientProbe
from gradscope.objective import losses
from gradscope.unit_gates import Gates

CPU = torch.device("cpu")


def build(spec):
    return build_activation(spec, allow_code=False)


def probed(described, layer, x, y, steps=1, change=lambda network: None, **more):
    network = population(described, seeds=[2]).double()
    change(network)
    width = network.layers[layer].bias.shape[1]
    probe = GradientProbe(Gates.of(described.layers[layer].resolve(width), build, CPU), range(steps))
    hooks = probe.attach(network, layer)
    for _ in range(steps + 1):  # the last one lies beyond
        losses("cross-entropy", network(x), y.unsqueeze(0)).sum().backward()
    for hook in hooks:
        hook.remove()
    return network, probe


def samples():
    draw = torch.Generator().manual_seed(1)
    return torch.randn(40, 6, generator=draw, dtype=torch.float64), torch.randint(4, (40,), generator=draw)


@pytest.mark.parametrize("scale", [1, 20])
@pytest.mark.parametrize("kind", ["sigmoid", "tanh", "relu"])
def test_the_share_follows_its_definition(kind, scale):
    described = stack(("tanh", kind, "none"))
    x, y = samples()

    def larger(network):
        with torch.no_grad():
            network.layers[1].weight.mul_(scale)
            network.layers[1].bias[0, :3] = -100.0

    network, probe = probed(described, 1, x, y, change=larger)
    weights = [(layer.weight[0].detach().numpy(), layer.bias[0].detach().numpy()) for layer in network.layers]
    slopes = NumpyPass(weights[:2], [["tanh"] * 9, [kind] * 7], x.numpy(), np.zeros(40, int)).slopes[1]
    reached = np.abs(slopes) >= 0.05 * LARGEST_SLOPE[kind]
    expected = reached.any(axis=0).mean() if kind == "relu" else reached.mean()
    assert 0 < expected < 1
    assert probe.reached_frac()[0] == pytest.approx(expected)


def test_the_spread_is_that_of_the_first_pass():
    x, y = samples()
    network, probe = probed(stack(), 0, x, y, steps=2)
    z = torch.baddbmm(network.layers[0].bias.unsqueeze(1), x.unsqueeze(0), network.layers[0].weight.mT).detach().numpy()[0]
    assert probe.spread[0] == pytest.approx(np.sqrt(z.var(axis=0).mean()))


def test_a_gradient_that_has_vanished_reaches_nothing_and_one_that_grew_only_if_that_is_allowed():
    x, y = samples()

    def scaled(by):
        def change(network):
            with torch.no_grad():
                network.layers[1].weight.mul_(by)
                network.layers[0].weight.div_(by)
                network.layers[0].bias.div_(by)

        return change

    described = stack(("none", "none", "none"))
    assert probed(described, 0, x, y)[1].reached_frac()[0] == 1
    assert probed(described, 0, x, y, change=scaled(1e-6))[1].reached_frac()[0] == 0
    grown = probed(described, 0, x, y, change=scaled(1e5))[1]
    assert grown.reached_frac(most_left=1e3)[0] == 0
    assert grown.reached_frac()[0] == 1


def test_a_gradient_that_is_no_number_reaches_nothing():
    x, y = samples()
    x[0, 0] = torch.nan
    assert probed(stack(("tanh", "relu", "none")), 1, x, y)[1].reached_frac()[0] == 0


def test_gates_are_read_from_the_functions_themselves():
    gates = Gates.of(stack((["relu", "sigmoid"], "tanh", "none")).layers[0].resolve(4), build, CPU)
    assert gates.shuts.tolist() == [True, True, False, False]
    assert gates.largest_slope.tolist() == [1.0, 1.0, 0.25, 0.25]
