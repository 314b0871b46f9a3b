"""Which device a recipe is trained on, and devices that are not there."""

import pytest
import torch
from small_trials import recipe_of, stack_text

from gradscope.device import choose_device
from gradscope.errors import RecipeError
from gradscope.recipe import replace


def chosen(device):
    return choose_device(recipe_of(stack_text(extra=f"device: {device}\n")))


@pytest.fixture
def machine(monkeypatch):
    def has(cuda=0, mps=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return has


def test_auto_takes_cuda_then_mps_then_cpu(machine):
    machine(cuda=1, mps=True)
    assert chosen("auto") == torch.device("cuda")
    machine(mps=True)
    assert chosen("auto") == torch.device("mps")
    machine()
    assert chosen("auto") == torch.device("cpu")


def test_a_device_that_is_there_is_taken(machine):
    machine(cuda=2, mps=True)
    for name in ("cpu", "cuda", "cuda:1", "mps"):
        assert chosen(name) == torch.device(name)


@pytest.mark.parametrize(
    ("has", "asked", "present"),
    [
        ({}, "cuda", "it has cpu"),
        ({}, "cuda:0", "it has cpu"),
        ({}, "mps", "it has cpu"),
        ({"cuda": 2}, "cuda:2", "it has cpu, cuda:0, cuda:1"),
        ({"mps": True}, "cuda", "it has cpu, mps"),
    ],
)
def test_a_device_that_is_not_there_is_one_line_with_those_that_are(machine, has, asked, present):
    machine(**has)
    with pytest.raises(RecipeError) as caught:
        chosen(asked)
    (line,) = caught.value.faults
    assert f"device: expected a device of this machine, got {asked}; {present}, auto takes the best" in line
    assert line.startswith("recipe:8:9: ")


def test_the_line_names_the_option_that_asked_for_it(machine):
    machine()
    with pytest.raises(RecipeError, match=r"^--device: expected a device of this machine, got cuda"):
        choose_device(replace(recipe_of(stack_text()), device="cuda"))
