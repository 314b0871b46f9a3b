"""Every statistic against a naive twin in NumPy's float64, its invariances, and the values at the edges."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn

from gradscope import statistics
from gradscope.activations import TABLE
from gradscope.statistics import shape_of, slope

MEMBERS, UNITS = 2, 3


def tensors(samples=st.integers(2, 12), low=-100.0, high=100.0):
    values = st.floats(low, high, width=32).map(lambda v: 0.0 if abs(v) < 1e-3 else v)
    return samples.flatmap(lambda n: hnp.arrays(np.float64, (MEMBERS, n, UNITS), elements=values)).map(torch.tensor)


def naive_share(hit):
    hit = hit.numpy()
    return np.array([[sum(hit[m, :, u]) / hit.shape[1] for u in range(hit.shape[2])] for m in range(hit.shape[0])])


def naive_norm(values):
    return np.array([sum(float(v) ** 2 for v in member.flatten()) ** 0.5 for member in values])


@given(tensors())
def test_shares_are_naive_counts(z):
    assert statistics.nonpositive_frac(z).numpy() == pytest.approx(naive_share(z <= 0))
    assert statistics.closed_frac(z).numpy() == pytest.approx(naive_share(z == 0))
    largest = torch.full((MEMBERS, UNITS), 90.0, dtype=z.dtype)
    assert statistics.saturated_frac(z, largest).numpy() == pytest.approx(naive_share(z.abs() < 4.5))
    weights = z.transpose(1, 2)
    naive = (weights.flatten(1) <= 0).double().mean(1)
    assert statistics.nonpositive_weight_frac(weights).numpy() == pytest.approx(naive.numpy())


@given(tensors())
def test_norms_are_naive_sums(values):
    wanted = naive_norm(values)
    assert statistics.norm(values).numpy() == pytest.approx(wanted, rel=1e-12)
    assert statistics.plain_norm(values).numpy() == pytest.approx(wanted, rel=1e-12)
    assert statistics.rms(values).numpy() == pytest.approx(wanted / values[0].numel() ** 0.5, rel=1e-12)
    assert statistics.norm(values.float()).numpy() == pytest.approx(wanted, rel=1e-5)


def spread(z):
    """Whether every unit varies enough for a ratio to its deviation to have digits."""
    return bool((z.std(dim=1, correction=0) > 1e-2 * (1 + z.abs().amax(dim=1))).all())


@given(tensors().filter(spread))
def test_common_modes_are_naive_ratios(z):
    n = z.numpy()
    assert statistics.common_mode(z).numpy() == pytest.approx(np.abs(n.mean(1)) / n.std(1), rel=1e-9, abs=1e-9)
    mean = n.mean(1, keepdims=True)
    varying = ((n - mean) ** 2).sum((1, 2)) / n.shape[1]
    assert statistics.site_common_mode(z).numpy() == pytest.approx(np.sqrt((mean**2).sum((1, 2)) / varying), rel=1e-6, abs=1e-6)


@given(tensors(), st.floats(0.01, 100))
def test_scaling(z, factor):
    assert torch.equal(statistics.nonpositive_frac(z * factor), statistics.nonpositive_frac(z))
    assert statistics.norm(z * factor).numpy() == pytest.approx(statistics.norm(z).numpy() * factor, rel=1e-9)
    assert statistics.norm(-z).numpy() == pytest.approx(statistics.norm(z).numpy())


@given(tensors().filter(spread), st.floats(0.01, 100))
def test_common_modes_have_no_unit(z, factor):
    for statistic in (statistics.common_mode, statistics.site_common_mode):
        assert statistic(z * factor).numpy() == pytest.approx(statistic(z).numpy(), rel=1e-6, abs=1e-9)


@given(tensors(), st.randoms(use_true_random=False))
def test_the_order_of_samples_is_of_no_account(z, random):
    order = list(range(z.shape[1]))
    random.shuffle(order)
    for name in ("nonpositive_frac", "closed_frac", "common_mode", "site_common_mode", "norm", "rms"):
        statistic = getattr(statistics, name)
        a, b = statistic(z).numpy(), statistic(z[:, order]).numpy()
        flat = np.isinf(a) | np.isinf(b) | (a > 1e6)  # deviation of rounding only
        assert a[~flat] == pytest.approx(b[~flat], rel=1e-6, abs=1e-9), name


@given(tensors(), tensors())
def test_two_halves_make_the_whole(a, b):
    whole, n, m = torch.cat([a, b], dim=1), a.shape[1], b.shape[1]
    for name in ("nonpositive_frac", "closed_frac"):
        statistic = getattr(statistics, name)
        merged = (statistic(a) * n + statistic(b) * m) / (n + m)
        assert statistic(whole).numpy() == pytest.approx(merged.numpy())
    merged = (statistics.norm(a).square() + statistics.norm(b).square()).sqrt()
    assert statistics.norm(whole).numpy() == pytest.approx(merged.numpy(), rel=1e-9)


@given(tensors())
def test_members_and_units_do_not_mix(z):
    for name in ("nonpositive_frac", "closed_frac", "common_mode"):
        statistic = getattr(statistics, name)
        alone, together = statistic(z[1:, :, 2:]).numpy(), statistic(z)[1:, 2:].numpy()
        flat = together > 1e6  # deviation of rounding only
        assert alone[~flat] == pytest.approx(together[~flat], rel=1e-6, abs=1e-9)
    assert statistics.norm(z[1:]).numpy() == pytest.approx(statistics.norm(z)[1:].numpy())


@pytest.mark.parametrize("size", [1e-30, 1e-38, 1.0, 1e15, 1e30, 1e37])
def test_gradients_of_any_size_have_a_norm(size):
    values = torch.tensor([[[3.0, -4.0]], [[0.0, 0.0]]]) * size
    assert statistics.norm(values)[0].item() == pytest.approx(5 * size, rel=1e-4)
    assert statistics.norm(values)[1].item() == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_accumulated_in_float32(dtype):
    z = (torch.randn(2, 5000, 3) * 40 + 10).to(dtype)
    for name in ("nonpositive_frac", "common_mode", "site_common_mode", "norm", "plain_norm", "rms", "nonpositive_weight_frac"):
        got = getattr(statistics, name)(z)
        assert got.dtype == torch.float32, name
        np.testing.assert_allclose(got, getattr(statistics, name)(z.double()), rtol=1e-4, err_msg=name)
    slopes = slope(torch.sigmoid, z)
    assert statistics.closed_frac(slopes).dtype == torch.float32
    largest = torch.full((2, 3), 0.25, dtype=dtype)
    assert torch.allclose(
        statistics.saturated_frac(slopes, largest), (slopes.double() < 0.05 * largest[0, 0].double()).float().mean(1), atol=1e-3
    )


def test_a_nan_shows_where_it_can_and_is_no_share_elsewhere():
    z = torch.tensor([[[-1.0, 1.0], [float("nan"), 2.0]]])
    assert statistics.nonpositive_frac(z).tolist() == [[0.5, 0.0]]
    assert statistics.closed_frac(z).tolist() == [[0.0, 0.0]]
    assert statistics.saturated_frac(z, torch.ones(1, 2)).tolist() == [[0.0, 0.0]]
    assert torch.isnan(statistics.common_mode(z)).tolist() == [[True, False]]
    for statistic in (statistics.norm, statistics.plain_norm, statistics.rms, statistics.site_common_mode):
        assert torch.isnan(statistic(z)).all()
        assert not torch.isfinite(statistic(torch.full((1, 2, 2), float("inf")))).any()


def test_an_empty_batch_has_no_share_and_no_mean():
    z = torch.zeros(2, 0, 3)
    for name in ("nonpositive_frac", "closed_frac", "common_mode", "rms"):
        assert torch.isnan(getattr(statistics, name)(z)).all(), name
    assert torch.isnan(statistics.saturated_frac(z, torch.ones(2, 3))).all()
    assert statistics.norm(z).tolist() == [0, 0]


def test_one_sample_has_no_common_mode():
    assert torch.isnan(statistics.common_mode(torch.ones(2, 1, 3))).all()
    assert statistics.nonpositive_frac(-torch.ones(2, 1, 3)).tolist() == [[1.0] * 3] * 2


@pytest.mark.parametrize("constant", [0.0, 1.0, -2.5, 0.1, 1e-20, 1e10])
def test_a_constant_is_all_common_mode(constant):
    z = torch.full((1, 7, 2), constant)
    assert (statistics.common_mode(z) > 1e6).all()  # float32's mean of seven tenths is not quite a tenth
    assert (statistics.site_common_mode(z) > 500).all()


KINKS = {
    "relu": [0], "relu6": [0, 6], "leaky_relu": [0], "prelu": [0], "rrelu": [0], "elu": [0], "selu": [0], "celu": [0],
    "softsign": [0], "softshrink": [-0.5, 0.5], "hardshrink": [-0.5, 0.5], "hardtanh": [-1, 1], "hardsigmoid": [-3, 3],
    "hardswish": [-3, 3], "threshold": [0.1], "softplus": [20],
}  # fmt: skip


def module_of(name, **parameters):
    entry = TABLE[name]
    given = {key: 0.1 if item.default is None else item.default for key, item in entry.parameters.items()}
    return getattr(nn, entry.torch_class)(**(given | parameters))


@pytest.mark.parametrize("name", TABLE)
def test_slope_is_the_finite_difference(name):
    module, h = module_of(name).double().eval(), 1e-6
    z = torch.linspace(-9, 25, 3401, dtype=torch.float64)
    for kink in KINKS.get(name, []):
        z = z[(z - kink).abs() > 10 * h]
    with torch.no_grad():
        wanted = (module(z + h) - module(z - h)) / (2 * h)
    assert torch.allclose(slope(module, z), wanted, rtol=1e-6, atol=1e-8)
    assert not slope(module, z).requires_grad


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("inside", [torch.no_grad, torch.enable_grad])
def test_slope_leaves_random_state_graph_and_gradients_alone(name, inside):
    module = module_of(name).train()
    z = torch.randn(50, requires_grad=True)
    deep = z * 2
    kept, state = deep.detach().clone(), torch.get_rng_state()
    with inside():
        first = slope(module, deep)
        assert torch.is_grad_enabled() == (inside is torch.enable_grad)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(deep, kept)
    assert z.grad is None
    assert all(p.grad is None for p in module.parameters())
    assert torch.equal(first, slope(module, deep))
    output = module(deep)  # the same noise as the slope's
    output.sum().backward()
    assert torch.allclose(z.grad, first * 2)


def test_slope_of_an_in_place_function_leaves_its_argument():
    z = torch.tensor([-1.0, 2.0])
    assert slope(nn.ReLU(inplace=True), z).tolist() == [0.0, 1.0]
    assert z.tolist() == [-1.0, 2.0]


@pytest.mark.parametrize("function", [lambda z: (z > 0).float(), torch.ones_like, lambda z: torch.zeros(z.shape)])
def test_a_step_function_has_slope_zero(function):
    assert slope(function, torch.tensor([-1.0, 2.0])).tolist() == [0.0, 0.0]


def test_shape_of_reads_each_unit_by_itself():
    outputs = torch.tensor([[[0.0, -1.0], [0.0, 0.0], [5.0, 1.0]]])
    slopes = torch.tensor([[[0.0, 0.001], [0.5, 1.0], [1.0, 0.001]]])
    shape = shape_of(outputs, slopes)
    assert shape.shuts.tolist() == [[True, False]]
    assert shape.saturates.tolist() == [[False, True]]
    assert shape.largest_slope.tolist() == [[1.0, 1.0]]
    assert shape.linear.tolist() == [[False, False]]


def test_the_threshold_of_saturation_is_where_the_docs_say():
    for function, largest, limit in ((torch.tanh, 1.0, 2.18), (torch.sigmoid, 0.25, 4.36)):
        z = torch.tensor([[[limit - 0.02], [limit + 0.02], [-limit - 0.02], [0.0]]], dtype=torch.float64)
        shares = [
            statistics.saturated_frac(slope(function, z[:, i : i + 1]), torch.tensor([[largest]], dtype=z.dtype)).item()
            for i in range(4)
        ]
        assert shares == [0.0, 1.0, 1.0, 0.0]


@settings(max_examples=30)
@given(tensors(low=-30.0, high=30.0))
def test_shares_never_leave_zero_to_one(z):
    for function in (torch.relu, torch.sigmoid, torch.tanh):
        slopes = slope(function, z)
        saturated = statistics.saturated_frac(slopes, torch.ones(MEMBERS, UNITS, dtype=z.dtype))
        closed = statistics.closed_frac(slopes)
        assert ((closed >= 0) & (closed <= saturated) & (saturated <= 1)).all()


@pytest.mark.parametrize("samples", [29, 32, 41, 47, 55, 61, 97, 107, 110, 300])
def test_a_share_of_all_samples_is_exactly_one(samples):
    assert (statistics.closed_frac(torch.zeros(1, samples, 3)) == 1).all()
