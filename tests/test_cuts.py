"""Where a network cuts its own graph, seen through a watched loop."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import gradscope

SAMPLES, INPUTS, WIDTH, CLASSES = 32, 6, 12, 3
STEPS = 30


class Network(nn.Module):
    """Three linear layers; `run` says how the first is called."""

    def __init__(self, run=lambda layer, x: layer(x), first=None):
        super().__init__()
        self.first = first or nn.Linear(INPUTS, WIDTH)
        self.second, self.last = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, CLASSES)
        self.run = run

    def forward(self, x):
        return self.last(F.relu(self.second(F.relu(self.run(self.first, x)))))


def without_gradient(layer, x):
    with torch.no_grad():
        return layer(x)


def reentrant(layer, x):
    return checkpoint(layer, x.requires_grad_(), use_reentrant=True)


def found_in(network, x=None):
    """Return the finding of weights that stand still, None if there is none."""
    torch.manual_seed(0)
    x = torch.randn(SAMPLES, INPUTS) if x is None else x
    y = torch.arange(SAMPLES) % CLASSES
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    with gradscope.watch(network, optimizer, on_finding="ignore") as scope:
        for _ in range(STEPS):
            loss = F.cross_entropy(network(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scope.log(loss=loss)
    return next((f for f in scope.diagnosis.findings if f.rule == "frozen-weights"), None)


IMAGES, WORDS = torch.randn(SAMPLES, 1, 4, 4), torch.randint(5, (SAMPLES,))


@pytest.mark.parametrize(
    ("first", "x", "name"),
    [
        (None, None, "first.weight"),
        (nn.Sequential(nn.Conv2d(1, WIDTH, 4), nn.Flatten()), IMAGES, "first.0.weight"),
        (nn.Embedding(5, WIDTH), WORDS, "first.weight"),
    ],
    ids=["linear", "convolution", "words"],
)
def test_weights_that_are_run_with_gradients_switched_off_are_named_in_a_warning(first, x, name):
    found = found_in(Network(without_gradient, first), x)
    assert found is not None
    assert (found.severity, found.evidence["parameters"]) == ("warning", [name])
    assert found.cause.startswith(f"the network runs {name} while gradients are switched off")


def test_inference_mode_is_as_good_as_no_grad():
    def inferred(layer, x):
        with torch.inference_mode():
            z = layer(x)
        return z.clone()

    found = found_in(Network(inferred))
    assert found is not None
    assert found.severity == "warning"


def test_weights_that_are_not_to_be_trained_may_be_run_without_gradients():
    network = Network(without_gradient)
    network.first.requires_grad_(requires_grad=False)
    found = found_in(network)
    assert found is not None
    assert found.severity == "note"
    assert "switched off" not in found.cause


@pytest.mark.filterwarnings("ignore:.*None of the inputs have requires_grad")
def test_what_checkpointing_runs_twice_is_not_cut():
    assert found_in(Network(reentrant)) is None


def test_weights_that_also_run_with_gradients_are_none_that_stand_still():
    def twice(layer, x):
        return layer(x) + without_gradient(layer, x)

    assert found_in(Network(twice)) is None


def test_a_part_of_the_network_that_is_not_used_stays_a_note():
    class Spare(Network):
        def __init__(self):
            super().__init__()
            self.spare = nn.Linear(WIDTH, WIDTH)

        def forward(self, x):
            without_gradient(F.relu, x)
            return super().forward(x)

    torch.manual_seed(1)
    found = found_in(Spare())
    assert found is not None
    assert found.evidence["parameters"] == ["spare.weight"]
    assert found.cause.startswith("what they compute is not used")
