"""From rows of all members to a trace for each: who gets what, and the ratios at zero and NaN."""

import numpy as np
import pytest
import torch
from networks import class_data, names, population, stack
from torch import nn

from gradscope.member_traces import Progress, _ratio, build_traces
from gradscope.recipe import Training
from gradscope.recorder import Recorder
from gradscope.schedule import every
from gradscope.trace import PARAMETER_STATISTICS, SITE_STATISTICS, UNIT_STATISTICS, Task
from gradscope.training import Watching, task_of, train

ARMS = [stack(), stack(["tanh", "relu", "none"]), stack(norm="batchnorm-all"), stack([["relu", "sigmoid"], "relu", "tanh"])]


def trained(arms, seeds, **more):
    data, training = class_data(), Training(epochs=2, lr=0.05)
    network = population(*arms, seeds=seeds)
    labels = names(*[f"arm{i}" for i in range(len(arms))], seeds=seeds)
    return train(network, labels, data, training, task_of(data, training), Watching(schedule=every(1), **more)).traces


def test_each_member_gets_the_trace_that_it_has_alone():
    seeds = [1, 2, 3, 1]
    together = trained(ARMS, seeds)
    for i, (arm, seed, trace) in enumerate(zip(ARMS, seeds, together, strict=True)):
        (alone,) = trained([arm], [seed])
        trace.self_check()
        assert (trace.arm, trace.seed) == (f"arm{i}", seed)
        assert [(s.name, s.is_output, s.shuts.tolist(), s.saturates.tolist()) for s in trace.sites] == [
            (s.name, s.is_output, s.shuts.tolist(), s.saturates.tolist()) for s in alone.sites
        ]
        assert trace.parameters == alone.parameters
        for kind in ("unit_statistics", "site_statistics", "parameter_statistics"):
            for name, values in getattr(trace, kind).items():
                other = getattr(alone, kind)[name]
                if name == "identical_frac":  # two units may be apart by just its tolerance, and alike in one of the two only
                    assert (np.abs(values - other) > 1e-5).sum() <= 1
                    continue
                for a, b in zip(values, other, strict=True) if kind == "unit_statistics" else [(values, other)]:
                    # in front of batch-norm a bias has rounding noise for a gradient: atol
                    np.testing.assert_allclose(a, b, rtol=5e-3, atol=1e-5, err_msg=f"{i} {kind} {name}")
        np.testing.assert_allclose(trace.output_grad_norm, alone.output_grad_norm, rtol=1e-3)


def test_every_statistic_of_the_design_is_there():
    for trace in trained(ARMS, [1, 1, 1, 1]):
        assert tuple(trace.unit_statistics) == UNIT_STATISTICS
        assert tuple(trace.site_statistics) == SITE_STATISTICS
        assert tuple(trace.parameter_statistics) == PARAMETER_STATISTICS


@pytest.mark.parametrize(
    ("part", "whole", "ratio"),
    [
        (1, 2, 0.5),
        (0, 2, 0),
        (1, 0, np.inf),
        (0, 0, np.nan),
        (np.nan, 2, np.nan),
        (1, np.nan, np.nan),
        (np.nan, 0, np.nan),
        (0, np.nan, np.nan),
        (np.inf, 2, np.inf),
        (1e-30, 1e-38, 1e8),
    ],
)
def test_ratios_at_the_edges(part, whole, ratio):
    got = _ratio(np.array([part], np.float32), np.array([whole], np.float32))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, [ratio], rtol=1e-3)


def test_a_closed_gate_passes_nothing_and_what_lies_before_gets_nothing():
    network = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2), nn.ReLU())
    with torch.no_grad():
        network[2].weight.zero_()
        network[2].bias.fill_(-1)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    recorder = Recorder(network, optimizer, every(1))
    with recorder:
        recorder.begin(0)
        (network(torch.randn(6, 3)) - 1).square().sum().backward()
        recorder.gradients_ready()
        optimizer.step()
        recorder.step_taken()
    (trace,) = build_traces(recorder, names("a"), Progress(np.zeros((1, 1), np.float32)), Task(), "all")
    assert trace.site_statistics["gate_transmission"][0, 1] == 0
    assert np.isnan(trace.site_statistics["gate_transmission"][0, 0])  # none arrives
    assert np.isnan(trace.site_statistics["weight_transmission"][0, 0])
    assert trace.site_statistics["weight_transmission"][0, 1] == 1
    assert trace.site_statistics["grad_rms"][0].tolist() == [0, 0]
    assert trace.output_grad_norm[0] > 0


def test_nothing_recorded_is_an_empty_trace():
    network = population(*ARMS[:2], seeds=[1, 2])
    recorder = Recorder(network, torch.optim.SGD(network.parameters(), lr=0.1), every(1))
    for trace in build_traces(recorder, names("a", "b"), Progress(np.zeros((0, 2), np.float32)), Task(), "all"):
        trace.self_check()
        assert (len(trace.steps), trace.sites) == (0, ())


def test_traces_of_an_earlier_flush_do_not_change_later():
    flushed = []
    data, network = class_data(), population(stack())
    recorder = Recorder(network, torch.optim.SGD(network.parameters(), lr=0.1), every(1))
    with recorder:
        for step in range(3):
            recorder.begin(step)
            network(data.x_train[:20]).square().mean().backward()
            recorder.gradients_ready()
            recorder.step_taken()
            flushed += build_traces(recorder, names("a"), Progress(np.zeros((step, 1), np.float32)), Task(), "all")
    for count, trace in enumerate(flushed, start=1):
        trace.self_check()
        assert trace.steps.tolist() == list(range(count))
