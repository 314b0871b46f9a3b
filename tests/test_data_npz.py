"""npz files: what is taken, what is noted, and one line for whatever is wrong."""

import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from gradscope.data import NpzSource, load_data
from gradscope.errors import DataError


def npz(folder, train=None, test=None, seed=0, **arrays):
    path = folder / "a.npz"
    np.savez(path, **arrays)
    return NpzSource(path, train, test, seed)


def four(x=None, y=None, **changes):
    """Four good arrays, 6 to train and 4 to test, with changes."""
    x = np.arange(30.0).reshape(10, 3) if x is None else x
    y = np.arange(10) % 3 if y is None else y
    return {"x_train": x[:6], "y_train": y[:6], "x_test": x[6:], "y_test": y[6:]} | changes


def test_four_keys_are_taken_as_they_stand(tmp_path):
    data = load_data(npz(tmp_path, **four()), normalize=(0.0, 1.0))
    assert torch.equal(data.x_train, torch.arange(18.0).reshape(6, 3))
    assert data.y_test.tolist() == [0, 1, 2, 0]
    assert (data.name, data.classes, data.outputs, data.metric, data.notes) == ("a", 3, 3, "accuracy", ())
    assert data.chance == 0.5  # class 0 is 2 of 4


@pytest.mark.parametrize(
    ("train", "test", "sizes"), [(None, None, (8, 2)), (5, None, (5, 5)), (None, 3, (7, 3)), (4, 2, (4, 2)), (9, 1, (9, 1))]
)
def test_x_and_y_are_split_without_overlap(tmp_path, train, test, sizes):
    data = load_data(npz(tmp_path, train, test, x=np.arange(10.0), y=np.arange(10) / 7), normalize=(0.0, 1.0))
    assert (len(data.x_train), len(data.x_test)) == sizes
    both = torch.cat([data.x_train, data.x_test]).flatten()
    assert len(both.unique()) == sum(sizes)
    targets = torch.cat([data.y_train, data.y_test]).flatten()
    torch.testing.assert_close(targets, both / 7)  # every sample kept its target


def test_the_seed_and_nothing_else_chooses_the_split(tmp_path):
    arrays = {"x": np.arange(100.0), "y": np.arange(100) % 2}
    one, again, other = (load_data(npz(tmp_path, seed=seed, **arrays)) for seed in (1, 1, 2))
    assert torch.equal(one.x_train, again.x_train)
    assert not torch.equal(one.x_train, other.x_train)


def test_a_subset_of_the_four_keys_is_drawn_with_its_targets(tmp_path):
    x = np.arange(100.0)
    data = load_data(npz(tmp_path, 10, 5, x_train=x, y_train=x / 3, x_test=x, y_test=x / 3), normalize=(0.0, 1.0))
    assert (len(data.x_train), len(data.x_test)) == (10, 5)
    assert data.x_train.flatten().tolist() != list(range(10))  # a file sorted by class must not give one class
    torch.testing.assert_close(data.y_train, data.x_train / 3)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "float16", "float32", "float64", ">f8", "bool"])
def test_every_dtype_of_numbers_becomes_the_same_float32(tmp_path, dtype):
    x = np.array([[0, 1], [1, 1], [1, 0], [0, 0], [1, 1], [1, 0]])
    data = load_data(npz(tmp_path, x=x.astype(dtype), y=np.arange(6) % 2))
    expected = load_data(npz(tmp_path, x=x.astype(np.float32), y=np.arange(6) % 2))
    assert data.x_train.dtype == torch.float32
    torch.testing.assert_close(data.x_train, expected.x_train)


def test_digits_far_from_zero_are_not_lost(tmp_path):
    x = 1e9 + np.arange(10.0)  # float32 would round them all to one value
    x_train = load_data(npz(tmp_path, **four(x))).x_train.flatten()
    torch.testing.assert_close(x_train, (torch.arange(6.0) - 2.5) / np.std(np.arange(6)).astype(np.float32).item())


