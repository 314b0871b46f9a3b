"""Plain-torch twins of populations, plain-NumPy twins of a training step, small data, and loops for tests that train."""

import numpy as np
import torch
from torch import nn

from gradscope.activations import TABLE
from gradscope.data import Data
from gradscope.initial_weights import layer_seed
from gradscope.member_traces import MemberName
from gradscope.recipe import Stack, Training
from gradscope.stack import Population, StackMember

INPUTS, OUTPUTS = 6, 4


def stack(activations=("relu", "sigmoid", "relu"), hidden=(9, 7), **more):
    return Stack(hidden=list(hidden), activations=list(activations), **more)


def population(*stacks, seeds=None, inputs=INPUTS, outputs=OUTPUTS, **more):
    seeds = seeds or [1] * len(stacks)
    members = [StackMember(s, seed) for s, seed in zip(stacks, seeds, strict=True)]
    return Population(members, inputs, outputs, **more)


class UnitBlocks(nn.Module):
    """Activations of a plain network's neighbouring units."""

    def __init__(self, blocks):
        super().__init__()
        self.counts = [count for _, count in blocks]
        self.functions = nn.ModuleList(plain_activation(spec) for spec, _ in blocks)

    def forward(self, z):
        return torch.cat([f(part) for f, part in zip(self.functions, z.split(self.counts, 1), strict=True)], 1)


def plain_activation(spec):
    return getattr(nn, TABLE[spec.name].torch_class)(**spec.parameters)


def plain_twin(described, seed, inputs=INPUTS, outputs=OUTPUTS):
    """The network that someone would write by hand for one member, as an nn.Sequential of torch's own modules."""
    widths, layers = [inputs, *described.hidden, outputs], []
    with torch.random.fork_rng(devices=[]):
        for k, (norm, activation) in enumerate(zip(described.norms, described.layers, strict=True)):
            torch.manual_seed(layer_seed(seed, k))
            layers.append(nn.Linear(widths[k], widths[k + 1]))
            layers += {
                "none": [],
                "batchnorm": [nn.BatchNorm1d(widths[k + 1])],
                "layernorm": [nn.LayerNorm(widths[k + 1])],
            }[norm]
            if norm != "none" and described.norm_weight == "uniform":
                torch.manual_seed(layer_seed(seed, 2000 + k))
                nn.init.uniform_(layers[-1].weight)
            blocks = activation.resolve(widths[k + 1])
            layers.append(plain_activation(blocks[0][0]) if len(blocks) == 1 else UnitBlocks(blocks))
    return nn.Sequential(*layers)


class PlainShortcuts(nn.Module):
    """A plain twin, cut into its layers, with the outputs of the layer before added to those of some."""

    def __init__(self, twin, described):
        super().__init__()
        ends = [i for i, module in enumerate(twin) if i and isinstance(module, nn.Linear)] + [len(twin)]
        self.layers = nn.ModuleList(twin[start:end] for start, end in zip([0, *ends], ends, strict=False))
        hidden = described.hidden
        self.around = [0 < k < len(hidden) and hidden[k] == hidden[k - 1] for k in range(len(ends))]

    def forward(self, x):
        for layer, is_around in zip(self.layers, self.around, strict=True):
            x = layer(x) + x if is_around else layer(x)
        return x


def class_data(train=160, test=50, inputs=INPUTS, classes=OUTPUTS, seed=0, dtype=torch.float32):
    draw = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, inputs, generator=draw, dtype=torch.float64) * 2
    y = torch.randint(classes, (train + test,), generator=draw)
    x = (centres[y] + torch.randn(train + test, inputs, generator=draw, dtype=torch.float64)).to(dtype)
    most = y[:train].mode().values
    return Data(
        name="blobs", x_train=x[:train], y_train=y[:train], x_test=x[train:], y_test=y[train:], classes=classes,
        outputs=classes, metric="accuracy", chance=(y[train:] == most).double().mean().item(),
    )  # fmt: skip


