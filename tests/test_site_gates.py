"""Which gate belongs to a call: one for all spellings, with its options; one per layer and member of a population."""

import gc
import weakref

import numpy as np
import pytest
import torch
from networks import population, stack
from torch import nn
from torch.nn import functional as F  # noqa: N812

from gradscope.activation_functions import ACTIVATIONS
from gradscope.activations import TABLE
from gradscope.elementwise import Elementwise, module_classes
from gradscope.gates import IntervalGate, PartedGate, SlopeGate, interval_gate
from gradscope.member_traces import MemberName, Progress, build_traces
from gradscope.recorder import Recorder
from gradscope.schedule import every
from gradscope.site_gates import call_key, gate_of_call, gate_of_module
from gradscope.statistics import slope
from gradscope.trace import Task
from gradscope.unit_activation import UnitActivation
from gradscope.unit_axis import laid_out

FLOAT = torch.float32
REFERENCES = {name: getattr(F, name) for name in set(ACTIVATIONS.values()) - {"clamp", "prelu", "rrelu"}}
NEEDED = {"threshold": (0.1, 20.0), "hardtanh": (-1.0, 1.0)}


def call(function, *options, z=None, axis=1, **named):
    z = torch.randn(6, 3) if z is None else z
    return gate_of_call(function, (z, *options), named, z, axis)


def masks(gate, z, axis):
    laid = laid_out(z, axis, has_members=False)
    found = gate.count(laid, torch.le(laid, 0).float(), z)
    return [torch.zeros_like(laid) if mask is None else mask for mask in found]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", sorted(REFERENCES))
def test_all_spellings_of_a_function_have_one_gate(name, dtype):
    needed = NEEDED.get(name, ())
    wanted = interval_gate(REFERENCES[name], needed, (), dtype)
    for function, known in ACTIVATIONS.items():
        if known == name:
            same(call(function, *needed, z=torch.randn(4, 3).to(dtype)), wanted, dtype, rounds=name in ("elu", "selu", "celu"))


def same(gate, wanted, dtype, *, rounds):
    """In place, the slope of an exponential is computed from the output, which `rounds`: it shuts where that is -alpha."""
    if wanted is None:
        assert isinstance(gate, SlopeGate)
        return
    for kind in ("shuts", "saturates", "linear"):
        assert getattr(gate, kind) == getattr(wanted, kind)
    assert gate.largest_slope == pytest.approx(wanted.largest_slope, rel=torch.finfo(dtype).eps)
    assert np.array(gate.saturated) == pytest.approx(np.array(wanted.saturated), rel=4 * torch.finfo(dtype).eps)
    assert rounds or gate.closed == wanted.closed


@pytest.mark.parametrize(
    ("function", "options"),
    [
        (torch.clamp, (0.0,)), (torch.Tensor.clamp, (0.0,)), (torch.clamp_min, (0.0,)), (torch.Tensor.clamp_min_, (0.0,)),
        (torch.clip, (0.0,)), (torch.clamp, (0.0, None)), (F.threshold, (0.0, 0.0)), (F.leaky_relu, (0.0,)), (F.relu, (True,)),
    ],
)  # fmt: skip
def test_what_acts_as_a_relu_has_its_gate(function, options):
    assert call(function, *options) == call(F.relu)


@pytest.mark.parametrize(
    ("function", "by_place", "by_name"),
    [
        (F.leaky_relu, (0.03,), {"negative_slope": 0.03}),
        (F.hardtanh, (-2.0, 3.0), {"max_val": 3.0, "min_val": -2.0}),
        (F.elu, (2.0,), {"alpha": 2.0, "inplace": True}),
        (torch.clamp, (-1, 1), {"max": 1, "min": -1}),
        (F.softplus, (2.0, 5.0), {"threshold": 5.0, "beta": 2.0}),
    ],
)
def test_options_count_by_place_and_by_name(function, by_place, by_name):
    gate = call(function, *by_place)
    assert gate == call(function, **by_name)
    assert gate != call(function, *[value * 2 for value in by_place])


