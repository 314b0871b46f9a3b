"""Numbers of the user's loop: one per step, kept where they are until they are asked for."""

import numpy as np
import pytest
import torch
from torch import Tensor

from gradscope import logged
from gradscope.errors import WatchError
from gradscope.logged import MOST_VALUES, Series, as_number


def filled(values, steps=None):
    series = Series()
    for step, value in zip(steps or range(len(values)), values, strict=True):
        series.put(step, value)
    return series


@pytest.mark.parametrize("count", [0, 1, 2, 255, 256, 257, 258, 512, 513, 3000])
@pytest.mark.parametrize("kind", [float, torch.tensor], ids=["numbers", "tensors"])
def test_values_come_back_in_order(count, kind):
    series = filled([kind(float(i)) for i in range(count)])
    assert series.values().dtype == np.float32
    assert series.values().tolist() == list(range(count))
    assert series.steps == list(range(count))


def test_numbers_and_tensors_of_all_types_mix():
    values = [1, 2.5, True, torch.tensor(3.0), torch.tensor(4), torch.tensor(5.5, dtype=torch.float64)]
    values += [torch.tensor(6.5, dtype=torch.bfloat16), torch.tensor(7.5, dtype=torch.float16), torch.tensor(True)]
    wanted = [1, 2.5, 1, 3, 4, 5.5, 6.5, 7.5, 1]
    assert filled([as_number("loss", value) for value in values]).values().tolist() == wanted


@pytest.mark.parametrize("count", [1, 255, 256, 257, 600])
def test_a_steps_value_is_replaced_by_a_later_one(count):
    """Also where the values before it have been put together already, or copied."""
    series = filled([float(i) for i in range(count)])
    series.put(count - 1, torch.tensor(-5.0))
    assert series.values().tolist() == [*range(count - 1), -5]
    series.put(count - 1, -6.0)
    assert series.values().tolist() == [*range(count - 1), -6]
    assert series.steps == list(range(count))
    series.put(count, 1.0)
    assert series.values().tolist() == [*range(count - 1), -6, 1]


def test_asking_in_between_changes_nothing():
    asked, quiet = Series(), Series()
    for step in range(2000):
        for _ in range(1 + step % 3):
            asked.put(step, torch.tensor(step / 7))
            quiet.put(step, torch.tensor(step / 7))
        if step % 97 == 0:
            assert len(asked.values()) == len(asked.steps) == step + 1
    assert asked.values().tolist() == quiet.values().tolist()
    assert asked.steps == quiet.steps


def test_steps_may_be_far_apart():
    assert filled([1.0, 2.0, 3.0], steps=[3, 10, 1000]).steps == [3, 10, 1000]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_kept(value):
    got = filled([value, torch.tensor(value)]).values()
    np.testing.assert_array_equal(got, [value, value])


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(logged, "MOST_VALUES", 1000)
    return 1000


@pytest.mark.parametrize("asked_every", [10, 100, 700, 5000])
def test_a_run_that_lasts_forever_is_thinned(short, asked_every):
    series, latest = Series(), 0
    for step in range(10_000):
        series.put(step, float(step))
        if step % asked_every == 0:
            values = series.values()
            latest = max(latest, len(values))
            assert values.tolist() == [float(step) for step in series.steps]
            assert values[-1] == step
    assert series.values().tolist() == series.steps == sorted(set(series.steps))
    assert series.steps[0] == 0
    assert series.steps[-1] == 9999
    if asked_every <= 100:
        assert latest <= short + logged._CHUNK + 100


@pytest.mark.parametrize("asked_every", [100, 700])
def test_a_long_run_is_thinned_evenly(short, asked_every):
    series = Series()
    for step in range(10_000):
        series.put(step, float(step))
        if step % asked_every == 0:
            series.values()
    assert np.diff(series.steps).max() <= 4 * 10_000 / short


def test_a_replaced_value_after_thinning_is_the_last_one(short):
    series = filled([float(i) for i in range(3000)])
    series.values()
    series.put(2999, -1.0)
    assert series.values()[-1] == -1
    assert len(series.values()) == len(series.steps)


def test_the_most_values_is_more_than_a_plot_needs():
    assert MOST_VALUES >= 10_000


