"""Gates count what autograd says of the samples themselves, and describe a non-linearity by how it acts far out."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from gradscope.gates import MOST_INTERVALS, Part, PartedGate, SlopeGate, interval_gate, search_gate
from gradscope.statistics import SATURATED_SLOPE, slope
from gradscope.unit_axis import laid_out

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
HUGE = 1e5  # gates are searched for up to here; beyond it a function goes on as it ends
# name -> function and options to try it with; slopes of the first kind are a few plain numbers, those of the second curves
STRAIGHT = {
    "relu": (F.relu, [()]),
    "relu6": (F.relu6, [()]),
    "leaky_relu": (F.leaky_relu, [(), (0.2,), (0.04,), (0.0,), (1.0,), (-0.5,)]),
    "hardtanh": (F.hardtanh, [(), (-100.0, 100.0), (0.0, 1.0), (-0.3, 7.0)]),
    "hardsigmoid": (F.hardsigmoid, [()]),
    "softshrink": (F.softshrink, [(), (1.3,), (0.0,)]),
    "hardshrink": (F.hardshrink, [(), (2.0,)]),
    "threshold": (F.threshold, [(0.1, 20.0), (0.0, 0.0), (-1.0, -2.0)]),
    "clamp": (torch.clamp, [(0,), (None, 3.0), (-1, 1), (-0.5, 0.5)]),
}
CURVED = {
    "tanh": (F.tanh, [()]),
    "sigmoid": (F.sigmoid, [()]),
    "logsigmoid": (F.logsigmoid, [()]),
    "gelu": (F.gelu, [()]),
    "gelu, tanh": (lambda z: F.gelu(z, approximate="tanh"), [()]),
    "silu": (F.silu, [()]),
    "elu": (F.elu, [(), (0.3,), (2.5,)]),
    "selu": (F.selu, [()]),
    "celu": (F.celu, [(), (2.0,), (0.1,)]),
    "hardswish": (F.hardswish, [()]),
    "mish": (F.mish, [()]),
    "softplus": (F.softplus, [(), (2.0, 5.0), (0.5,)]),
    "softsign": (F.softsign, [()]),
    "tanhshrink": (F.tanhshrink, [()]),
}
FUNCTIONS = STRAIGHT | CURVED
CASES = [(name, options) for name, (_, every) in FUNCTIONS.items() for options in every]
TOO_RAGGED = {("softsign", torch.bfloat16), ("softsign", torch.float16)}  # rounding makes more intervals than it is worth


def gate_of(name, options, dtype):
    return interval_gate(FUNCTIONS[name][0], options, (), dtype)


def of_z(name, options):
    return lambda z: FUNCTIONS[name][0](z, *options)


def neighbours(end, dtype, count=3):
    """The number and those next to it in its type, on both sides."""
    found = [torch.tensor(end, dtype=dtype)]
    for direction in (-math.inf, math.inf):
        near = found[0]
        for _ in range(count):
            near = torch.nextafter(near, torch.tensor(direction, dtype=dtype))
            found.append(near)
    return torch.stack(found)


def finite_ends(gate):
    return [end for interval in (*gate.saturated, *gate.closed) for end in interval if math.isfinite(end)]


def samples(gate, dtype):
    edges = [0.0, -0.0, 1e-7, -1e-7, 12.0, -12.0, 0.5, -0.5, 6.0, 3.0, -3.0, 1.0, -1.0, 20.0]
    drawn = [torch.randn(4000) * scale for scale in (1, 5, 60)] + [(torch.rand(500) - 0.5) * 2 * HUGE]
    near = [neighbours(end, dtype) for end in finite_ends(gate)]
    z = torch.cat([torch.tensor(edges).to(dtype), *near, *(values.to(dtype) for values in drawn)])
    return z[z.isfinite()]


def counted(gate, raw, axis=1):
    """Which samples a gate counts as saturated and closed: the masks as truth values, laid out as the sums get them."""
    z = laid_out(raw, axis, has_members=False)
    z = z.float() if z.dtype in (torch.float16, torch.bfloat16) else z
    masks = gate.count(z, torch.le(z, 0).to(z.dtype), raw)
    zero = torch.zeros_like(z)
    assert all(mask is None or set(mask.unique().tolist()) <= {0.0, 1.0} for mask in masks)
    return [(zero if mask is None else mask).bool() for mask in masks]


def twin(function, raw, largest):
    """The same from the slopes at the samples."""
    slopes = slope(function, raw).double().abs()
    return slopes < SATURATED_SLOPE * largest, slopes == 0


def far_from(ends, z, dtype):
    """Samples so far from an interval's end that rounding, which differs from one to the next, is of no account."""
    room = max(2e-3, 4 * torch.finfo(dtype).eps)
    near = [(z.double() - end).abs() <= room * abs(end) + 1e-6 for end in ends]
    return ~torch.stack(near).any(dim=0) if near else torch.ones_like(z, dtype=torch.bool)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "options"), CASES)