def test_many_samples_are_standardised_as_numpy_would(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (3000, 5), dtype=np.uint8)  # more than one chunk
    data = load_data(npz(tmp_path, x_train=x, y_train=x[:, 0], x_test=x[:9], y_test=x[:9, 0]))
    wide = x.astype(np.float64)
    np.testing.assert_allclose(data.x_train.numpy(), (wide - wide.mean()) / wide.std(), atol=1e-6)


def test_fortran_order_and_compression_make_no_difference(tmp_path):
    np.savez_compressed(tmp_path / "f.npz", **four(np.asfortranarray(np.arange(30.0).reshape(10, 3))))
    data = load_data(NpzSource(tmp_path / "f.npz"))
    assert data.x_train.is_contiguous()
    assert torch.equal(data.x_train, load_data(npz(tmp_path, **four())).x_train)


ONE_HOT = np.eye(3, dtype=np.int64)[np.arange(10) % 3]
NOTES = {
    "constant": (four(np.full((10, 3), 0.1)), "all values of x_train are 0.1: centred, not scaled"),
    "one class in test": (four(y_test=np.ones(4, int)), "accuracy cannot tell learning from guessing"),
    "one class in train": (four(y_train=np.ones(6, int)), "the training set holds one class only"),
    "class without sample": (four(y=np.arange(10) % 3 + 1), "1 of 4 classes have no training sample, the first of them is 0"),
    "one-hot": (four(y=ONE_HOT), "the targets are one-hot in 3 columns: read as classes"),
    "whole floats": (four(y=np.arange(10.0)), "whole numbers saved as floats: taken as regression"),
    "constant targets": (four(y_test=np.full(4, 0.5), y_train=np.arange(6) / 7), "R2 is not defined there"),
}


@pytest.mark.parametrize("case", NOTES)
def test_what_is_odd_but_usable_is_noted(tmp_path, case):
    arrays, phrase = NOTES[case]
    data = load_data(npz(tmp_path, **arrays))
    assert any(phrase in note for note in data.notes), data.notes
    assert torch.isfinite(data.x_train).all()
    assert all("\n" not in note for note in data.notes)


def test_one_class_in_the_test_set_makes_chance_one(tmp_path):
    data = load_data(npz(tmp_path, **four(y_test=np.full(4, 2))))
    assert data.chance == 1.0


def test_constant_samples_are_centred_exactly(tmp_path):
    data = load_data(npz(tmp_path, **four(np.full((10, 3), 0.1))))
    assert data.x_train.abs().max() == 0


def test_one_hot_rows_become_their_classes(tmp_path):
    data = load_data(npz(tmp_path, **four(y=ONE_HOT)))
    assert data.y_train.tolist() == [0, 1, 2, 0, 1, 2]
    assert (data.classes, data.metric) == (3, "accuracy")


def test_a_column_of_labels_becomes_labels(tmp_path):
    data = load_data(npz(tmp_path, **four(y=(np.arange(10) % 2)[:, None])))
    assert data.y_train.tolist() == [0, 1, 0, 1, 0, 1]


def test_float_targets_are_regression_and_not_standardised(tmp_path):
    y = np.arange(10) * 100 + 0.5
    data = load_data(npz(tmp_path, **four(y=y)))
    assert (data.classes, data.outputs, data.metric, data.chance, data.notes) == (0, 1, "r2", 0.0, ())
    assert data.y_train.flatten().tolist() == y[:6].tolist()
    assert tuple(data.y_train.shape) == (6, 1)


def test_several_columns_of_zeros_and_ones_as_floats_stay_several_outputs(tmp_path):
    data = load_data(npz(tmp_path, **four(y=ONE_HOT.astype(np.float64))))
    assert (data.classes, data.outputs, data.metric, data.notes) == (0, 3, "r2", ())


