"""The gain that keeps the signal's size: against closed forms and torch's own, and through ten layers of a real stack."""

import math

import pytest
import torch
from torch import nn

from gradscope.activation_entries import parse_layer
from gradscope.activation_families import FAMILIES
from gradscope.activation_gain import matched_gain, matched_gains, second_moment
from gradscope.activations import ActivationSpec
from gradscope.elementwise import build_activation
from gradscope.recipe import Stack
from gradscope.stack import Population, StackMember


def build(spec):
    return build_activation(spec, allow_code=False)


def gain(entry, width=8):
    return matched_gain(tuple(parse_layer(entry).resolve(width)), build)


@pytest.mark.parametrize(("name", "of_torch"), [("relu", "relu"), ("none", "linear")])
def test_where_torch_derives_its_gain_it_is_the_same(name, of_torch):
    assert gain(name) == pytest.approx(nn.init.calculate_gain(of_torch), rel=1e-9)


@pytest.mark.parametrize("slope", [0.01, 0.5])
def test_leaky_relu_is_as_torch_derives_it(slope):
    assert gain({"leaky_relu": {"negative_slope": slope}}) == pytest.approx(
        nn.init.calculate_gain("leaky_relu", slope), rel=1e-9
    )


def test_selu_was_made_to_need_no_gain():
    assert gain("selu") == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "gelu", "softsign"])
def test_the_moment_is_that_of_many_draws(name):
    draws = torch.randn(1_000_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    squares = build(ActivationSpec(name))(draws) ** 2
    assert second_moment(build(ActivationSpec(name))) == pytest.approx(
        squares.mean().item(), abs=5 * squares.std().item() / 1000
    )


def test_blocks_of_units_are_weighted_by_their_number():
    relu, tanh = (second_moment(build(ActivationSpec(name))) for name in ("relu", "tanh"))
    assert gain({"relu": 1, "tanh": 3}, width=4) == pytest.approx(((relu + 3 * tanh) / 4) ** -0.5)
    assert gain(["relu", "relu"]) == gain("relu")


def test_an_activation_without_a_size_gets_gain_one():
    assert gain({"threshold": {"threshold": 1e9, "value": 0}}) == 1.0
    assert gain({"softshrink": {"lambd": 1e9}}) == 1.0
    assert matched_gain(((ActivationSpec("relu"), 2),), lambda spec: InfiniteAtZero()) == 1.0


class InfiniteAtZero(nn.Module):
    def forward(self, z):
        return 1 / z


def test_each_kind_is_computed_once_and_no_layer_has_gain_one():
    built = []

    def counted(spec):
        built.append(spec.name)
        return build(spec)

    relu, mixed = tuple(parse_layer("relu").resolve(4)), tuple(parse_layer(["relu", "tanh"]).resolve(4))
    assert matched_gains([None, relu, relu, mixed, relu], counted) == pytest.approx(
        [1.0, math.sqrt(2), math.sqrt(2), gain(["relu", "tanh"]), math.sqrt(2)]
    )
    assert built == ["relu", "relu", "tanh"]


def sizes(entry, init, depth=10, width=800):
    """The second moment of z, behind each layer of a deep stack, over a few standard normal samples."""
    stack = Stack.model_validate({"hidden": [width] * depth, "activations": [entry] * depth + ["none"], "init": init})
    network = Population([StackMember(stack, 1)], width, width)
    x = torch.randn(1, 16, width, generator=torch.Generator().manual_seed(2))
    found = []
    with torch.no_grad():
        for layer in network.layers:
            found.append((x @ layer.weight.mT + layer.bias.unsqueeze(1)).square().mean().item())
            x = layer(x)
    return found


@pytest.mark.parametrize("entry", [*FAMILIES["relu-like"], *FAMILIES["sigmoid-like"], "mish", ["relu", "sigmoid"]], ids=str)
def test_the_signal_keeps_its_size_through_ten_layers(entry):
    matched = sizes(entry, "matched-normal")
    assert all(0.6 < size < 1.6 for size in matched), matched


@pytest.mark.parametrize("entry", ["relu", "tanh", "silu", "softsign"])
def test_without_the_gain_it_does_not(entry):
    assert sizes(entry, "lecun-normal")[-1] < 0.1


def test_members_of_one_population_have_the_gain_of_their_own_activations():
    stacks = [
        Stack.model_validate({"hidden": [400, 400], "activations": [first, second, "none"], "init": init})
        for first, second, init in (
            ("relu", "tanh", "matched-normal"),
            ("tanh", "relu", "matched-normal"),
            ("relu", "tanh", "zeros"),
        )
    ]
    network = Population([StackMember(stack, 1) for stack in stacks], 300, 10)
    deviations = [layer.weight.std(dim=(1, 2)) for layer in network.layers]
    expected = [
        [300**-0.5, 300**-0.5, 0],
        [gain("relu") / 20, gain("tanh") / 20, 0],
        [gain("tanh") / 20, gain("relu") / 20, 0],
    ]
    for found, wanted in zip(deviations, expected, strict=True):
        assert found.tolist() == pytest.approx(wanted, rel=0.05)
    assert not any(layer.bias.any() for layer in network.layers)