@pytest.mark.parametrize("method", ["cpu", "item", "tolist", "numpy", "__float__", "__bool__"])
def test_nothing_is_copied_to_the_host_before_it_is_asked_for(method, monkeypatch):
    values = [torch.tensor(float(i)) for i in range(1000)]

    def copied(*args, **kwargs):
        raise AssertionError(method)

    series = Series()
    with monkeypatch.context() as patch:
        patch.setattr(Tensor, method, copied)
        for step, value in enumerate(values):
            series.put(step, as_number("loss", value))
            series.put(step, as_number("loss", value.view(1, 1)))
    assert series.values().tolist() == list(range(1000))


def test_many_values_are_copied_at_once(monkeypatch):
    series = filled([torch.tensor(float(i)) for i in range(1000)])
    copies, original = [], Tensor.cpu
    monkeypatch.setattr(Tensor, "cpu", lambda tensor: (copies.append(tensor.numel()), original(tensor))[1])
    series.values()
    first = len(copies)
    assert first <= 5
    series.values()
    assert len(copies) == first + 1  # the last ones only


def test_a_value_on_another_device_decides_where_they_are_kept():
    """A value without data: it can be kept, not copied."""
    series = Series()
    with torch.device("meta"):
        loss = torch.zeros(())
    for step in range(300):
        series.put(step, as_number("loss", loss if step else 1.0))
    assert all(chunk.is_meta for chunk in series._chunks)
    assert series._chunks


# --- what counts as one number ---


@pytest.mark.parametrize("shape", [(), (1,), (1, 1, 1)])
def test_a_tensor_of_one_is_a_number_without_its_graph(shape):
    weight = torch.full(shape, 2.0, requires_grad=True)
    got = as_number("loss", weight * 3)
    assert got.shape == ()
    assert not got.requires_grad
    assert got.grad_fn is None
    assert got.item() == 6


def test_a_value_may_change_after_it_was_reported():
    """An in-place sum of losses, as loops keep it, is not what was reported."""
    total = torch.zeros(())
    series = Series()
    for step in range(3):
        total += 1
        series.put(step, as_number("loss", total))
    assert series.values().tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    "value", [np.float32(2.5), np.float64(2.5), np.array(2.5), np.array([[2.5]]), np.int64(2), True, 3, 2.5]
)
def test_numbers_of_all_kinds_are_floats(value):
    got = as_number("loss", value)
    assert isinstance(got, float)
    assert got == float(np.asarray(value).item())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (torch.zeros(3), r"a tensor of shape \[3\]; log its mean"),
        (torch.zeros(0), r"a tensor of shape \[0\]"),
        (torch.zeros(2, 2), r"a tensor of shape \[2, 2\]"),
        (torch.zeros((), dtype=torch.cfloat), r"a tensor of shape \[\]"),
        (np.zeros(3), "got ndarray"),
        ("0.5", "got str"),
        (None, "got NoneType"),
        ([1.0], "got list"),
        (1j, "got complex"),
        (np.complex64(1j), "got complex64"),
        (np.array("x"), "got ndarray"),
    ],
)
def test_anything_else_is_told_in_one_line(value, text):
    with pytest.raises(WatchError, match=text) as caught:
        as_number("accuracy", value)
    assert str(caught.value).startswith("log: accuracy: expected ")
    assert "\n" not in str(caught.value)


def test_a_running_sum_is_kept_as_it_was_at_each_step():
    series, total = Series(), torch.zeros(())
    for step in range(40):
        total += 1
        series.put(step, as_number("total", total))
    assert series.values().tolist() == list(range(1, 41))


def test_what_is_written_into_later_is_left_out_and_all_after_it_is_copied():
    series = Series()
    values = [torch.tensor(float(i)) for i in range(30)]
    for step, value in enumerate(values[:20]):
        series.put(step, as_number("loss", value))
    values[19] += 100
    for step, value in enumerate(values[20:], 20):
        series.put(step, as_number("loss", value))
        value += 100
    left = [*range(19), *range(20, 30)]  # NaN in its place would be taken for the loss's
    assert series.values().tolist() == left
    assert series.steps == left


def test_a_view_of_something_large_does_not_keep_it_alive():
    series = Series()
    for step in range(20):
        losses = torch.full((1000,), float(step))
        series.put(step, as_number("loss", losses[0]))
    kept = {value.untyped_storage().nbytes() for value in series._open}
    assert kept == {4}
    assert series.values().tolist() == list(range(20))
