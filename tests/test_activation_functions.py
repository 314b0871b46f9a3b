"""Every spelling of a non-linearity is known by its name, and a call of one can be looked at as a function of z alone."""

import inspect
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from gradscope.activation_functions import (
    ACTIVATIONS,
    OPAQUE,
    SPELLINGS,
    constants_of,
    element_function,
    pre_activation,
)
from gradscope.activations import TABLE
from gradscope.elementwise import module_classes
from gradscope.function_mode import FunctionMode

NEEDED = {  # what a function cannot be called without, beside z
    "prelu": (torch.tensor([0.25]),),
    "threshold": (0.1, 20.0),
    "clamp": (0.5,),
    "hardtanh_": (-1.0, 1.0),
}
SPELLED = {  # as the native functions want it
    torch._C._nn.hardtanh: (-1.0, 1.0),
    torch._C._nn.hardtanh_: (-1.0, 1.0),
}


def label(function):
    return f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', function)}"


def options(function):
    return SPELLED.get(function, NEEDED.get(ACTIVATIONS[function], ()))


def calls_seen(call):
    """The names of the non-linearities that a function mode sees while `call` runs."""
    seen = []

    def handle(function, args, kwargs):
        seen.append(ACTIVATIONS[function])
        return function(*args, **kwargs)

    mode = FunctionMode(dict.fromkeys(ACTIVATIONS, handle))
    mode.turn_on()
    try:
        call()
    finally:
        mode.turn_off()
    return seen


@pytest.mark.parametrize("function", ACTIVATIONS, ids=label)
def test_each_spelling_is_seen_once_by_its_name(function):
    assert calls_seen(lambda: function(torch.randn(3, 4), *options(function))) == [ACTIVATIONS[function]]


MODULES = [(kind, {}) for kind in module_classes() if kind is not nn.Threshold] + [
    (nn.Threshold, {"threshold": 0.1, "value": 1})
]
MODULES += [(kind, given | {"inplace": True}) for kind, given in MODULES if "inplace" in inspect.signature(kind).parameters]


@pytest.mark.parametrize(("kind", "given"), MODULES, ids=lambda value: getattr(value, "__name__", "inplace" if value else ""))
def test_each_of_torchs_activation_modules_is_one_call(kind, given):
    name = next(name for name, entry in TABLE.items() if entry.torch_class == kind.__name__)
    module = kind(**given)
    seen = calls_seen(lambda: module(torch.randn(3, 4))) + calls_seen(lambda: module.eval()(torch.randn(3, 4)))
    assert seen == [{"relu6": "hardtanh"}.get(name, name)] * 2  # nn.ReLU6 is a Hardtanh


@pytest.mark.parametrize(
    "call",
    [
        lambda z: z.relu(), lambda z: z.relu_(), lambda z: torch.relu(input=z), lambda z: F.relu(z, inplace=True),
        lambda z: F.relu(z, True), lambda z: torch.relu_(z), lambda z: nn.ReLU().forward(z),
    ],
)  # fmt: skip
def test_a_relu_is_a_relu_however_it_is_called(call):
    assert calls_seen(lambda: call(torch.randn(3, 4))) == ["relu"]


def test_all_spellings_do_the_same():
    z = torch.linspace(-3, 3, 13)
    for name in SPELLINGS:
        functions = [function for function, known in ACTIVATIONS.items() if known == name]
        assert functions, name
        if name == "clamp":
            continue  # clamp(0.5) is clamp_min(0.5), clamp_max(0.5) is not
        torch.manual_seed(1)
        wanted = functions[0](z.clone(), *options(functions[0]))
        for function in functions:
            torch.manual_seed(1)
            torch.testing.assert_close(function(z.clone(), *options(function)), wanted, msg=label(function))


def test_every_activation_of_a_recipe_has_spellings():
    assert set(TABLE) - {"none"} == set(SPELLINGS) - {"clamp"}


def test_none_is_both_activation_and_opaque():
    assert not set(ACTIVATIONS) & set(OPAQUE)
    for function in (F.scaled_dot_product_attention, torch.lstm, torch.gru, F.glu, torch.sin, Tensor.sin_, torch.maximum):
        assert function in OPAQUE
    for function in (F.softmax, torch.softmax, F.dropout, torch.abs, torch.exp, torch.add, F.layer_norm):
        assert function not in ACTIVATIONS
        assert function not in OPAQUE