def test_an_interval_gate_counts_what_autograd_finds_at_the_samples(name, options, dtype):
    gate = gate_of(name, options, dtype)
    if (name, dtype) in TOO_RAGGED:
        assert gate is None
        return
    z = samples(gate, dtype)
    clear = torch.ones_like(z, dtype=torch.bool) if name in STRAIGHT else far_from(finite_ends(gate), z, dtype)
    assert clear.sum() > 0.9 * len(z)
    for got, wanted in zip(counted(gate, z.unsqueeze(1)), twin(of_z(name, options), z, gate.largest_slope), strict=True):
        wrong = clear & (got.flatten() != wanted)
        assert not wrong.any(), z[wrong][:5].tolist()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "options"), [case for case in CASES if case[0] in STRAIGHT])
def test_an_interval_ends_at_a_number_whose_neighbour_is_outside(name, options, dtype):
    gate = gate_of(name, options, dtype)
    for intervals, limit in ((gate.saturated, SATURATED_SLOPE * gate.largest_slope), (gate.closed, 0.0)):
        for low, high in intervals:
            assert low <= high
            for end, outward in ((low, -math.inf), (high, math.inf)):
                if math.isfinite(end):
                    at = torch.tensor(end, dtype=dtype)
                    beyond = torch.nextafter(at, torch.tensor(outward, dtype=dtype))
                    inside, outside = slope(of_z(name, options), torch.stack([at, beyond])).abs().tolist()
                    assert at.item() == end  # a number of the type
                    assert inside <= limit < outside


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "options"), CASES)
def test_nan_is_in_no_interval_and_infinity_where_its_side_ends(name, options, dtype):
    gate = gate_of(name, options, dtype)
    if gate is None:
        return
    z = torch.tensor([math.nan, -math.inf, -HUGE / 2, math.inf, HUGE / 2], dtype=dtype)
    for got in counted(gate, z.unsqueeze(1)):
        nan, low, last_low, high, last_high = got.flatten().tolist()
        assert not nan
        assert (low, high) == (last_low, last_high)


@pytest.mark.parametrize("dtype", DTYPES)
def test_huge_values_are_counted_as_their_side_ends(dtype):
    largest = torch.finfo(dtype).max
    z = torch.tensor([-largest, -largest / 4, largest / 4, largest], dtype=dtype).unsqueeze(1)
    wanted = {
        "relu": [1, 1, 0, 0],
        "relu6": [1, 1, 1, 1],
        "tanh": [1, 1, 1, 1],
        "elu": [1, 1, 0, 0],
        "gelu, tanh": [1, 1, 0, 0],
    }
    for name, shares in wanted.items():
        for got in counted(gate_of(name, (), dtype), z):
            assert got.flatten().int().tolist() == shares, name


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_samples_of_half_precision_are_counted_by_the_slopes_they_have_there(name, options, dtype):
    """All of them, one by one: there are not many. The same ends as in float32 would miss where half precision underflows."""
    gate = gate_of(name, options, dtype)
    if gate is None:
        return
    z = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
    z = z[z.isfinite() & (z.double().abs() <= HUGE / 4)]
    for got, wanted in zip(counted(gate, z.unsqueeze(1)), twin(of_z(name, options), z, gate.largest_slope), strict=True):
        wrong = (got.flatten() != wanted) & far_from(finite_ends(gate), z, dtype)
        allowed = 0 if name in STRAIGHT else 1e-3
        assert wrong.double().mean() <= allowed, z[wrong][:9].tolist()


