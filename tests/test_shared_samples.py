"""Samples that several processes look at: the same to the last bit, and nothing left behind."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from command_line import environment

from gradscope import shared_samples
from gradscope.data import Data, load_data
from gradscope.shared_samples import SampleFile, digest_of


@pytest.fixture(scope="module")
def digits() -> Data:
    return load_data("digits").flattened()


def assert_same(one: Data, other: Data) -> None:
    for field in fields(Data):
        mine, yours = getattr(one, field.name), getattr(other, field.name)
        if isinstance(mine, torch.Tensor):
            assert mine.dtype == yours.dtype
            assert torch.equal(mine, yours)
        else:
            assert mine == yours


def test_what_is_opened_is_what_was_shared(digits: Data) -> None:
    with closing(SampleFile(digits)) as file:
        assert_same(pickle.loads(pickle.dumps(file.shared)).open(), digits)


def test_samples_that_do_not_lie_in_a_row_are_shared_as_they_are_meant(digits: Data) -> None:
    strided = replace(
        digits, x_train=digits.x_train.flip(0)[::2], y_train=digits.y_train[::2], x_test=digits.x_test.T.clone().T
    )
    with closing(SampleFile(strided)) as file:
        assert_same(file.shared.open(), strided)


def test_it_is_small_to_send(digits: Data) -> None:
    with closing(SampleFile(digits)) as file:
        assert len(pickle.dumps(file.shared)) < 1000


def test_writing_to_opened_samples_changes_nobody_else_s(digits: Data) -> None:
    with closing(SampleFile(digits)) as file:
        file.shared.open().x_train.zero_()
        assert_same(file.shared.open(), digits)


def test_what_is_open_stays_when_the_file_is_closed(digits: Data) -> None:
    file = SampleFile(digits)
    opened = file.shared.open()
    file.close()
    assert_same(opened, digits)


def test_without_files_in_memory_a_temporary_one_is_made_and_removed(digits: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(shared_samples.os, "memfd_create", raising=False)
    file = SampleFile(digits)
    assert_same(file.shared.open(), digits)
    assert Path(file.shared.path).stat().st_size > digits.x_train.nbytes
    file.close()
    assert not Path(file.shared.path).exists()


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="needs Linux")
def test_another_process_opens_it_and_no_folder_holds_it(digits: Data) -> None:
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer).open().x_train.double().sum().item())"
    with closing(SampleFile(digits)) as file:
        sent = pickle.dumps(file.shared)
        done = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True, check=True, env=environment())
        assert "deleted" in os.readlink(file.shared.path)
    assert float(done.stdout) == digits.x_train.double().sum().item()


def test_the_digest_tells_samples_apart(digits: Data) -> None:
    other = digits.x_test.clone()
    other[3, 5] += 1
    assert digest_of(digits) == digest_of(replace(digits, name="another"))
    assert digest_of(digits) != digest_of(replace(digits, x_test=other))