def test_z_is_the_first_argument_by_whatever_name():
    z = torch.randn(3)
    assert pre_activation((z, 1), {}) is z
    assert pre_activation((), {"input": z}) is z
    assert pre_activation((), {"self": z, "min": 0}) is z


@pytest.mark.parametrize(
    "value", [None, 3.0, "z", torch.arange(3), torch.ones(3, dtype=torch.bool), torch.ones(2, dtype=torch.cfloat)]
)
def test_what_is_no_tensor_of_real_numbers_is_no_pre_activation(value):
    assert pre_activation((value,), {}) is None
    assert pre_activation((), {}) is None


@pytest.mark.parametrize("function", ACTIVATIONS, ids=label)
def test_a_call_as_a_function_of_z_changes_nothing(function):
    z = torch.randn(5, 3)
    args = (z, *options(function))
    kept = [value.clone() if isinstance(value, Tensor) else value for value in args]
    other = torch.randn(7, 3)
    before = other.clone()
    torch.manual_seed(1)
    got = element_function(function, args, {})(other)
    torch.manual_seed(1)
    assert torch.equal(got, function(before.clone(), *options(function)))
    assert torch.equal(other, before)
    for value, was in zip(args, kept, strict=True):
        assert torch.equal(value, was) if isinstance(value, Tensor) else value == was


def test_the_callers_out_is_not_written_to():
    z, out = torch.randn(4), torch.full((4,), 7.0)
    assert element_function(torch.sigmoid, (z,), {"out": out})(z).equal(z.sigmoid())
    assert out.tolist() == [7.0] * 4


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "wanted"),
    [
        (F.leaky_relu, (0.3,), {}, lambda z: F.leaky_relu(z, 0.3)),
        (F.leaky_relu, (), {"negative_slope": 0.3, "inplace": True}, lambda z: F.leaky_relu(z, 0.3)),
        (F.gelu, (), {"approximate": "tanh"}, lambda z: F.gelu(z, approximate="tanh")),
        (torch.clamp, (), {"min": 0.2, "max": None}, lambda z: z.clamp(min=0.2)),
        (torch.clamp, (-0.1, 0.1), {}, lambda z: z.clamp(-0.1, 0.1)),
        (F.relu, (True,), {}, torch.relu),
        (F.rrelu, (), {"training": False}, lambda z: F.leaky_relu(z, (1 / 8 + 1 / 3) / 2)),
    ],
)
def test_options_come_along(function, args, kwargs, wanted):
    z = torch.randn(3, 4)
    for given, named in (((z, *args), kwargs), ((), {"input": z, **kwargs})):
        if given or not args:
            torch.testing.assert_close(element_function(function, given, named)(z), wanted(z))


def test_a_learned_option_is_taken_in_zs_precision_and_without_its_graph():
    weight = nn.Parameter(torch.tensor([0.25]))
    z = torch.randn(3, 4, dtype=torch.bfloat16)
    for args, kwargs in (((z, weight), {}), ((z,), {"weight": weight})):
        got = element_function(F.prelu, args, kwargs)(z)
        assert got.dtype == torch.bfloat16
        assert not got.requires_grad
        assert torch.equal(got, F.prelu(z, weight.detach().to(torch.bfloat16)))


@pytest.mark.parametrize(
    ("args", "kwargs", "wanted"),
    [
        ((), {}, ((), ())),
        ((1.0, 2), {}, ((1.0, 2), ())),
        ((), {"min_val": 0, "inplace": True}, ((), (("min_val", 0),))),
        ((), {"b": 1, "a": None}, ((), (("a", None), ("b", 1)))),
        ((), {"approximate": "tanh", "out": torch.ones(2)}, ((), (("approximate", "tanh"),))),
        ((torch.ones(2),), {}, None),
        ((), {"weight": torch.ones(1)}, None),
        (([1.0],), {}, None),
        ((math.inf, np.float64(2)), {}, ((math.inf, 2.0), ())),
    ],
)
def test_constants_are_plain_numbers_and_words(args, kwargs, wanted):
    z = torch.randn(2)
    assert constants_of((z, *args), kwargs) == wanted
    if not args:
        assert constants_of((), {"input": z, **kwargs}) == wanted
        assert constants_of((), {"self": z, **kwargs}) == wanted
