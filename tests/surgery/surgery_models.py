"""Small models of the kinds that surgery meets."""

import torch
from torch import nn
from torch.nn import functional


def mlp(activation=nn.ReLU, last=nn.ReLU):
    return nn.Sequential(nn.Linear(6, 8), activation(), nn.Linear(8, 7), activation(), nn.Linear(7, 4), last())


class Cnn(nn.Module):
    """Registered in another order than called, one activation shared by two places, one a function."""

    def __init__(self):
        super().__init__()
        self.sigmoid, self.relu = nn.Sigmoid(), nn.ReLU(inplace=True)
        self.last, self.second, self.first = nn.Linear(32, 4), nn.Conv2d(4, 8, 3, padding=1), nn.Conv2d(1, 4, 3, padding=1)
        self.middle = nn.Linear(8 * 64, 32)

    def forward(self, x):
        x = self.relu(self.second(self.relu(self.first(x))))
        x = functional.relu(self.middle(x.flatten(1)))
        return self.sigmoid(self.last(x))


class Functional(nn.Module):
    """Every activation a function."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(6, 8), nn.Linear(8, 4)

    def forward(self, x):
        return torch.sigmoid(self.two(self.one(x).relu()))


class Listed(nn.Module):
    """Blocks in a ModuleList, called backwards; one is never called."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(6, 6), nn.ReLU()) for _ in range(3))

    def forward(self, x):
        return self.blocks[0](self.blocks[2](x))


class Twice(nn.Module):
    """One linear layer called twice."""

    def __init__(self):
        super().__init__()
        self.layer, self.relu = nn.Linear(6, 6), nn.ReLU()

    def forward(self, x):
        return self.relu(self.layer(self.relu(self.layer(x))))


class Added(nn.Module):
    """Something is written into the linear layer's outputs before the activation."""

    def __init__(self):
        super().__init__()
        self.layer, self.relu = nn.Linear(6, 6), nn.ReLU()

    def forward(self, x):
        z = self.layer(x)
        z += x
        return self.relu(z)


class Two(nn.Module):
    """Takes two arguments and returns a tuple."""

    def __init__(self):
        super().__init__()
        self.layer, self.relu = nn.Linear(6, 4), nn.ReLU()

    def forward(self, x, shift):
        return self.relu(self.layer(x) + shift), shift


def encoder(activation="relu"):
    return nn.TransformerEncoderLayer(8, 2, 16, activation=activation, batch_first=True, dropout=0.0)
