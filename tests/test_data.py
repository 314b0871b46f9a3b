"""Digits, `Data`, and code of the user's own; npz files and torchvision's sets have files of their own."""

import hashlib
import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from gradscope.data import NpzSource, load_data, load_recipe_data
from gradscope.errors import CodeError, DataError
from gradscope.recipe import build_recipe


@pytest.fixture(scope="module")
def digits():
    return load_data("digits")


def test_digits_are_the_1797_of_uci_split_in_a_fixed_way(digits):
    assert (tuple(digits.x_train.shape), tuple(digits.x_test.shape)) == ((1437, 1, 8, 8), (360, 1, 8, 8))
    assert (digits.x_train.dtype, digits.y_train.dtype) == (torch.float32, torch.int64)
    assert (digits.name, digits.classes, digits.outputs, digits.metric, digits.notes) == ("digits", 10, 10, "accuracy", ())
    both = np.bincount(torch.cat([digits.y_train, digits.y_test]).numpy())
    assert both.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # scikit-learn's counts per class
    # published figures rest on this split: if this line fails, they are void
    assert hashlib.sha256(digits.y_test.numpy().astype("<i8").tobytes()).hexdigest()[:16] == "a1a8fabaec68cc3e"


def test_digits_are_standardised_by_their_training_part(digits):
    x = digits.x_train.double()
    assert abs(x.mean().item()) < 1e-6
    assert x.std(correction=0).item() == pytest.approx(1, abs=1e-6)
    assert abs(digits.x_test.double().mean().item()) > 1e-5  # the test part is not standardised by its own
    assert len(digits.x_train.unique()) == 17  # still the 17 grey values 0..16


def test_no_sample_is_in_both_parts(digits):
    order = torch.cat([digits.x_train, digits.x_test]).flatten(1)
    assert len(order.unique(dim=0)) == 1797  # the set has no duplicates, so none was drawn twice


def test_chance_of_digits_is_what_the_best_constant_answer_scores(digits):
    scores = [(digits.y_test == answer).float().mean().item() for answer in range(10)]
    assert digits.chance == pytest.approx(max(scores))
    assert 0.05 < digits.chance < 0.15


def test_digits_need_neither_scikit_learn_nor_torchvision():
    code = (
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('sklearn', 'torchvision'): raise ImportError(name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "from gradscope.data import load_data\n"
        "print(load_data('digits').x_train.shape[0], {'sklearn', 'torchvision'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1437", "set()"]


def test_normalize_replaces_the_training_sets_own_figures(digits):
    raw = load_data("digits", normalize=(0.0, 1.0))
    assert (raw.x_train.min().item(), raw.x_train.max().item()) == (0, 16)
    assert torch.equal(load_data("digits", normalize=(8.0, 4.0)).x_train, (raw.x_train - 8) / 4)
    mean, std = raw.x_train.double().mean(), raw.x_train.double().std(correction=0)
    torch.testing.assert_close(digits.x_test, ((raw.x_test.double() - mean) / std).float(), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("bad", [(0.0, 0.0), (0.0, -1.0), (math.nan, 1.0), (0.0, math.inf)])
def test_unusable_normalize_is_refused(bad):
    with pytest.raises(DataError, match=r"^digits: normalize: expected \[mean, std\] with std above 0, got \["):
        load_data("digits", normalize=bad)


def test_no_random_stream_is_touched(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(100.0), y=np.arange(100) % 2)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    load_data("digits")
    load_data(NpzSource(tmp_path / "a.npz", 50, 20, seed=3))
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])


def test_to_moves_samples_and_leaves_labels_whole(digits):
    moved = digits.to("cpu", torch.float64)
    assert (moved.x_train.dtype, moved.x_test.dtype, moved.y_train.dtype) == (torch.float64, torch.float64, torch.int64)
    assert torch.equal(moved.x_train, digits.x_train.double())
    assert (moved.name, moved.chance) == (digits.name, digits.chance)


def test_to_moves_regression_targets_as_well(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(10.0), y=np.arange(10) / 3)
    data = load_data(NpzSource(tmp_path / "a.npz"))
    assert data.to("cpu", torch.float64).y_train.dtype == torch.float64


def test_flattened_keeps_every_value_in_order(digits):
    flat = digits.flattened()
    assert tuple(flat.x_test.shape) == (360, 64)
    assert torch.equal(flat.x_test.view(360, 1, 8, 8), digits.x_test)
    assert flat.flattened().x_train.shape == flat.x_train.shape


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module with the given body and return the reference to its function `make`."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(body):
        (tmp_path / "users_own.py").write_text(f"import numpy as np\nimport torch\nfrom gradscope.data import Data\n{body}\n")
        monkeypatch.delitem(sys.modules, "users_own", raising=False)
        return "users_own:make"

    yield write
    sys.modules.pop("users_own", None)


def test_a_callable_gives_tensors_arrays_or_lists(module):
    source = module(
        "def make(): return torch.arange(8.).reshape(4, 2).bfloat16().requires_grad_(), np.array([0, 1, 0, 1]), [[1, 2]], [1]"
    )
    data = load_data(source, allow_code=True, normalize=(1.0, 2.0))
    torch.testing.assert_close(data.x_train, (torch.arange(8.0).reshape(4, 2) - 1) / 2)
    assert not data.x_train.requires_grad
    assert (data.name, data.classes, data.y_test.tolist()) == ("users_own:make", 2, [1])