def test_the_gate_fits_the_precision():
    assert call(torch.sigmoid, z=torch.randn(2, 3, dtype=torch.float16)) != call(torch.sigmoid)
    assert call(torch.sigmoid, z=torch.randn(2, 3, dtype=torch.float64)) != call(torch.sigmoid)


def test_a_repeated_call_is_not_searched_again(monkeypatch):
    gate = call(F.celu, 0.123)
    monkeypatch.setattr("gradscope.gates.slope", None)
    assert call(F.celu, 0.123) is gate


@pytest.mark.parametrize("training", [False, True])
def test_a_random_slope_is_read_at_the_samples(training):
    z = torch.randn(300, 3)
    gate = call(F.rrelu, z=z, lower=0.0, upper=0.2, training=training)
    saturated, closed = masks(gate, z, 1)
    slopes = slope(lambda z: F.rrelu(z, 0.0, 0.2, training), z)
    assert torch.equal(saturated.view(z.shape), (slopes < 0.05).float())
    assert saturated.any() == training
    assert not closed.any()


@pytest.mark.parametrize(("size", "axis"), [((30,), 0), ((20, 3), 1), ((5, 3, 4), 1), ((5, 4, 3), 2), ((4, 3, 5, 2), 1)])
def test_a_tensor_among_the_options_means_slopes_at_the_samples(size, axis):
    z = torch.randn(size)
    gate = call(F.prelu, torch.tensor([0.01]), z=z, axis=axis)
    assert isinstance(gate, SlopeGate)
    saturated, closed = masks(gate, z, axis)
    assert saturated.sum() == (z < 0).sum()
    assert not closed.any()


def test_a_gate_keeps_no_graph_of_its_options():
    """A weight that is computed anew in every pass: the first one's graph would stay in memory, and its values stand still."""
    weight = nn.Parameter(torch.tensor([0.1])) * 1
    kept = weakref.ref(weight)
    gate = call(F.prelu, weight)
    assert isinstance(gate, SlopeGate)
    del weight
    gc.collect()
    assert kept() is None


@pytest.mark.parametrize("shape", [(), (3,), (1, 3)])
def test_bounds_of_each_unit(shape):
    z, low = torch.randn(50, 3), torch.full(shape, -0.5)
    for gate in (call(torch.clamp, low, z=z), call(torch.clamp, z=z, min=low), call(torch.clamp_min, low, z=z)):
        assert gate.shape(laid_out(z, 1, has_members=False), z).largest_slope.tolist() == [[1.0] * 3]
        assert torch.equal(masks(gate, z, 1)[1].view(z.shape), (z < -0.5).float())


def test_bounds_of_each_sample():
    z = torch.randn(50, 3)
    gate = call(torch.clamp, torch.zeros_like(z), z=z)
    assert gate.shape(laid_out(z, 1, has_members=False), z).largest_slope.tolist() == [[1.0] * 3]


@pytest.mark.parametrize("size", [(50, 1), (1, 3), (50, 3)])
@pytest.mark.parametrize("upper", [None, 2.0])
def test_bounds_of_each_sample_are_like_one_for_all(size, upper):
    z = torch.randn(50, 3) * 2
    gate, wanted = call(torch.clamp, torch.zeros(size), upper, z=z) if upper is None else call(
        torch.clamp, torch.zeros(size), torch.full(size, upper), z=z
    ), call(torch.clamp, 0.0, upper, z=z)  # fmt: skip
    laid = laid_out(z, 1, has_members=False)
    for got, known in zip(gate.shape(laid, z), wanted.shape(laid, z), strict=True):
        assert torch.equal(got, known)
    for got, known in zip(masks(gate, z, 1), masks(wanted, z, 1), strict=True):
        assert torch.equal(got.view(z.shape), known)


