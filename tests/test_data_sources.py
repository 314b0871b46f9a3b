"""The sets that torchvision reads; real MNIST where GRADSCOPE_DATA names a folder that has it."""

import os
import pickle
import sys
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torch

from gradscope.data import load_data
from gradscope.data_sources import IMAGE_SETS
from gradscope.errors import DataError

REAL = Path(os.environ.get("GRADSCOPE_DATA") or "data")
needs_mnist = pytest.mark.skipif(
    not (REAL / "MNIST" / "raw").is_dir(), reason="GRADSCOPE_DATA names no folder with MNIST/raw in it"
)


@pytest.mark.parametrize("name", IMAGE_SETS)
def test_absent_sets_name_the_folder_and_the_ways_out(tmp_path, monkeypatch, name):
    monkeypatch.setenv("GRADSCOPE_DATA", str(tmp_path / "elsewhere"))
    with pytest.raises(DataError) as caught:
        load_data(name, data_dir=tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{name}: not found, looked for {tmp_path / IMAGE_SETS[name].folder}; ")
    for way_out in ("--data-dir", "GRADSCOPE_DATA", "--download", "--data digits"):
        assert way_out in message
    assert "\n" not in message
    assert list(tmp_path.iterdir()) == []  # nothing was made, let alone downloaded


@pytest.mark.parametrize(("environment", "folder"), [("there", "there"), ("", "data")])
def test_the_folder_comes_from_the_environment_then_from_here(tmp_path, monkeypatch, environment, folder):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRADSCOPE_DATA", environment)
    with pytest.raises(DataError, match=f"looked for {tmp_path / folder / 'MNIST' / 'raw'};"):
        load_data("mnist")


FAILURES = [urllib.error.URLError("no\nroute"), RuntimeError("Error downloading x:\nTried y\n"), PermissionError(13, "denied")]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
@pytest.mark.parametrize("name", IMAGE_SETS)
def test_failed_downloads_are_one_line(tmp_path, monkeypatch, capsys, name, failure):
    import torchvision.datasets

    def fail(*arguments, **options):
        print("what torchvision prints")
        raise failure

    monkeypatch.setattr(getattr(torchvision.datasets, IMAGE_SETS[name].class_name), "download", fail)
    with pytest.raises(DataError) as caught:
        load_data(name, data_dir=tmp_path, download=True)
    assert str(caught.value).startswith(f"{name}: cannot be downloaded to {tmp_path}, or read there: ")
    assert str(caught.value).endswith("; try again, or use --data digits")
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().out == ""  # the standard output belongs to the report
    assert caught.value.__cause__ is failure


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(header + array.tobytes())


@pytest.mark.parametrize(("name", "mean", "std"), [("mnist", 0.1307, 0.3081), ("fashion-mnist", 0.2860, 0.3530)])
def test_idx_files_are_read_whole_with_the_published_constants(tmp_path, name, mean, std):
    folder = tmp_path / IMAGE_SETS[name].folder
    folder.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8)
    labels = np.arange(20, dtype=np.uint8) % 10
    for part in ("train", "t10k"):
        write_idx(folder / f"{part}-images-idx3-ubyte", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte", labels)
    data = load_data(name, data_dir=tmp_path)
    expected = torch.from_numpy((images.astype(np.float64) / 255 - mean) / std).float()[:, None]
    torch.testing.assert_close(data.x_train, expected, atol=1e-6, rtol=1e-6)
    assert data.y_test.tolist() == labels.tolist()
    half = load_data(name, data_dir=tmp_path, normalize=(0.5, 0.5)).x_train
    torch.testing.assert_close(half, torch.from_numpy(images / 127.5 - 1).float()[:, None], atol=1e-6, rtol=1e-6)


def test_damaged_idx_files_are_one_line(tmp_path):
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for part in ("train", "t10k"):
        for kind in ("images-idx3", "labels-idx1"):
            (folder / f"{part}-{kind}-ubyte").write_bytes(b"\0\0\x08\x01" + (99).to_bytes(4, "big") + b"short")
    with pytest.raises(
        DataError, match=r"^mnist: .*MNIST/raw cannot be read: .*; remove it and add --download, or use --data digits$"
    ):
        load_data("mnist", data_dir=tmp_path)


def test_cifar10_is_read_channel_first_with_the_published_constants(tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR10

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    monkeypatch.setattr(CIFAR10, "_check_integrity", lambda self: True)  # the checksums are the real files'
    monkeypatch.setattr(CIFAR10, "_load_meta", lambda self: None)
    rows = np.random.default_rng(0).integers(0, 256, (4, 3072), dtype=np.uint8)
    for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]:
        (folder / name).write_bytes(pickle.dumps({"data": rows, "labels": [0, 1, 2, 9]}, protocol=2))
    data = load_data("cifar10", data_dir=tmp_path)
    assert tuple(data.x_train.shape) == (20, 3, 32, 32)
    assert (data.y_test.tolist(), data.classes) == ([0, 1, 2, 9], 10)
    assert data.x_test.is_contiguous()
    expected = torch.from_numpy((rows / 255 - 0.5) / 0.5).float()  # a row holds all red, then all green, then all blue
    torch.testing.assert_close(data.flattened().x_test, expected, atol=1e-6, rtol=1e-6)


def test_torchvision_that_cannot_be_imported_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    with pytest.raises(DataError, match="^mnist: needs torchvision: .*; install it, or use --data digits$"):
        load_data("mnist", data_dir=tmp_path)


@needs_mnist
def test_real_mnist_has_its_published_size_and_moments():
    data = load_data("mnist", data_dir=REAL)
    assert (tuple(data.x_train.shape), tuple(data.x_test.shape)) == ((60000, 1, 28, 28), (10000, 1, 28, 28))
    assert torch.bincount(data.y_train).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert data.chance == 0.1135  # 1,135 of the 10,000 are ones
    # the constants are the training set's own, to four digits
    assert abs(data.x_train.mean(dtype=torch.float64).item()) < 5e-4
    assert data.x_train.double().std().item() == pytest.approx(1, abs=5e-4)


@needs_mnist
def test_real_mnist_equals_torchvisions_own_transforms():
    import torchvision

    transforms = torchvision.transforms
    pipeline = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    theirs = torchvision.datasets.MNIST(str(REAL), train=False, transform=pipeline)
    ours = load_data("mnist", data_dir=REAL)
    for index in (0, 1, 5000, 9999):
        image, label = theirs[index]
        torch.testing.assert_close(ours.x_test[index], image, atol=1e-6, rtol=1e-6)
        assert ours.y_test[index].item() == label