KINDS = {  # shuts, saturates, linear
    "relu": (True, False, False), "relu6": (True, True, False), "sigmoid": (False, True, False), "tanh": (False, True, False),
    "hardsigmoid": (True, True, False), "hardtanh": (False, True, False), "softsign": (False, True, False),
    "leaky_relu": (False, False, False), "elu": (False, False, False), "selu": (False, False, False),
    "celu": (False, False, False), "gelu": (True, False, False), "silu": (False, False, False), "mish": (False, False, False),
    "hardswish": (True, False, False), "softplus": (False, False, False), "logsigmoid": (False, False, False),
    "softshrink": (False, False, False), "hardshrink": (False, False, False), "tanhshrink": (False, False, False),
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", KINDS)
def test_the_kind_of_a_function_is_the_same_in_every_precision(name, dtype):
    """A sigmoid underflows to 0 in half precision, which does not shut it."""
    gate = gate_of(name, (), dtype)
    if gate is not None:
        assert (gate.shuts, gate.saturates, gate.linear) == KINDS[name]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("name", "options", "kind"),
    [
        ("hardtanh", (-100.0, 100.0), (False, True, False)),
        ("hardtanh", (0.0, 1.0), (True, True, False)),
        ("clamp", (0,), (True, False, False)),
        ("clamp", (None, 3.0), (False, False, False)),
        ("clamp", (-1, 1), (False, True, False)),
        ("threshold", (0.0, 0.0), (True, False, False)),
        ("threshold", (0.1, 20.0), (False, False, False)),
        ("leaky_relu", (0.0,), (True, False, False)),
        ("leaky_relu", (0.04,), (False, False, False)),
        ("leaky_relu", (1.0,), (False, False, True)),
    ],
)
def test_options_decide_the_kind(name, options, kind, dtype):
    gate = gate_of(name, options, dtype)
    assert (gate.shuts, gate.saturates, gate.linear) == kind


def test_an_interval_gate_says_the_same_of_each_unit():
    z = torch.randn(1, 5, 3, 1)
    shape = gate_of("sigmoid", (), torch.float32).shape(z, z)
    assert shape.largest_slope.tolist() == [[0.25] * 3]
    assert [mask.tolist() for mask in shape[1:]] == [[[False] * 3], [[True] * 3], [[False] * 3]]


def test_what_is_shut_is_counted_with_one_comparison():
    z = torch.randn(1, 50, 3, 1)
    nonpositive = torch.le(z, 0).float()
    masks = gate_of("relu", (), torch.float32).count(z, nonpositive, z)
    assert masks.saturated is nonpositive
    assert masks.closed is nonpositive
    assert gate_of("leaky_relu", (0.2,), torch.float32).count(z, nonpositive, z) == (None, None)


def test_searching_leaves_random_state_and_graph_alone():
    state = torch.get_rng_state()
    assert search_gate(lambda z: F.dropout(z, 0.5), torch.float32) is None
    assert torch.equal(torch.get_rng_state(), state)
    with torch.no_grad():
        assert gate_of("tanh", (), torch.float32) == search_gate(torch.tanh, torch.float32)
    assert search_gate(lambda z: F.rrelu(z, training=False), torch.float32) is not None


