"""One small training, written out with torch alone: what a scope records inside each library is compared with it."""

import contextlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

SAMPLES, BATCH, INPUTS, CLASSES = 48, 8, 6, 3
BATCHES = SAMPLES // BATCH
LR, MOMENTUM = 0.1, 0.9


class Network(nn.Module):
    """A module and a function as non-linearities; keeps its pre-activations for those who ask."""

    def __init__(self):
        super().__init__()
        self.first, self.relu = nn.Linear(INPUTS, 16), nn.ReLU()
        self.second, self.head = nn.Linear(16, 8), nn.Linear(8, CLASSES)

    def forward(self, x):
        self.z = [self.first(x)]
        self.z.append(self.second(self.relu(self.z[0])))
        return self.head(torch.tanh(self.z[1]))


def network():
    torch.manual_seed(5)
    return Network()


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM)


def samples():
    draw = torch.Generator().manual_seed(6)
    y = torch.randint(CLASSES, (SAMPLES,), generator=draw)
    return torch.randn(CLASSES, INPUTS, generator=draw)[y] + torch.randn(SAMPLES, INPUTS, generator=draw), y


def dataset():
    return torch.utils.data.TensorDataset(*samples())


def loader():
    return torch.utils.data.DataLoader(dataset(), BATCH)


@dataclass
class Truth:
    """What a training did, by step: the loss, the rms of the gradient of each parameter and pre-activation."""

    loss: np.ndarray  # [step]
    raw: np.ndarray  # [step, parameter] before clipping
    used: np.ndarray  # [step, parameter] as the optimizer gets it
    sites: np.ndarray  # [step, site]


def truth(*, epochs=1, accumulate=1, divide_by=None, clip=None, bf16=False):
    """Train as every library should.

    Args:
        epochs: how often to go through the samples.
        accumulate: batches a step; the last step of an epoch may have fewer.
        divide_by: what a batch's loss is divided by in a step of so many batches; the default is just that.
        clip: largest norm of the gradient.
        bf16: whether forward passes run in autocast.
    """
    model, (x, y) = network(), samples()
    optimizer, rows = sgd(model), []
    batches = list(zip(x.split(BATCH), y.split(BATCH), strict=True))
    for _ in range(epochs):
        for start in range(0, BATCHES, accumulate):
            window = batches[start : start + accumulate]
            losses, pre_activations = [], []
            for inputs, labels in window:
                with torch.autocast("cpu", torch.bfloat16) if bf16 else contextlib.nullcontext():
                    loss = F.cross_entropy(model(inputs), labels)
                pre_activations.append(model.z)
                for z in model.z:
                    z.retain_grad()
                losses.append(loss.item())
                (loss / (divide_by or (lambda count: count))(len(window))).backward()
            raw = _gradients(model)
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            at_sites = [_rms(torch.cat([z.grad for z in passes])) for passes in zip(*pre_activations, strict=True)]
            rows.append((np.mean(losses), raw, _gradients(model), at_sites))
            optimizer.step()
            optimizer.zero_grad()
    return Truth(*(np.array(column) for column in zip(*rows, strict=True)))


def _gradients(model):
    return [_rms(parameter.grad) for parameter in model.parameters()]


def _rms(values):
    return values.float().square().mean().sqrt().item()


def assert_true(scope, expected, *, path="", loss=True, tolerance=1e-5):
    """Compare what a scope that looked at every step has recorded; `path` leads to the network within what was watched."""
    trace = scope.trace
    near = {"rtol": tolerance, "atol": 1e-7}
    names = [site.name for site in trace.sites]
    assert len(names) == 2, names
    assert names[0] == f"{path}relu", names
    assert names[1].startswith(f"{path}tanh@"), names
    assert scope.step == len(expected.loss)
    assert list(trace.steps) == list(range(scope.step))
    parameters = trace.parameter_statistics
    np.testing.assert_allclose(parameters["grad_rms"], expected.used, **near)
    if "grad_rms_before_clipping" in parameters:  # the norm is taken by some libraries that do not clip
        np.testing.assert_allclose(parameters["grad_rms_before_clipping"], expected.raw, **near)
    else:
        np.testing.assert_array_equal(expected.raw, expected.used)
    np.testing.assert_allclose(trace.site_statistics["grad_rms"], expected.sites, **near)
    if loss:
        np.testing.assert_allclose(trace.loss, expected.loss, rtol=1e-5)
    assert scope.diagnosis.coverage.sites_seen == 2