def test_a_callable_may_give_a_data_of_its_own(module):
    body = (
        "def make():\n"
        "    x = torch.tensor([[10.0], [20.0]])\n"
        "    return Data('mine', x, torch.tensor([0, 1]), x, torch.tensor([0, 1]), 5, 5, 'accuracy', 0.4, ('hello',))"
    )
    data = load_data(module(body), allow_code=True)
    assert (data.name, data.classes, data.outputs, data.chance) == ("mine", 5, 5, 0.4)
    assert data.x_train.tolist() == [[10.0], [20.0]]  # as it stands
    assert data.notes[0] == "hello"
    assert load_data(module(body), allow_code=True, normalize=(10.0, 5.0)).x_train.tolist() == [[0.0], [2.0]]


BAD_CODE = {
    "raises": ("def make(): raise OSError('no\\nsuch disk')", CodeError, "failed: OSError: no such disk"),
    "no function": ("make = 3", CodeError, "is no function: expected one without arguments, got int"),
    "arguments": (
        "def make(path): pass",
        CodeError,
        "failed: TypeError: make() missing 1 required positional argument: 'path'",
    ),
    "nothing": ("def make(): pass", DataError, "or a gradscope.data.Data, got NoneType"),
    "two": ("def make(): return 1, 2", DataError, "or a gradscope.data.Data, got 2 values"),
    "ragged": ("def make(): return [[1], [1, 2]], [0, 1], [[1]], [0]", DataError, "x_train: expected an array or a tensor: "),
    "sparse": ("def make(): return torch.eye(2).to_sparse(), [0, 1], [[1]], [0]", DataError, "x_train: expected an array or a"),
    "labels": ("def make(): return [[1.0]], [-1], [[1.0]], [0]", DataError, "expected labels 0, 1, 2, ..., got -1"),
    "outputs": (
        "def make():\n"
        "    x, y = torch.ones(2, 1), torch.tensor([0, 3])\n"
        "    return Data('a', x, y, x, y, 2, 2, 'accuracy', 0.5)",
        DataError,
        "expected at least 4 outputs, as the targets need, got 2",
    ),
}


@pytest.mark.parametrize("case", BAD_CODE)
def test_bad_code_gives_one_line_that_names_it(module, case):
    body, error, phrase = BAD_CODE[case]
    with pytest.raises(error) as caught:
        load_data(module(body), allow_code=True, where="r.yaml:2")
    assert str(caught.value).startswith("r.yaml:2: ")
    assert "users_own:make" in str(caught.value)
    assert phrase in str(caught.value)
    assert "\n" not in str(caught.value)


def test_code_runs_only_when_allowed(module, tmp_path):
    source = module(f"open({str(tmp_path / 'ran')!r}, 'w').close()\ndef make(): pass")
    with pytest.raises(CodeError, match="^r.yaml:2: 'users_own:make' runs code of its own; read it, then add --allow-code$"):
        load_data(source, where="r.yaml:2")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("source", "phrase"),
    [
        ("mnits", "got 'mnits'; did you mean 'mnist'?"),
        ("MNIST", "did you mean 'mnist'?"),
        (
            "imagenet",
            "data: expected digits, mnist, fashion-mnist, cifar10, an npz source or package.module:callable, got 'imagenet'",
        ),
        ("a/b.npz", "in a recipe write {source: npz, path: a/b.npz}"),
        ("", "got ''"),
    ],
)
def test_unknown_sources_are_refused_by_name(source, phrase):
    with pytest.raises(DataError) as caught:
        load_data(source)
    assert phrase in str(caught.value)


def test_per_feature_is_each_feature_less_its_mean_over_its_deviation_of_the_training_set():
    data, plain = load_data("digits", normalize="per-feature"), load_data("digits", normalize=(0.0, 1.0))
    train = plain.x_train.double().flatten(1).numpy()
    mean, std = train.mean(axis=0), train.std(axis=0)
    varies = std > 0
    assert 0 < varies.sum() < 64
    std[~varies] = 1
    for got, raw in ((data.x_train, plain.x_train), (data.x_test, plain.x_test)):
        wanted = (raw.double().flatten(1).numpy() - mean) / std
        np.testing.assert_allclose(got.flatten(1).numpy()[:, varies], wanted[:, varies], rtol=1e-5, atol=1e-5)
        assert got.shape == raw.shape
    assert not data.x_train.flatten(1)[:, ~varies].any(), "a feature that never varies is centred"
    assert torch.isfinite(data.x_test).all()


def test_per_feature_is_the_same_before_and_after_flattening_bit_for_bit():
    """So that a trial's arm and the recipe that is written for it train on the same samples."""
    data = load_data("digits")
    recipe = build_recipe({"name": "a", "data": "digits", "model": "a:b", "normalize": "per-feature"})
    loaded = load_recipe_data(recipe)
    assert torch.equal(loaded.flattened().x_train, data.flattened().per_feature().x_train)
    assert torch.equal(loaded.x_test, data.per_feature().x_test)
    assert not torch.equal(loaded.x_train, data.x_train)
    assert data.per_feature().to("cpu", torch.float64).x_train.dtype == torch.float64