def test_what_draws_random_numbers_has_no_interval_gate():
    assert search_gate(lambda z: F.rrelu(z, training=True), torch.float32) is None


@pytest.mark.parametrize("function", [torch.sin, lambda z: z.exp().exp(), lambda z: z.square().log()])
def test_what_waves_or_overflows_has_no_interval_gate(function):
    assert search_gate(function, torch.float32) is None


def test_a_step_function_is_shut_everywhere():
    gate = search_gate(lambda z: (z > 0).float(), torch.float32)
    assert (gate.closed, gate.largest_slope, gate.linear) == (((-math.inf, math.inf),), 0.0, False)
    assert all(len(intervals) <= MOST_INTERVALS for intervals in (gate.saturated, gate.closed))


# --- slopes at the samples ---


def slope_counts(function, raw, axis, limit_of):
    """The masks from the slopes of the whole call, [batch, ..., unit, ...] as it stands; `limit_of` is the largest per unit."""
    slopes = slope(function, raw).double().abs()
    shape = [-1 if i == axis else 1 for i in range(raw.dim())]
    limit = SATURATED_SLOPE * torch.as_tensor(limit_of, dtype=torch.float64).view(shape)
    return [laid_out(mask.float(), axis, has_members=False).bool() for mask in (slopes < limit, slopes == 0)]


PRELU = [0.25, 0.03, 0.0, 1.0, -2.0]
PRELU_LARGEST = [1.0, 1.0, 1.0, 1.0, 2.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("size", [(40, 5), (8, 5, 6), (6, 5, 4, 3), (4, 5, 2, 3, 2)])
def test_a_prelu_has_a_slope_for_each_channel(size, dtype):
    module = nn.PReLU(5)
    with torch.no_grad():
        module.weight.copy_(torch.tensor(PRELU))
    module, z = module.to(dtype), (torch.randn(size) * 3).to(dtype)
    gate = SlopeGate(module, 1, has_members=False)
    shape = gate.shape(laid_out(z, 1, has_members=False), z)
    assert shape.largest_slope.tolist() == [PRELU_LARGEST]
    assert shape.shuts.tolist() == [[weight == 0 for weight in PRELU]]
    assert shape.saturates.tolist() == [[False] * 5]
    assert shape.linear.tolist() == [[weight == 1 for weight in PRELU]]
    for got, wanted in zip(counted(gate, z), slope_counts(module, z, 1, PRELU_LARGEST), strict=True):
        assert torch.equal(got, wanted)
        assert got.any()


@pytest.mark.parametrize(("size", "axis"), [((30,), 0), ((30, 4), 1), ((3, 10, 4), 2), ((2, 4, 5, 3), 1), ((2, 5, 3, 4), 3)])
def test_one_slope_for_all_units(size, axis):
    module, z = nn.PReLU(init=0.01), torch.randn(size)
    gate = SlopeGate(module, axis, has_members=False)
    units = 1 if len(size) == 1 else size[axis]
    shape = gate.shape(laid_out(z, axis, has_members=False), z)
    assert shape.largest_slope.tolist() == [[1.0] * units]
    for got, wanted in zip(counted(gate, z, axis), slope_counts(module, z, axis, [1.0] * z.shape[axis]), strict=True):
        assert torch.equal(got, wanted)


def test_slopes_of_times_do_not_stand_for_those_of_features():
    """torch's PReLU learns along axis 1, which are times here: a unit's largest slope is over all of them."""
    module, z = nn.PReLU(3), torch.randn(8, 3, 4)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([0.1, 5.0, 0.2]))
    shape = SlopeGate(module, 2, has_members=False).shape(laid_out(z, 2, has_members=False), z)
    assert shape.largest_slope.tolist() == [[5.0] * 4]
    assert shape.shuts.tolist() == [[False] * 4]


