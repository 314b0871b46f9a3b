"""What a site's non-linearity looks like, found by trying it, and which modules are sites."""

import pytest
import torch
from networks import population, stack
from torch import nn

from gradscope.activation_entries import parse_layer
from gradscope.activations import TABLE
from gradscope.elementwise import Elementwise, build_activation
from gradscope.sites import canonical, find_activations, find_unseen, probe
from gradscope.unit_activation import UnitActivation

SHUTS = {"relu", "relu6", "hardsigmoid", "hardswish", "gelu"}  # gelu's erf is exactly -1 from about z = -6 on
SATURATES = {"relu6", "sigmoid", "tanh", "softsign", "hardtanh", "hardsigmoid"}
LINEAR = {"none"}
ALWAYS = [name for name in TABLE if name != "threshold"]


def unit_activation(*members, width=4):
    blocks = [tuple(parse_layer(entry).resolve(width)) for entry in members]
    return UnitActivation(blocks, lambda spec: build_activation(spec, allow_code=False))


def described(entry, dtype=torch.float32):
    activation = unit_activation(entry).to(dtype)
    return probe(activation, torch.zeros(1, 5, 4, dtype=dtype), 1)


@pytest.mark.parametrize("name", ALWAYS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_each_activation_of_torch(name, dtype):
    shape = described(name, dtype)
    assert shape.shuts.tolist() == [[name in SHUTS] * 4]
    assert shape.saturates.tolist() == [[name in SATURATES] * 4]
    assert shape.linear.tolist() == [[name in LINEAR] * 4]


@pytest.mark.parametrize(
    ("entry", "shuts", "saturates", "linear"),
    [
        ({"leaky_relu": {"negative_slope": 1}}, False, False, True),
        ({"leaky_relu": {"negative_slope": 0}}, True, False, False),
        ({"leaky_relu": {"negative_slope": -1}}, False, False, False),
        ({"leaky_relu": {"negative_slope": 0.04}}, False, False, False),
        ({"threshold": {"threshold": 0, "value": 0}}, True, False, False),
        ({"threshold": {"threshold": 0, "value": 5}}, False, False, False),
        ({"threshold": {"threshold": 100, "value": 0}}, True, False, False),
        ({"hardtanh": {"min_val": 0, "max_val": 1}}, True, True, False),
        ({"hardtanh": {"min_val": -1, "max_val": 40}}, False, True, False),
        ({"elu": {"alpha": 0}}, True, False, False),
        ({"prelu": {"init": 0}}, True, False, False),
        ({"prelu": {"init": 1}}, False, False, True),
    ],
)
def test_parameters_count_not_names(entry, shuts, saturates, linear):
    shape = described(entry)
    assert (shape.shuts.all().item(), shape.saturates.all().item(), shape.linear.all().item()) == (shuts, saturates, linear)


@pytest.mark.parametrize(
    ("name", "largest"),
    [("relu", 1), ("sigmoid", 0.25), ("tanh", 1), ("silu", 1.0998), ("gelu", 1.1289), ("hardsigmoid", 1 / 6), ("selu", 1.758)],
)
def test_largest_slope(name, largest):
    assert described(name).largest_slope[0].tolist() == pytest.approx([largest] * 4, rel=2e-2)


def test_units_and_members_are_described_each_by_itself():
    activation = unit_activation(["relu", "sigmoid"], "tanh", {"none": 1, "relu6": 3})
    shape = probe(activation, torch.zeros(3, 5, 4), 3)
    assert shape.shuts.tolist() == [[True, True, False, False], [False] * 4, [False, True, True, True]]
    assert shape.saturates.tolist() == [[False, False, True, True], [True] * 4, [False, True, True, True]]
    assert shape.linear.tolist() == [[False] * 4, [False] * 4, [True, False, False, False]]


def test_a_learned_slope_is_found_channel_by_channel():
    module = nn.PReLU(3)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([0.0, 1.0, 0.5]))
    for z in (torch.zeros(7, 3), torch.zeros(7, 3, 4, 4)):
        shape = probe(module, z, 1)
        assert shape.shuts.tolist() == [[True, False, False]]
        assert shape.linear.tolist() == [[False, True, False]]


@pytest.mark.parametrize("size", [(), (9,), (9, 3), (2, 9, 3), (1, 9, 3), (9, 3, 4, 4), (9, 3, 2, 4, 4), (1, 3, 4, 4)])
def test_probed_units_are_those_of_the_tensor(size):
    z = torch.randn(size)
    shape, values = probe(nn.ReLU(), z, 1), canonical(z, 1)
    units = 3 if len(size) > 1 else 1
    assert shape.shuts.shape == (1, units)
    assert values.shape == (1, z.numel() // units, units)
    assert sorted(values.flatten().tolist()) == sorted(z.flatten().tolist())


def test_channels_stay_apart():
    z = torch.arange(3.0).view(1, 3, 1, 1).expand(5, 3, 2, 2)
    assert all((canonical(z, 1)[0, :, unit] == unit).all() for unit in range(3))


def test_probing_leaves_random_state_and_gradients_alone():
    module, state = unit_activation("rrelu", "prelu").train(), torch.get_rng_state()
    probe(module, torch.zeros(2, 3, 4), 2)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in module.parameters())


def names_of(network):
    return [watched.labels for watched in find_activations(network)]


def test_names_are_paths_with_the_class_where_the_path_does_not_say_it():
    network = nn.ModuleDict(
        {
            "relu": nn.ReLU(),
            "act_fn": nn.GELU(),
            "block": nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Sequential(nn.SiLU())),
            "mine": Elementwise(torch.sin),
            "softmax": nn.Softmax(dim=1),
            "nothing": nn.Identity(),
        }
    )
    assert names_of(network) == [("relu",), ("act_fn.gelu",), ("block.1.tanh",), ("block.2.0.silu",), ("mine.elementwise",)]
    assert names_of(nn.ReLU()) == [("relu",)]


def test_names_in_a_population_are_layer_and_activation_for_each_member():
    network = population(stack(["relu", "tanh", "none"]), stack([["relu", "sigmoid"], "tanh", "relu"]))
    assert names_of(network) == [("1.relu", "1.relu+sigmoid"), ("2.tanh", "2.tanh"), ("3.none", "3.relu")]


def test_a_module_at_two_places_is_found_once():
    act = nn.ReLU()
    network = nn.Sequential(nn.Sequential(nn.Linear(2, 2), act), nn.Sequential(nn.Linear(2, 2), act), act)
    assert names_of(network) == [("0.1.relu",)]


def test_subclasses_of_activations_are_sites():
    class Mine(nn.ReLU):
        pass

    assert names_of(nn.Sequential(Mine())) == [("0.mine",)]


def test_opaque_modules_are_named_and_not_searched():
    network = nn.ModuleDict(
        {
            "rnn": nn.LSTM(2, 2),
            "attention": nn.MultiheadAttention(4, 2),
            "cell": nn.GRUCell(2, 2),
            "glu": nn.GLU(),
            "a": nn.ReLU(),
        }
    )
    assert find_unseen(network) == ["rnn (LSTM)", "attention (MultiheadAttention)", "cell (GRUCell)", "glu (GLU)"]
    assert len(names_of(network)) == 1
