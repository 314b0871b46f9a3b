"""Initial weights: torch's own draw for a seed and layer, and the variances of the named initialisations."""

import math

import pytest
import torch
from torch import nn

from gradscope.initial_weights import initial_linear, layer_seed
from gradscope.recipe import NormalInit
from gradscope.recipe_stack import INITS

FAN_IN, FAN_OUT = 400, 300


def test_default_is_what_torch_draws_after_manual_seed():
    for seed, layer in ((0, 0), (3, 2), (-5, 1), (2**40, 7)):
        weight, bias = initial_linear(7, 5, "default", seed, layer)
        torch.manual_seed(layer_seed(seed, layer))
        linear = nn.Linear(7, 5)
        assert torch.equal(weight, linear.weight)
        assert torch.equal(bias, linear.bias)
        assert not weight.requires_grad


@pytest.mark.parametrize(
    ("init", "std"),
    [
        ("default", FAN_IN**-0.5 / math.sqrt(3)),  # kaiming_uniform_ with a = sqrt 5: uniform within 1 / sqrt(fan-in)
        ("kaiming-normal", math.sqrt(2 / FAN_IN)),
        ("kaiming-uniform", math.sqrt(2 / FAN_IN)),
        ("xavier-normal", math.sqrt(2 / (FAN_IN + FAN_OUT))),
        ("xavier-uniform", math.sqrt(2 / (FAN_IN + FAN_OUT))),
        ("lecun-normal", FAN_IN**-0.5),
        ("matched-normal", FAN_IN**-0.5),
        ("orthogonal", FAN_IN**-0.5),
        ("zeros", 0.0),
        (NormalInit(std=0.01), 0.01),
    ],
)
def test_standard_deviation(init, std):
    weight, bias = initial_linear(FAN_IN, FAN_OUT, init, 1, 0)
    assert weight.shape == (FAN_OUT, FAN_IN)
    assert weight.std().item() == pytest.approx(std, rel=0.01)
    assert weight.mean().item() == pytest.approx(0, abs=4 * std / math.sqrt(weight.numel()) + 1e-12)
    is_uniform = init == "default" or str(init).endswith("uniform")
    if std and init != "orthogonal":
        assert (weight.abs().max().item() < std * math.sqrt(3) * 1.001) == is_uniform
    assert (init == "default") != (bias == 0).all().item()


def test_the_gain_scales_matched_weights_and_no_others():
    weight, bias = initial_linear(FAN_IN, FAN_OUT, "matched-normal", 1, 0, gain=3.0)
    assert torch.allclose(weight, 3 * initial_linear(FAN_IN, FAN_OUT, "matched-normal", 1, 0)[0], rtol=1e-6)
    assert not bias.any()
    for init in set(INITS) - {"matched-normal"}:
        assert torch.equal(initial_linear(6, 4, init, 1, 2, gain=3.0)[0], initial_linear(6, 4, init, 1, 2)[0])


def test_orthogonal_rows_are_orthonormal():
    weight, _ = initial_linear(FAN_IN, FAN_OUT, "orthogonal", 1, 0)
    assert torch.allclose(weight @ weight.T, torch.eye(FAN_OUT), atol=1e-4)


@pytest.mark.parametrize("init", [*INITS, NormalInit(std=0.5)], ids=str)
def test_each_draw_belongs_to_seed_and_layer_alone(init):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    weight, _ = initial_linear(6, 4, init, 1, 2)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert torch.equal(initial_linear(6, 4, init, 1, 2)[0], weight)
    if init != "zeros":
        assert not torch.equal(initial_linear(6, 4, init, 2, 2)[0], weight)
        assert not torch.equal(initial_linear(6, 4, init, 1, 3)[0], weight)


def test_the_default_type_of_the_session_is_of_no_account():
    torch.set_default_dtype(torch.float64)
    try:
        weight, _ = initial_linear(6, 4, "default", 1, 2)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(weight, initial_linear(6, 4, "default", 1, 2)[0])


def test_seeds_of_layers_are_all_different():
    assert len({layer_seed(seed, layer) for seed in range(50) for layer in range(1000)}) == 50_000
    assert 0 <= layer_seed(2**63, 3) < 2**63
