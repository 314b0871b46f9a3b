"""What gradscope_check takes as data, and the loss that it gives them."""

import doctest
import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from gradscope.errors import DataError
from gradscope.integrations import pytest_names
from gradscope.integrations.pytest_batches import BatchSource
from gradscope.integrations.pytest_loss import default_loss
from gradscope.integrations.pytest_names import baseline_path, safe
from gradscope.integrations.pytest_state import apart, seed_all
from gradscope.integrations.pytest_training import Plan, train_watched

X, Y = torch.arange(100.0).reshape(50, 2), torch.arange(50) % 3


def first(source, count, seed=1):
    return list(itertools.islice(source.batches(seed), count))


def samples_of(batches):
    return torch.cat([x for x, _ in batches])


def test_samples_are_shuffled_by_the_seed_anew_for_each_pass():
    source = BatchSource((X, Y), 16)
    batches = first(source, 8)
    assert [len(x) for x, _ in batches] == [16, 16, 16, 2] * 2
    one, two = samples_of(batches[:4]), samples_of(batches[4:])
    assert sorted(one.tolist()) == sorted(two.tolist()) == X.tolist()
    assert not torch.equal(one, two)
    assert torch.equal(samples_of(first(source, 8)), samples_of(batches))
    assert not torch.equal(samples_of(first(source, 8, seed=2)), samples_of(batches))
    assert all(torch.equal((x[:, 0] / 2).long() % 3, y) for x, y in batches), "x and y stay together"


class Counting(IterableDataset):
    def __iter__(self):
        return iter(zip(X, Y, strict=True))


@pytest.mark.parametrize(
    "data",
    [
        (X.numpy(), Y.numpy()),
        [X, Y],
        TensorDataset(X, Y),
        Counting(),
        DataLoader(TensorDataset(X, Y), 16, shuffle=True),
        [(X[:16], Y[:16]), (X[16:], Y[16:])],
        lambda: ((X[i : i + 16], Y[i : i + 16]) for i in range(0, 50, 16)),
        lambda: (X, Y),
        ((X[:16].numpy(), Y[:16].numpy()) for _ in range(9)),
    ],
    ids=[
        "arrays",
        "list",
        "data set",
        "iterable data set",
        "loader",
        "batches",
        "function of batches",
        "function",
        "generator",
    ],
)
def test_each_form_gives_batches_of_tensors_for_every_seed(data):
    source = BatchSource(data, 16)
    assert source.first_size() == 16
    for seed in (1, 2):
        for x, y in first(source, 9, seed):
            assert x.dtype == torch.float32
            assert not y.is_floating_point()
            assert len(x) == len(y) > 0


def test_what_can_be_read_once_is_kept_and_no_more_is_read_than_is_needed():
    read = []

    def endless():
        for number in itertools.count():
            read.append(number)
            yield X[:4], Y[:4]

    source = BatchSource(endless(), 32)
    assert len(first(source, 5)) == len(first(source, 5, seed=2)) == 5
    assert read == [0, 1, 2, 3, 4]


def test_several_inputs_are_cut_alike():
    for x, _ in first(BatchSource((({"a": X, "b": (X + 1,)}), Y), 16), 4):
        assert torch.equal(x["a"] + 1, x["b"][0])
    with pytest.raises(DataError, match="expected as many x as y, got 50 and 49"):
        BatchSource(((X, X[1:]), Y), 16)


def test_double_precision_of_numpy_becomes_torchs_default_and_a_tensors_own_stays():
    array, tensor = np.ones((4, 2)), torch.ones(4, 2, dtype=torch.float64)
    [(x, y)] = first(BatchSource((array, array), 4), 1)
    assert x.dtype == y.dtype == torch.float32
    [(x, y)] = first(BatchSource((tensor, tensor), 4), 1)
    assert x.dtype == y.dtype == torch.float64


OUTPUT = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", [torch.int64, torch.int32, torch.uint8])
def test_whole_numbers_are_classes(kind):
    y = torch.tensor([0, 1, 2, 3, 0, 1])
    expected = functional.cross_entropy(OUTPUT, y)
    assert default_loss(OUTPUT, y.to(kind)).isclose(expected)
    assert default_loss(OUTPUT, y[:, None].to(kind)).isclose(expected)


def test_classes_lie_on_axis_1_or_on_the_last_one():
    images, tokens = torch.randn(2, 4, 5, 5), torch.randn(2, 7, 4)
    y_image, y_token = torch.randint(4, (2, 5, 5)), torch.randint(4, (2, 7))
    assert default_loss(images, y_image).isclose(functional.cross_entropy(images, y_image))
    assert default_loss(tokens, y_token).isclose(functional.cross_entropy(tokens.flatten(0, 1), y_token.flatten()))
    y_token[0, 0] = -100
    assert default_loss(tokens, y_token).isclose(functional.cross_entropy(tokens.flatten(0, 1), y_token.flatten()))


def test_other_numbers_are_matched():
    y = torch.randn(6, 4, dtype=torch.float64)
    assert default_loss(OUTPUT, y).isclose(functional.mse_loss(OUTPUT, y.float()))
    flat = torch.randn(6)
    assert default_loss(flat[:, None], flat).item() == 0, "[batch] and [batch, 1] are not spread out to [batch, batch]"