X, Y = np.arange(30.0).reshape(10, 3), np.arange(10) % 3
NAN = X.copy()
NAN[2, 1] = NAN[5, 0] = np.nan
BAD_ARRAYS = {
    "missing key": (four() | {"z": Y}, {"drop": "y_test"}, "expected the keys x_train, y_train, x_test, y_test, or x, y; got "),
    "no key": ({}, {}, "or x, y; got none"),
    "lengths of x, y": ({"x": X, "y": Y[:9]}, {}, "expected a target for each sample, got 10 in x and 9 in y"),
    "lengths of test": (four(y_test=Y[:3]), {}, "expected a target for each sample, got 4 in x_test and 3 in y_test"),
    "more to train": ({"x": X, "y": Y}, {"train": 11}, "11 samples to train and 1 to test asked for, the file has 10"),
    "more in all": ({"x": X, "y": Y}, {"train": 8, "test": 3}, "8 samples to train and 3 to test asked for, the file has 10"),
    "more of four": (four(), {"test": 5}, "test: 5 samples asked for, the file has 4"),
    "none asked for": (four(), {"train": 0}, "train: expected at least 1 sample, got 0"),
    "seed": (four(), {"seed": -1}, "seed: expected 0 or more, got -1"),
    "one sample": ({"x": X[:1], "y": Y[:1]}, {}, "expected at least 2 samples to split into train and test, got 1"),
    "no samples": (four(x_test=X[:0], y_test=Y[:0]), {}, "x_test: expected at least one value, got shape [0, 3]"),
    "no features": (four(X[:, :0]), {}, "x_train: expected at least one value, got shape [6, 0]"),
    "nan": (
        four(NAN),
        {},
        "x_train: expected finite values, got 2 of 18 that are NaN, infinite or beyond float32, the first at [2, 1]",
    ),
    "inf in test": (four(x_test=np.full((4, 3), np.inf)), {}, "x_test: expected finite values, got 12 of 12 that are"),
    "nan target": (four(y=np.where(Y == 1, np.nan, 0.0)), {}, "y_train: expected finite values, got 2 of 6 that are"),
    "beyond float32": (four(X * 1e300), {}, "x_train: expected finite values, got 17 of 18 that are NaN, infinite or beyond"),
    "test far out": (
        four(X.astype("f4") * 1e-30, x_test=np.full((4, 3), 1e30, "f4")),
        {},
        "x_test, normalised: expected finite",
    ),
    "strings": (four(np.full((10, 3), "a")), {}, "x_train: expected numbers, got dtype <U1; save it as integers or floats"),
    "complex": (four(X * 1j), {}, "x_train: expected numbers, got dtype complex128"),
    "dates": (four(X.astype("M8[s]")), {}, "x_train: expected numbers, got dtype datetime64[s]"),
    "records": (four(np.zeros(10, [("a", "f4")])), {}, "x_train: expected numbers, got dtype [('a', '<f4')]"),
    "objects": (four(np.full((10, 3), None)), {}, "x_train: expected numbers, got pickled objects, which are not loaded"),
    "string labels": (four(y=np.array(["cat", "dog"] * 5)), {}, "y_train: expected numbers, got dtype <U3"),
    "number for x": (four(x_train=np.float64(3)), {}, "x_train: expected an array [sample, ...], got a single number"),
    "number for y": ({"x": X, "y": np.int64(3)}, {}, "y: expected an array [sample, ...], got a single number"),
    "shapes": (four(x_test=X[6:, :2]), {}, "expected x_train and x_test of one shape, got [3] and [2] for each sample"),
    "target shapes": (four(y_test=ONE_HOT[6:]), {}, "expected y_train and y_test of one shape, got [] and [3] for each sample"),
    "negative label": (four(y=Y - 1), {}, "expected labels 0, 1, 2, ..., got -1; number the classes from 0"),
    "absurd label": (four(y=Y + 10**12), {}, "expected labels below 1000000, got 1000000000002"),
    "unsigned label": (
        four(y=np.full(10, 2**64 - 1, np.uint64)),
        {},
        "expected labels below 1000000, got 18446744073709551615",
    ),
    "label kinds": (four(y_test=np.array([0.5] * 4)), {}, "expected y_train and y_test of one kind, got int64 and float64"),
    "not one-hot": (four(y=ONE_HOT * 2), {}, "expected labels [sample] or one-hot rows, got integers of shape [6, 3]"),
    "3-d targets": (four(y=np.full((10, 2, 2), 0.5)), {}, "expected [sample] or [sample, output], got shape [6, 2, 2]"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_bad_arrays_give_one_line_that_names_the_file(tmp_path, case):
    arrays, options, phrase = BAD_ARRAYS[case]
    options = dict(options)
    arrays = {key: array for key, array in arrays.items() if key != options.get("drop")}
    options.pop("drop", None)
    source = npz(tmp_path, **options, **arrays)
    with pytest.raises(DataError) as caught:
        load_data(source, where="r.yaml:2:1")
    assert str(caught.value).startswith(f"r.yaml:2:1: {tmp_path / 'a.npz'}: ")
    assert phrase in str(caught.value)
    assert "\n" not in str(caught.value)


def truncated(path):
    np.savez(path, **four())
    path.write_bytes(path.read_bytes()[:-100])


def damaged(path):
    np.savez(path, **four())
    content = bytearray(path.read_bytes())
    content[content.index(b"NUMPY") + 130] ^= 0xFF  # a byte of x_train's values
    path.write_bytes(bytes(content))


def lone_array(path):
    with path.open("wb") as file:
        np.save(file, X)


def lying_header(path):
    with zipfile.ZipFile(path, "w") as archive:
        for key in ("x.npy", "y.npy"):
            with archive.open(key, "w") as member:
                np.lib.format.write_array_header_1_0(member, {"descr": "<f8", "fortran_order": False, "shape": (1 << 50,)})


def no_array(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x", b"hello")
        archive.writestr("y", b"hello")


BAD_FILES = {
    "missing": (lambda path: None, "no such file; expected an npz file with x_train, y_train, x_test, y_test, or with x, y"),
    "folder": (Path.mkdir, "expected an npz file, got a folder"),
    "empty": (lambda path: path.write_bytes(b""), "expected a whole npz file (numpy.savez), got something else"),
    "text": (lambda path: path.write_text("hello"), "expected a whole npz file (numpy.savez), got something else"),
    "npy": (lone_array, "expected a whole npz file (numpy.savez), got something else"),
    "pickle": (lambda path: path.write_bytes(pickle.dumps(four())), "expected a whole npz file (numpy.savez), got something"),
    "pipe": (os.mkfifo, "expected a whole npz file (numpy.savez), got something else"),
    "truncated": (truncated, "expected a whole npz file (numpy.savez), got something else or a part of one"),
    "damaged": (damaged, "x_train: cannot be read: Bad CRC-32"),
    "lying header": (lying_header, "x: cannot be read: "),
    "no array": (no_array, "x: expected an array, got something else"),
    "long name": (lambda path: None, "cannot be read: [Errno 36] File name too long"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_give_one_line_that_names_the_file(tmp_path, case):
    make, phrase = BAD_FILES[case]
    path = tmp_path / ("a" * 300 if case == "long name" else "a.npz")
    make(path)
    with pytest.raises(DataError) as caught:
        load_data(NpzSource(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert phrase in str(caught.value)
    assert "\n" not in str(caught.value)


def test_pickled_objects_are_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "trapped"),)

    objects = np.empty(10, dtype=object)
    objects[:] = [Trap() for _ in range(10)]
    with pytest.raises(DataError, match="pickled objects, which are not loaded"):
        load_data(npz(tmp_path, x=objects, y=Y))
    assert not (tmp_path / "trapped").exists()
