"""Activations made from names and from code of the user's own."""

import pytest
import torch
from torch import nn

from gradscope.activations import TABLE, ActivationSpec
from gradscope.elementwise import Elementwise, build_activation, module_classes
from gradscope.errors import CodeError


def wave(z):
    return torch.sin(z)


def narrower(z):
    return z[:, :2]


def number(z):
    return 3.0


def broken(z):
    raise RuntimeError("first\nsecond")


class Swish(nn.Module):
    def __init__(self):
        super().__init__()
        self.beta = nn.Parameter(torch.ones(()))

    def forward(self, z):
        return z * torch.sigmoid(self.beta * z)


class NeedsMore(nn.Module):
    def __init__(self, width):
        super().__init__()


MADE = Swish()
NOTHING = 3


def own(name, **more):
    return build_activation(ActivationSpec(f"test_elementwise:{name}"), allow_code=True, **more)


@pytest.mark.parametrize("name", [name for name in TABLE if name != "threshold"])
def test_names_make_torchs_own_modules(name):
    module = build_activation(ActivationSpec(name), allow_code=False)
    assert type(module) is getattr(nn, TABLE[name].torch_class)
    assert module is not build_activation(ActivationSpec(name), allow_code=False)
    assert (type(module) in module_classes()) == (name != "none")


def test_the_centred_sigmoid_is_twice_the_sigmoid_less_1():
    module, z = build_activation(ActivationSpec("centred_sigmoid"), allow_code=False), torch.randn(50, dtype=torch.float64) * 4
    torch.testing.assert_close(module(z), 2 * torch.sigmoid(z) - 1, rtol=1e-12, atol=1e-15)


def test_parameters_are_passed_on():
    assert build_activation(ActivationSpec("leaky_relu", {"negative_slope": 0.3}), allow_code=False).negative_slope == 0.3
    module = build_activation(ActivationSpec("threshold", {"threshold": 1.0, "value": -2.0}), allow_code=False)
    assert module(torch.tensor([0.5, 3.0])).tolist() == [-2.0, 3.0]


def test_a_users_function_becomes_a_module():
    module, z = own("wave"), torch.randn(4, 3)
    assert isinstance(module, Elementwise)
    assert torch.equal(module(z), z.sin())


@pytest.mark.parametrize("name", ["Swish", "MADE"])
def test_a_users_module_is_a_new_one_each_time(name):
    first, second = own(name), own(name)
    assert isinstance(first, Swish)
    assert first is not second
    assert first.beta is not second.beta
    assert first.beta is not MADE.beta


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("narrower", r"expected an element-wise function, \[2, 3\] in and out, got \(2, 2\) out"),
        ("number", r"got float out|Actual value: 3\.0"),  # under test the shape check objects first
        ("broken", r"failed on a \[2, 3\] tensor: RuntimeError: first second$"),
        ("NeedsMore", "cannot be built: TypeError: "),
        ("NOTHING", "expected a function or a torch.nn.Module class, got int"),
        ("absent", "absent"),
    ],
)
def test_code_that_is_unfit_is_told_in_one_line(name, text):
    with pytest.raises(CodeError, match=text) as caught:
        own(name, where="a.yaml:3")
    assert str(caught.value).startswith("a.yaml:3: ")
    assert "\n" not in str(caught.value)


def test_code_is_not_run_without_leave():
    with pytest.raises(CodeError, match="allow-code"):
        build_activation(ActivationSpec("test_elementwise:wave"), allow_code=False)


def test_checking_a_users_function_leaves_the_random_state():
    before = torch.get_rng_state()
    build_activation(ActivationSpec("test_elementwise:noisy"), allow_code=True)
    assert torch.equal(torch.get_rng_state(), before)


def noisy(z):
    return z + torch.randn_like(z)