def test_bounds_of_each_pixel():
    z = torch.randn(5, 3, 4, 4)
    gate = call(torch.clamp, torch.full((4, 4), -0.5), z=z)
    shape = gate.shape(laid_out(z, 1, has_members=False), z)
    assert shape.largest_slope.tolist() == [[1.0] * 3]
    assert not shape.shuts.any()
    assert torch.equal(masks(gate, z, 1)[1].view(5, 3, 4, 4), (z < -0.5).float())


def test_calls_with_the_same_gate_have_the_same_key():
    z, other = torch.randn(2, 3), torch.randn(5)
    assert call_key(F.relu, (z,), {}) == call_key(F.relu, (other,), {"inplace": True}) != call_key(F.tanh, (z,), {})
    assert call_key(F.hardtanh, (z, -1.0, 1.0), {}) == call_key(F.hardtanh, (z, -1, 1), {})
    assert call_key(F.hardtanh, (z, -1.0, 1.0), {}) != call_key(F.hardtanh, (z, -2.0, 1.0), {})
    assert call_key(F.elu, (z,), {"alpha": 2.0}) != call_key(F.elu, (z,), {"alpha": 3.0})
    assert call_key(F.elu, (), {"input": z, "alpha": 2.0}) == call_key(F.elu, (z,), {"alpha": 2.0})
    one, another = Elementwise(torch.sin), Elementwise(torch.sin)
    assert call_key(Elementwise.forward, (one, z), {}) == call_key(Elementwise.forward, (one, other), {})
    assert call_key(Elementwise.forward, (one, z), {}) != call_key(Elementwise.forward, (another, z), {})


def test_calls_with_tensors_have_no_key():
    z = torch.randn(2, 3)
    assert call_key(F.prelu, (z, torch.ones(1)), {}) is None
    assert call_key(torch.clamp, (z,), {"min": torch.zeros(())}) is None


# --- modules ---


def module_of(kind, **more):
    return kind(0.1, 20.0) if kind is nn.Threshold else kind(**more)


@pytest.mark.parametrize("kind", [kind for kind in module_classes() if kind not in (nn.PReLU, nn.RReLU)])
def test_a_module_has_the_gate_of_its_function(kind):
    module = module_of(kind)
    name = next(name for name, entry in TABLE.items() if entry.torch_class == kind.__name__)
    gate = gate_of_module(module, FLOAT, 1, has_members=False)
    assert gate == call(REFERENCES[name], *NEEDED.get(name, ()))
    assert gate is gate_of_module(module_of(kind), FLOAT, 1, has_members=False)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (nn.Hardtanh(), nn.Hardtanh(-2, 2)),
        (nn.ELU(), nn.ELU(3.0)),
        (nn.CELU(), nn.CELU(3.0)),
        (nn.LeakyReLU(0.01), nn.LeakyReLU(0.1)),
        (nn.Softplus(), nn.Softplus(2.0)),
        (nn.Softshrink(), nn.Softshrink(1.0)),
        (nn.Hardshrink(), nn.Hardshrink(1.0)),
        (nn.GELU(), nn.GELU("tanh")),
        (nn.Threshold(0, 0), nn.Threshold(1, 0)),
    ],
)
def test_modules_of_other_options_have_other_gates(one, other):
    gates = [gate_of_module(module, FLOAT, 1, has_members=False) for module in (one, other)]
    assert all(isinstance(gate, IntervalGate) for gate in gates)
    assert gates[0] != gates[1]


class Own(nn.ReLU):
    def forward(self, z):
        return z.abs()


@pytest.mark.parametrize("module", [nn.PReLU(), nn.RReLU(), Own(), Elementwise(torch.sin)])
def test_what_learns_draws_or_is_the_users_own_is_read_at_the_samples(module):
    assert isinstance(gate_of_module(module, FLOAT, 1, has_members=False), SlopeGate)