@pytest.mark.parametrize(
    ("output", "y", "message"),
    [
        (OUTPUT, torch.randn(6, 3), r"y: expected shape \[6, 4\], as the model's output, got \[6, 3\]"),
        (OUTPUT, torch.randn(6), r"y: expected shape \[6, 4\], as the model's output, got \[6\]"),
        (OUTPUT, torch.zeros(5, dtype=torch.int64), r"y: expected one label a sample \(\[6\]\)"),
        (
            OUTPUT[:, :1],
            torch.zeros(6, dtype=torch.int64),
            "an output unit for each class, got 1 unit; for a single output unit",
        ),
        (OUTPUT, torch.full((6,), 4), "expected labels from 0 to 3, as the model has 4 outputs, got 4"),
        (OUTPUT, torch.full((6,), -1), "expected labels from 0 to 3, as the model has 4 outputs, got -1"),
        (OUTPUT, torch.full((6,), -100), "expected labels, got only -100"),
        (OUTPUT, ["a"] * 6, "y: expected a tensor or an array, got a list"),
    ],
)
def test_targets_that_do_not_fit_are_told(output, y, message):
    with pytest.raises(DataError, match=message):
        default_loss(output, y)


def test_a_function_draws_its_weights_from_the_seed_and_a_module_keeps_them():
    module, seen = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3)), []

    class Seen(nn.Linear):
        def forward(self, x):
            seen.append(self.weight.detach().clone())
            return super().forward(x)

    def build():
        return nn.Sequential(Seen(2, 4), nn.ReLU(), nn.Linear(4, 3))

    own = build()
    for model, count in ((build, 2), (own, 1)):
        seen.clear()
        with apart():
            traces = train_watched(model, (X, Y), BatchSource((X / 100, Y), 16), Plan(steps=3, seeds=[1, 2]))
        assert [trace.seed for trace in traces] == [1, 2]
        assert len({tuple(weight.flatten().tolist()) for weight in (seen[0], seen[3])}) == count
        assert not np.array_equal(traces[0].loss, traces[1].loss), "the order of the batches is the seed's"
    assert torch.equal(own[0].weight, seen[0])
    assert all(parameter.grad is None for parameter in module.parameters())


def test_a_model_with_lazy_layers_is_trained():
    model = nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(3))
    with apart():
        [trace] = train_watched(model, (X, Y), BatchSource((X / 100, Y), 16), Plan(steps=3, seeds=[1]))
    assert len(trace.loss) == 3
    assert isinstance(model[0].weight, nn.UninitializedParameter)


def test_it_trains_where_the_test_has_switched_gradients_off():
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3))
    with torch.inference_mode(), apart():
        [trace] = train_watched(model, (X, Y), BatchSource((X / 100, Y), 16), Plan(steps=3, seeds=[1]))
    assert trace.output_grad_norm.all()


def test_a_worker_of_xdist_takes_its_share_of_the_threads(monkeypatch):
    torch.set_num_threads(8)
    try:
        for workers, threads in ((1, 8), (3, 2), (16, 1)):
            monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", str(workers))
            with apart():
                assert torch.get_num_threads() == threads
            assert torch.get_num_threads() == 8
    finally:
        torch.set_num_threads(1)


def test_the_random_states_are_put_back():
    generator = torch.Generator().manual_seed(4)
    loader = DataLoader(TensorDataset(X, Y), 16, shuffle=True, generator=generator)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), generator.get_state()

    def draw():
        with apart(loader):
            seed_all(3, loader)
            drawn = torch.rand(1), np.random.rand(), next(iter(loader))[0]
            seed_all(3, loader)
            assert torch.rand(1) == drawn[0]
            assert np.random.rand() == drawn[1]
            assert torch.equal(next(iter(loader))[0], drawn[2])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        draw()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert torch.equal(generator.get_state(), before[2])


def test_the_examples_of_names_are_right():
    assert doctest.testmod(pytest_names) == (0, 3)  # doctests of integrations are not collected: others need libraries


def test_names_of_baselines_are_safe_and_tell_tests_apart(tmp_path):
    file = tmp_path / "test_net.py"
    names = ["test_a", "test_a[relu-3]", "test_a[a/b]", "test_a[a:b]", "test_a[ä]", "test_a[..\\x]", "x" * 300, "x" * 301]
    paths = [baseline_path(file, name, None, 0) for name in names]
    assert len(set(paths)) == len(names)
    for path in paths:
        assert path.parent == tmp_path / "baselines" / "test_net"
        assert len(path.name) <= 120
        assert path.name.isascii()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    assert baseline_path(file, "test_a", None, 1).name == "test_a-2.json"
    assert baseline_path(file, "test_a", "big", 0).name == "test_a-big.json"
    assert safe("test_a[relu-3]") == "test_a[relu-3]"
    assert safe("test_a[a/b]") == safe("test_a[a/b]")


@pytest.mark.parametrize(("part", "count"), [("x", 2), ("y", 1)])
def test_samples_that_are_no_numbers_are_the_datas_fault_not_the_networks(part, count):
    x, y = X.clone(), X[:, :1].clone()
    (x if part == "x" else y).view(-1)[:count] = float("nan")
    with pytest.raises(DataError, match=f"^data: expected finite values, got {count} in {part} that are NaN or infinite$"):
        BatchSource((x, y), 16)