def test_a_slope_that_is_learned_is_read_anew():
    module, z = nn.PReLU(init=0.2), -torch.rand(10, 1) - 0.1
    gate = SlopeGate(module, 1, has_members=False)
    assert not any(mask.any() for mask in counted(gate, z))
    with torch.no_grad():
        module.weight.zero_()
    assert all(mask.all() for mask in counted(gate, z))


@pytest.mark.parametrize("inplace", [False, True])
def test_the_noise_of_a_random_slope_is_that_of_the_call_that_follows(inplace):
    module = nn.RReLU(0.0, 0.2, inplace=inplace).train()
    z = torch.randn(200, 3)
    kept, state = z.clone(), torch.get_rng_state()
    gate = SlopeGate(module, 1, has_members=False)
    shape = gate.shape(laid_out(z, 1, has_members=False), z)
    saturated, closed = counted(gate, z)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(z, kept)
    assert shape.largest_slope.tolist() == [[1.0] * 3]
    point = z.clone().requires_grad_()
    output = module(point.clone())
    output.sum().backward()
    assert torch.equal(saturated.view(z.shape), point.grad < 0.05)
    assert 0.15 < saturated.view(z.shape)[kept < 0].float().mean() < 0.35  # a quarter of the slopes of negative values
    assert not closed.any()


def test_a_function_is_tried_on_no_more_than_a_grid_and_the_samples():
    sizes = []

    def noted(z):
        sizes.append(tuple(z.shape))
        return torch.relu(z)

    z = torch.randn(7, 3, 4, 5)
    gate = SlopeGate(noted, 1, has_members=False)
    gate.shape(laid_out(z, 1, has_members=False), z)
    counted(gate, z)
    counted(gate, z)
    assert len(set(sizes)) == 2
    assert sizes.count((7, 3, 4, 5)) == 2
    assert all(size[1:] == (3, 1, 1) for size in sizes if size[0] != 7)


def test_a_nan_is_neither_saturated_nor_closed():
    z = torch.tensor([[math.nan], [-1.0], [2.0]])
    for gate in (SlopeGate(torch.relu, 1, has_members=False), gate_of("relu", (), torch.float32)):
        assert [mask.flatten().tolist() for mask in counted(gate, z)] == [[False, True, False]] * 2


# --- several side by side ---


def test_a_mixed_gate_is_its_parts():
    z = torch.randn(3, 40, 7) * 4
    own = nn.PReLU(init=0.0)
    two, third = slice(0, 2), slice(2, 3)
    parts = [  # members, units, function, gate
        (two, slice(0, 3), torch.relu, gate_of("relu", (), torch.float32)),
        (two, slice(3, 7), torch.sigmoid, gate_of("sigmoid", (), torch.float32)),
        (third, slice(0, 1), torch.clone, search_gate(torch.clone, torch.float32)),
        (third, slice(1, 7), own, SlopeGate(own, 2, has_members=True)),
    ]
    gate = PartedGate([Part(members, units, found) for members, units, _, found in parts])
    laid = z.unsqueeze(-1)
    masks, shape = gate.count(laid, torch.le(laid, 0).float(), z), gate.shape(laid, z)
    assert [tuple(values.shape) for values in (*masks, *shape)] == [(3, 40, 7, 1)] * 2 + [(3, 7)] * 4
    for members, units, function, _ in parts:
        part = z[members, :, units].contiguous()
        slopes = slope(function, part).abs()
        largest = 0.25 if function is torch.sigmoid else 1.0
        assert torch.equal(masks.saturated[members, :, units, 0].bool(), slopes < 0.05 * largest)
        assert torch.equal(masks.closed[members, :, units, 0].bool(), slopes == 0)
        assert (shape.largest_slope[members, units] == largest).all()
        assert (shape.shuts[members, units] == (function in (torch.relu, own))).all()
        assert (shape.saturates[members, units] == (function is torch.sigmoid)).all()
    assert shape.linear.tolist() == [[False] * 7] * 2 + [[True] + [False] * 6]
    assert shape.shuts.dtype == torch.bool
