"""One population of a sweep: what is kept of each network is what training it gives."""

import numpy as np
import pytest
import torch
from networks import class_data, names, population

from gradscope.cell import Planned, PopulationTask, run_keys
from gradscope.diagnosis import diagnose
from gradscope.recipe_file import parse_recipe
from gradscope.sweep_training import Interrupted, SweepTraining, train_task
from gradscope.training import Watching, task_of, train

CPU = torch.device("cpu")
TEXT = """
data: digits
stack: {{hidden: [9, 7], activations: {activations}, norm: {norm}}}
training: {{lr: {lr}, epochs: 3, batch_size: 20}}
seeds: 2
fixes: []
"""


def recipe(activations="[relu, sigmoid, relu]", norm="none", lr=0.1):
    return parse_recipe(TEXT.format(activations=activations, norm=norm, lr=lr))


def key_of(recipe, seed):
    return run_keys(recipe, (seed,))[seed]


def task(*recipes, seeds=(1, 2)):
    pairs = [(cell, seed, r) for seed in seeds for cell, r in enumerate(recipes)]
    return PopulationTask(0, tuple(Planned(cell, seed, key_of(r, seed), r) for cell, seed, r in pairs))


@pytest.fixture(scope="module")
def data():
    return class_data()


def test_each_run_is_what_training_the_network_alone_gives(data):
    recipes = [recipe(), recipe("[tanh, tanh, none]")]
    runs = train_task(task(*recipes), data, SweepTraining(CPU))
    assert [(run.key, run.seed) for run in runs] == [(key_of(r, seed), seed) for seed in (1, 2) for r in recipes]
    for run, (r, seed) in zip(runs, [(r, seed) for seed in (1, 2) for r in recipes], strict=True):
        network = population(r.stack, seeds=[seed])
        shares = []
        trained = train(
            network,
            names("a", seeds=[seed]),
            data,
            r.training,
            task_of(data, r.training),
            Watching(evaluated=lambda steps, net: shares.append([float((w <= 0).double().mean()) for w in weights(net)])),  # noqa: B023
        )
        (trace,) = trained.traces
        assert run.value == pytest.approx(float(trace.evaluation_metric[-1]), abs=1e-6)
        assert run.steps == trained.steps == 24
        assert [epoch.step for epoch in run.epochs] == [8, 16, 24]
        assert [epoch.metric for epoch in run.epochs] == pytest.approx(trace.evaluation_metric[1:].tolist(), abs=1e-6)
        losses = trace.loss.astype(np.float64).reshape(3, 8).mean(axis=1)
        assert [epoch.train_loss for epoch in run.epochs] == pytest.approx(losses.tolist(), rel=1e-5)
        for epoch, wanted in zip(run.epochs, shares[1:], strict=True):
            assert epoch.nonpositive_weight_frac == pytest.approx(wanted, abs=1e-6)
        judged = diagnose([trace])
        assert run.verdict == judged.verdict
        assert {(f.rule, f.site, f.first_step) for f in run.findings} == {
            (f.rule, f.site, f.first_step) for f in judged.findings
        }


def weights(network):
    return [weight for weight, _ in network.linear_parameters()]


def test_the_start_is_that_of_the_untouched_network(data):
    described = recipe()
    (run,) = train_task(task(described, seeds=(4,)), data, SweepTraining(CPU, steps=1))
    order = torch.randperm(len(data.x_train), generator=torch.Generator().manual_seed(4))[:20]
    x, network = data.x_train[order].double(), population(described.stack, seeds=[4]).double()
    for layer, (name, kept) in zip(network.layers, run.start.items(), strict=True):
        z = x @ layer.weight[0].T + layer.bias[0]
        x = layer(x[None])[0].detach()
        common = (z.mean(dim=0).abs() / z.std(dim=0, correction=0)).detach().numpy()
        assert kept["nonpositive_frac"] == pytest.approx(np.median((z <= 0).double().mean(dim=0).numpy()), rel=1e-4)
        assert kept["common_mode"] == pytest.approx(np.median(common), rel=1e-3), name
        assert kept["act_rms"] == pytest.approx(float(x.square().mean().sqrt()), rel=1e-4)
    assert list(run.start) == ["1.relu", "2.sigmoid", "3.relu"]


def test_an_interruption_keeps_nothing_of_the_population(data):
    told = []

    def stop():
        return len(told) > 3

    with pytest.raises(Interrupted):
        train_task(task(recipe()), data, SweepTraining(CPU, advance=told.append, should_stop=stop))
    assert told == [2, 2, 2, 2]


@pytest.mark.parametrize("norm", ["none", "batchnorm-all"])
def test_bf16_rounds_products_and_nothing_else(data, norm):
    work = task(recipe(norm=norm), recipe("[tanh, tanh, none]", norm=norm))
    exact = train_task(work, data, SweepTraining(CPU))
    rounded = train_task(work, data, SweepTraining(CPU, precision="bf16"))
    for a, b in zip(exact, rounded, strict=True):
        assert a.epochs[0].train_loss != b.epochs[0].train_loss
        assert a.epochs[0].train_loss == pytest.approx(b.epochs[0].train_loss, rel=0.05)
        assert b.start.keys() == a.start.keys()
    assert {f.rule for run in exact for f in run.findings} == {f.rule for run in rounded for f in run.findings}