def number_data(train=160, test=50, inputs=INPUTS, outputs=OUTPUTS, seed=0, dtype=torch.float32):
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(train + test, inputs, generator=draw, dtype=torch.float64)
    y = (x @ torch.randn(inputs, outputs, generator=draw, dtype=torch.float64)).tanh() + 0.5
    return Data(
        name="numbers", x_train=x[:train].to(dtype), y_train=y[:train].to(dtype), x_test=x[train:].to(dtype),
        y_test=y[train:].to(dtype), classes=0, outputs=outputs, metric="r2", chance=0.0,
    )  # fmt: skip


def names(*arms, seeds=None):
    return [MemberName(arm, seed) for arm, seed in zip(arms, seeds or [1] * len(arms), strict=True)]


def plain_optimizer(network, training: Training):
    """The recipe's optimizer as torch's documentation writes it."""
    common = {"lr": training.lr, "weight_decay": training.weight_decay}
    if training.optimizer in ("sgd", "rmsprop"):
        common["momentum"] = training.momentum
    kind = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop"}[training.optimizer]
    return getattr(torch.optim, kind)(network.parameters(), **common)


def plain_batches(seed, samples, batch_size, steps):
    """The indices of each step's batch: a fresh permutation per epoch from the seed's own generator."""
    draw = torch.Generator().manual_seed(seed)
    while True:
        for indices in torch.randperm(samples, generator=draw).split(batch_size):
            if len(indices) == 1 and samples > 1 and batch_size > 1:
                continue
            if steps == 0:
                return
            steps -= 1
            yield indices


def train_alone(network, data, training, seed, steps, loss=nn.functional.cross_entropy):
    optimizer, found = plain_optimizer(network, training), []
    per_epoch = -(-len(data.x_train) // training.batch_size)
    warmup = max(round(training.warmup * training.epochs * per_epoch), 1)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1 / warmup, total_iters=warmup - 1)
    network.train()
    for indices in plain_batches(seed, len(data.x_train), training.batch_size, steps):
        value = loss(network(data.x_train[indices]), data.y_train[indices])
        optimizer.zero_grad()
        value.backward()
        if training.clip != "none":
            nn.utils.clip_grad_norm_(network.parameters(), training.clip)
        optimizer.step()
        schedule.step()
        found.append(value.item())
    return np.array(found)


def member_weights(network, i):
    """Member i's weights [output, input] and biases, layer by layer."""
    return [(layer.weight[i].detach(), layer.bias[i].detach()) for layer in network.layers]


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


FUNCTIONS = {
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(float)),
    "sigmoid": (sigmoid, lambda z: sigmoid(z) * (1 - sigmoid(z))),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
}
LARGEST_SLOPE = {"relu": 1.0, "sigmoid": 0.25, "tanh": 1.0}


class NumpyPass:
    """Forward and backward pass of a stack with cross-entropy, by the formulas, in float64.

    `kinds` holds per layer the activation's name for each unit.
    """

    def __init__(self, weights, kinds, x, y):
        self.x, self.z, self.a, self.slopes = np.asarray(x, float), [], [], []
        given = self.x
        for (weight, bias), kind in zip(weights, kinds, strict=True):
            z = given @ np.asarray(weight, float).T + np.asarray(bias, float)
            a, slopes = np.empty_like(z), np.empty_like(z)
            for unit, name in enumerate(kind):
                function, derivative = FUNCTIONS[name]
                a[:, unit], slopes[:, unit] = function(z[:, unit]), derivative(z[:, unit])
            self.z.append(z)
            self.a.append(a)
            self.slopes.append(slopes)
            given = a
        shifted = given - given.max(1, keepdims=True)
        shares = np.exp(shifted) / np.exp(shifted).sum(1, keepdims=True)
        rows = np.arange(len(y))
        self.loss = -np.log(shares[rows, y]).mean()
        shares[rows, y] -= 1
        self._backward(weights, shares / len(y))

    def _backward(self, weights, gradient):
        self.grad_output, self.grad_a, self.grad_z, self.grad_weight, self.grad_bias = gradient, [], [], [], []
        for k in reversed(range(len(weights))):
            grad_z = gradient * self.slopes[k]
            given = self.a[k - 1] if k else self.x
            self.grad_a.insert(0, gradient)
            self.grad_z.insert(0, grad_z)
            self.grad_weight.insert(0, grad_z.T @ given)
            self.grad_bias.insert(0, grad_z.sum(0))
            gradient = grad_z @ np.asarray(weights[k][0], float)
