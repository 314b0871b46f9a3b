"""Scripts that train one network after another: the published one, and the best plain loop."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.digit_files import MEAN, STD
from benchmarks.sweep_cases import BATCH, INPUTS, OUTPUTS, activations
from benchmarks.sweep_contenders import Contender, Place
from gradscope.cell import Planned

MODULES = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "selu": nn.SELU}
LR, MOMENTUM = 0.01, 0.5

Networks = Sequence[Sequence[Planned]]
"""By group: the networks that this process trains."""


class OneByOne(Contender):
    """Networks trained one after another: the least block is one step of each."""

    def __init__(self, place: Place, networks: Networks) -> None:
        self.place = place
        self.batches = self.endless()
        self.trained = [[self.build(member) for member in group] for group in networks]

    @abstractmethod
    def endless(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches, epoch after epoch."""

    @abstractmethod
    def build(self, member: Planned) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Return a network and its optimizer."""

    @abstractmethod
    def step(self, model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
        """Take one training step."""

    def begin(self, group: int) -> int:
        """Take three steps: enough to be up to speed."""
        return self.run(group, 3)

    def run(self, group: int, times: int) -> int:
        """Take so many steps of each of the group's networks, one network after the other."""
        for model, optimizer in self.trained[group]:
            for _ in range(times):
                self.step(model, optimizer, *next(self.batches))
        return times * len(self.trained[group])


class Published(OneByOne):
    """The published script: torchvision's images through transforms and a `DataLoader`, log-softmax and likelihood."""

    def endless(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield what the loader makes."""
        from torchvision import datasets, transforms  # takes a second, and no other contender needs it

        transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((MEAN,), (STD,))])
        images = datasets.MNIST(str(self.place.data_dir), train=True, transform=transform)
        loader = torch.utils.data.DataLoader(images, batch_size=BATCH, shuffle=True)
        while True:
            yield from loader

    def build(self, member: Planned) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Return a module of the script's own, and torch's optimizer as it comes."""
        torch.manual_seed(member.seed)
        model = PublishedNet(member).to(self.place.device)
        return model, torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM)

    def step(self, model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
        """Take one training step."""
        x, y = x.to(self.place.device), y.to(self.place.device)
        optimizer.zero_grad()
        loss = functional.nll_loss(model(x), y)
        loss.backward()
        optimizer.step()


class PublishedNet(nn.Module):
    """Linear layers with an activation behind each, the last one included."""

    def __init__(self, member: Planned) -> None:
        super().__init__()
        self.linears, self.activations = nn.ModuleList(), nn.ModuleList()
        for linear, activation in layers(member):
            self.linears.append(linear)
            self.activations.append(activation)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logarithms of the classes' probabilities."""
        x = x.view(len(x), -1)
        for linear, activation in zip(self.linears, self.activations, strict=True):
            x = activation(linear(x))
        return functional.log_softmax(x, dim=1)


class Plain(OneByOne):
    """The best plain loop: tensors that lie on the device, `nn.Sequential`, an optimizer without a Python loop."""

    def __init__(self, place: Place, networks: Networks, update: str) -> None:
        self.update = update  # fused | foreach
        super().__init__(place, networks)

    def endless(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield samples picked by a permutation, a new one for each epoch."""
        x, y = self.place.data.x_train, self.place.data.y_train
        while True:
            order = torch.randperm(len(x), device=self.place.device)
            for batch in order[: len(x) // BATCH * BATCH].split(BATCH):
                yield x[batch], y[batch]

    def build(self, member: Planned) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Return an `nn.Sequential`, and an optimizer that updates all parameters in one call."""
        torch.manual_seed(member.seed)
        model = nn.Sequential(*(module for pair in layers(member) for module in pair)).to(self.place.device)
        return model, torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM, **{self.update: True})

    def step(self, model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
        """Take one training step."""
        loss = functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def layers(member: Planned) -> list[tuple[nn.Module, nn.Module]]:
    """Return the linear layers of a network, each with the activation behind it."""
    assert member.recipe.stack is not None
    widths = [INPUTS, *member.recipe.stack.hidden, OUTPUTS]
    return [(nn.Linear(widths[i], widths[i + 1]), MODULES[name]()) for i, name in enumerate(activations(member.recipe))]