def test_a_module_that_works_in_place_spares_its_samples():
    z = torch.randn(20, 3)
    kept = z.clone()
    masks(gate_of_module(nn.ReLU(inplace=True), FLOAT, 1, has_members=False), z, 1)
    masks(gate_of_module(nn.RReLU(inplace=True), FLOAT, 1, has_members=False), z, 1)
    assert torch.equal(z, kept)


# --- populations and code of the user's own ---


def layer_of(network, number=0):
    return network.layers[number].activation


def gate_of_layer(layer, z):
    return gate_of_call(UnitActivation.forward, (layer, z), {}, z, 2)


def test_members_with_the_same_function_share_a_gate():
    layer, z = layer_of(population(stack(["relu"] * 3), stack(["relu"] * 3), seeds=[1, 2])), torch.randn(2, 16, 9)
    assert gate_of_layer(layer, z) == call(F.relu)


def test_members_and_units_of_a_layer_are_counted_by_their_own_functions():
    arms = [stack([["relu", "sigmoid"], "relu", "relu"]), stack(["prelu", "relu", "relu"]), stack(["none", "relu", "relu"])]
    layer = layer_of(population(*arms, seeds=[1, 2, 3]))
    z = torch.randn(3, 40, 9) * 4
    gate = gate_of_layer(layer, z)
    assert isinstance(gate, PartedGate)
    with torch.no_grad():
        for group in layer.groups[1].functions:
            group.weight.fill_(0.01)
    laid = z.unsqueeze(-1)
    saturated, closed = gate.count(laid, torch.le(laid, 0).float(), z)
    slopes = slope(layer.forward, z)
    largest = torch.ones(3, 1, 9)
    largest[0, 0, 5:] = 0.25
    assert torch.equal(gate.shape(laid, z).largest_slope, largest[:, 0])
    assert torch.equal(saturated[..., 0], (slopes < 0.05 * largest).float())
    assert torch.equal(closed[..., 0], (slopes == 0).float())
    assert gate.shape(laid, z).linear.tolist() == [[False] * 9, [False] * 9, [True] * 9]
    assert saturated[1].any()
    assert not closed[1].any()


def test_a_users_function_is_read_at_the_samples():
    module, z = Elementwise(lambda z: z.sin()), torch.randn(30, 3)
    gate = gate_of_call(Elementwise.forward, (module, z), {}, z, 1)
    saturated, closed = masks(gate, z, 1)
    largest = gate.shape(laid_out(z, 1, has_members=False), z).largest_slope
    assert torch.equal(saturated.view(z.shape), (z.cos().abs() < 0.05 * largest).float())
    assert not closed.any()


class Narrowing(nn.Module):
    """A clipped activation whose bounds are drawn in, as schedules do: open in the first step, all but shut from then on."""

    def __init__(self):
        super().__init__()
        self.linear, self.bound = nn.Linear(6, 4), 100.0

    def forward(self, x):
        z = self.linear(x)
        output = F.hardtanh(z, -self.bound, self.bound)
        self.bound = 1e-3
        return output


class Drawn(Narrowing):
    """A slope below zero that is computed in every pass."""

    def forward(self, x):
        z = self.linear(x)
        output = F.prelu(z, torch.tensor([0.5 if self.bound > 1 else 0.0]) * 1)
        self.bound = 1e-3
        return output


@pytest.mark.parametrize("kind", [Narrowing, Drawn])
def test_options_that_change_from_step_to_step_are_followed(kind):
    network = kind()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-6)
    recorder = Recorder(network, optimizer, every(1))
    with recorder:
        for step in range(2):
            recorder.begin(step)
            network(torch.randn(50, 6)).square().sum().backward()
            recorder.gradients_ready()
            optimizer.step()
            recorder.step_taken()
            optimizer.zero_grad()
    (trace,) = build_traces(recorder, [MemberName("a", 0)], Progress(np.zeros((2, 1), np.float32)), Task(), "all")
    open_still, shut = trace.unit_statistics["closed_frac"][0].mean(axis=1)
    assert open_still == 0
    assert shut > 0.3
