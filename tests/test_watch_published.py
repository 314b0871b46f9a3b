"""The published loop, written by hand and watched, against `gradscope diagnose` on the same weights and batches."""

import os
from pathlib import Path

import pytest
import torch
from small_trials import CPU
from torch import nn
from torch.nn import functional

import gradscope
from gradscope.data import load_data
from gradscope.recipe import replace
from gradscope.recipe_file import load_recipe
from gradscope.rules import RULES
from gradscope.stack import Population, StackMember
from gradscope.training import BatchOrder
from gradscope.trial import Conditions, run_trial

RECIPE = Path(__file__).parents[1] / "recipes" / "sigmoid_relu.yaml"
DATA = Path(os.environ.get("GRADSCOPE_DATA", ""))
MNIST = pytest.param(
    "mnist",
    marks=[
        pytest.mark.slow,
        pytest.mark.skipif(not (DATA / "MNIST" / "raw").is_dir(), reason="set GRADSCOPE_DATA to a folder with MNIST/raw"),
    ],
)
SEED, STEPS = 2, 400


def what_is_found(findings):
    """All but what needs the test set, which a loop of one's own does not show."""
    return {(f.rule, f.site, f.role, f.severity, f.first_step) for f in findings if f.rule != "stuck-at-chance"}


def by_hand(recipe, data):
    """The network of the recipe as torch.nn writes it, with the weights of its seed, in the loop that everybody writes."""
    stacked = Population([StackMember(recipe.stack, SEED)], data.flattened().x_train.shape[1], data.outputs)
    modules = []
    for layer, kind in zip(stacked.layers, (nn.ReLU, nn.Sigmoid, nn.ReLU), strict=True):
        linear = nn.Linear(*reversed(layer.weight.shape[1:]))
        linear.weight.data, linear.bias.data = layer.weight.data[0].clone(), layer.bias.data[0].clone()
        modules += [linear, kind()]
    model, training = nn.Sequential(nn.Flatten(), *modules), recipe.training
    optimizer = torch.optim.SGD(model.parameters(), lr=training.lr, momentum=training.momentum)
    order = BatchOrder([SEED], len(data.x_train), training.batch_size, CPU)
    names = {"2": "1.relu", "4": "2.sigmoid", "6": "3.relu"}
    with gradscope.watch(model, optimizer, names=names, on_finding="ignore") as scope:
        while scope.step < STEPS:
            for (rows,) in order.epoch():
                loss = functional.cross_entropy(model(data.x_train[rows]), data.y_train[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                scope.log(loss=loss)
                if scope.step == STEPS:
                    break
    return scope.diagnosis


@pytest.mark.parametrize("name", ["digits", MNIST])
def test_a_watched_loop_finds_what_diagnose_finds(name):
    recipe = replace(load_recipe(RECIPE), data=name, device="cpu", seeds=[SEED], fixes=[])
    data = load_data(name, data_dir=DATA if name == "mnist" else None)
    report = run_trial(recipe, data, Conditions(CPU, steps=STEPS))
    diagnosis = by_hand(recipe, data)
    assert ("output-collapse", "3.relu", "origin") in {(f.rule, f.site, f.role) for f in diagnosis.findings}
    assert what_is_found(diagnosis.findings) == what_is_found(report.findings)
    assert diagnosis.verdict == report.verdict == "sick"
    assert len(RULES) > len(diagnosis.undecided)
