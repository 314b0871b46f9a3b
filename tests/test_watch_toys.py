"""Small networks with a known fault, each trained by a plain loop: gradscope.watch names the rule and where it starts."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import class_data
from torch import nn
from torch.nn import functional as F

import gradscope

INPUTS, WIDTH, CLASSES = 20, 64, 10
HIDDEN, BATCH, STEPS, LR = 3, 32, 80, 0.1
SHUT = -100.0  # of a bias: far below what the weights' part of z reaches

Build = Callable[[], nn.Module]


@dataclass(frozen=True)
class Toy:
    """A network and what is wrong with it: the rule and the place of its origin; None for a healthy one."""

    build: Build
    rule: str | None = None
    origin: str | None = None
    severity: str = "error"
    rate: float = 1.0  # by which the learning rate is wrong
    scale: float = 1.0  # and the input


def layers(*activations: nn.Module) -> nn.Sequential:
    """A linear layer before each activation and one after the last; activation k is called 2k + 1 and its class."""
    sizes = [INPUTS, *[WIDTH] * len(activations)]
    parts = [(nn.Linear(*sizes[k : k + 2]), activation) for k, activation in enumerate(activations)]
    return nn.Sequential(*(module for part in parts for module in part), nn.Linear(WIDTH, CLASSES))


def relus(count: int = HIDDEN, *, inplace: bool = False) -> nn.Sequential:
    return layers(*(nn.ReLU(inplace) for _ in range(count)))


def linear(network: nn.Module, layer: int) -> nn.Linear:
    """The network's linear layer, counted from 1."""
    return [module for module in network.modules() if isinstance(module, nn.Linear)][layer - 1]


def killed(network: nn.Module, layer: int, units: int = WIDTH) -> nn.Module:
    with torch.no_grad():
        linear(network, layer).bias[:units] = SHUT
    return network


class Functional(nn.Module):
    """The same layers, with the activation called as a function."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.ModuleList(nn.Linear(INPUTS if k == 0 else WIDTH, WIDTH) for k in range(HIDDEN))
        self.last = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.hidden:
            x = F.relu(layer(x))
        return self.last(x)


class Shared(Functional):
    """The same layers, with one activation module for all."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.hidden:
            x = self.act(layer(x))
        return self.last(x)


def relu_after_sigmoid() -> nn.Module:
    return nn.Sequential(*layers(nn.ReLU(), nn.Sigmoid()), nn.ReLU())


def saturated() -> nn.Module:
    network = layers(nn.Sigmoid(), nn.Sigmoid())
    with torch.no_grad():
        for layer in (1, 2):
            linear(network, layer).weight *= 200
    return network


def filled(network: nn.Module, value: float) -> nn.Module:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(value)
    return network


class Detached(Functional):
    """The same layers, the second of which is cut from the loss, and by that the first."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second, third = self.hidden
        x = F.relu(second(F.relu(first(x)))).detach()
        return self.last(F.relu(third(x)))


TOYS = {
    "healthy": Toy(relus),
    "layer 1 dead": Toy(lambda: killed(relus(), 1), "dead-layer", "1.relu"),
    "60 % of layer 1 dead": Toy(lambda: killed(relus(), 1, round(0.6 * WIDTH)), "dead-units", "1.relu", "warning"),
    "layer 1 dead, functional": Toy(lambda: killed(Functional(), 1), "dead-layer", "relu@test_watch_toys.py:*"),
    "layer 1 dead, one module for all": Toy(lambda: killed(Shared(), 1), "dead-layer", "act.relu"),
    "sigmoid, then relu on the logits": Toy(relu_after_sigmoid, "output-collapse", "5.relu"),
    "weights of sigmoids x 200": Toy(saturated, "saturation", "1.sigmoid"),
    "twelve sigmoids": Toy(lambda: layers(*(nn.Sigmoid() for _ in range(12))), "vanishing-gradient"),
    "layer 1 dead, in place": Toy(lambda: killed(relus(inplace=True), 1), "dead-layer", "1.relu"),
    "thirty relus": Toy(lambda: relus(30), "vanishing-gradient"),
    "layer 2 dead": Toy(lambda: killed(relus(), 2), "dead-layer", "3.relu"),
    "weights of zero": Toy(lambda: filled(layers(nn.Tanh(), nn.Tanh()), 0), "identical-units", "1.tanh"),
    "weights of a constant": Toy(lambda: filled(layers(nn.Sigmoid(), nn.Tanh()), 0.05), "identical-units", "1.sigmoid"),
    "a layer detached": Toy(Detached, "frozen-weights", "relu@test_watch_toys.py:*#2"),
    "learning rate x 100": Toy(relus, "oversized-updates", rate=100),
    "input x 0.001": Toy(lambda: layers(nn.Tanh(), nn.Tanh()), "unscaled-input", "1.tanh", scale=0.001),
}
KILLED = [name for name in TOYS if "layer 1 dead" in name and not name.startswith("60") or name == "layer 2 dead"]
DEEP = ["twelve sigmoids", "thirty relus"]  # too deep for the gradient to come through
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Outcome:
    losses: list[float]
    verdict: str
    findings: list
    sites: list[str]  # in forward order

    def found(self, rule: str, role: str) -> list:
        return [finding for finding in self.findings if (finding.rule, finding.role) == (rule, role)]

    def place(self, finding) -> int:
        return self.sites.index(finding.site)


OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=LR, momentum=0.5),
    "sgd with decay": lambda parameters: torch.optim.SGD(parameters, lr=LR, momentum=0.5, weight_decay=5e-4),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=3e-3),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=3e-3),
}


@functools.cache
def watched(name: str, seed: int, kind: str = "sgd") -> Outcome:
    toy, losses = TOYS[name], []
    torch.manual_seed(seed)
    network = toy.build()
    optimizer = OPTIMIZERS[kind](network.parameters())
    for group in optimizer.param_groups:
        group["lr"] *= toy.rate
    data = class_data(train=BATCH * STEPS // 2, inputs=INPUTS, classes=CLASSES, seed=seed)
    batches = list(zip(data.x_train.split(BATCH), data.y_train.split(BATCH), strict=True))
    with gradscope.watch(network, optimizer, on_finding="ignore") as scope:
        for x, y in batches * 2:
            optimizer.zero_grad()
            loss = F.cross_entropy(network(toy.scale * x), y)
            loss.backward()
            optimizer.step()
            scope.log(loss=loss)
            losses.append(loss.item())
    sites = [site.name for site in scope.trace.sites]
    return Outcome(losses, scope.diagnosis.verdict, scope.diagnosis.findings, sites)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_healthy_network_is_left_alone(seed):
    outcome = watched("healthy", seed)
    assert outcome.losses[-1] < 0.5
    assert outcome.sites == ["1.relu", "3.relu", "5.relu"]
    assert [finding.text for finding in outcome.findings if finding.severity != "note"] == []
    assert outcome.verdict != "sick"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", [name for name, toy in TOYS.items() if toy.rule])
def test_the_fault_is_named_first(name, seed):
    toy, outcome = TOYS[name], watched(name, seed)
    first = outcome.findings[0]
    assert (first.rule, first.role, first.severity) == (toy.rule, "origin", toy.severity)
    assert toy.origin is None or fnmatchcase(first.site, toy.origin)
    assert len(outcome.found(toy.rule, "origin")) == 1
    assert (outcome.verdict == "sick") == (toy.severity == "error")


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", KILLED)
def test_a_killed_layer_explains_all_others(name, seed):
    outcome = watched(name, seed)
    killed_at = outcome.place(outcome.findings[0])
    assert outcome.findings[0].first_step == 0
    assert len(outcome.sites) == HIDDEN
    assert {outcome.place(finding) for finding in outcome.findings if finding.role == "origin"} == {killed_at}
    assert {outcome.place(finding) for finding in outcome.findings if finding.role == "victim"} >= {*range(HIDDEN)} - {
        killed_at
    }
    assert np.ptp(outcome.losses) < 0.5, "the network learns, so it is no case of a dead layer"


@pytest.mark.parametrize("name", [name for name in TOYS if "layer 1 dead" in name])
def test_biases_are_not_blamed_on_the_input(name):
    outcome = watched(name, 0)
    causes = [finding.cause for finding in outcome.findings if outcome.place(finding) == 0]
    assert causes
    assert not [cause for cause in causes if "fed hardly differs" in cause]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_partly_dead_layer_learns_and_is_only_warned_of(seed):
    outcome = watched("60 % of layer 1 dead", seed)
    assert outcome.losses[-1] < 0.5
    assert {finding.site for finding in outcome.findings if finding.severity != "note"} == {"1.relu"}
    assert outcome.findings[0].evidence["dead_units"] >= round(0.6 * WIDTH)


@pytest.mark.parametrize("seed", SEEDS)
def test_lost_classes_are_no_dead_layer(seed):
    outcome = watched("sigmoid, then relu on the logits", seed)
    assert 0 < outcome.findings[0].evidence["dead_units"] < CLASSES
    assert outcome.findings[0].evidence["total"] is False
    assert {finding.rule for finding in outcome.findings if finding.severity == "error"} <= {"output-collapse", "common-mode"}
    assert {finding.site for finding in outcome.findings if finding.severity == "error"} == {"5.relu"}


@pytest.mark.parametrize("seed", SEEDS)
def test_saturation_is_not_called_death(seed):
    outcome = watched("weights of sigmoids x 200", seed)
    assert {finding.rule for finding in outcome.findings} == {"saturation"}
    assert {finding.site for finding in outcome.findings} == {"1.sigmoid", "3.sigmoid"}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", DEEP)
def test_a_vanishing_gradient_starts_nearest_to_the_loss(name, seed):
    outcome = watched(name, seed)
    (origin,) = outcome.found("vanishing-gradient", "origin")
    victims = outcome.found("vanishing-gradient", "victim")
    assert sorted(map(outcome.place, victims)) == list(range(outcome.place(origin)))
    assert 2 < outcome.place(origin) < len(outcome.sites) - 1
    left = [finding.evidence["remaining_frac"] for finding in sorted([*victims, origin], key=outcome.place)]
    assert (np.diff(left) > 0).all()
    assert {finding.rule for finding in outcome.findings if finding.severity == "error"} == {"vanishing-gradient"}
    assert np.mean(outcome.losses[-5:]) > 0.9 * np.log(CLASSES)


@pytest.mark.parametrize("kind", ["sgd with decay", "adam", "adamw"])
@pytest.mark.parametrize("name", DEEP)
def test_weight_decay_is_no_learning(name, kind):
    """It moves weights that no gradient reaches: only towards zero."""
    outcome = watched(name, 0, kind)
    assert np.mean(outcome.losses[-5:]) > 0.9 * np.log(CLASSES)
    assert outcome.verdict == "sick"
    assert "vanishing-gradient" in {finding.rule for finding in outcome.findings if finding.severity == "error"}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_healthy_network_is_left_alone_by_any_optimizer(kind):
    outcome = watched("healthy", 0, kind)
    assert outcome.losses[-1] < 0.5
    assert outcome.verdict == "healthy"


@pytest.mark.parametrize("seed", SEEDS)
def test_thirty_relus_pass_on_little_more_than_their_biases(seed):
    """The gradient is what is lost: with biases of zero they learn as little, with Kaiming's weights all is well.

    Forward, what varies shrinks like the gradient, to four tenths a layer, and the biases do not: a warning.
    """
    outcome = watched("thirty relus", seed)
    (origin,) = outcome.found("common-mode", "origin")
    assert origin.severity == "warning"
    assert 2 < outcome.place(origin) < 8
    constant = {outcome.place(finding) for finding in outcome.findings if finding.rule == "common-mode"}
    assert constant == {*range(outcome.place(origin), len(outcome.sites))}


@pytest.mark.parametrize("seed", SEEDS)
def test_steps_that_are_too_large_explain_what_dies_of_them(seed):
    outcome = watched("learning rate x 100", seed)
    assert {finding.rule for finding in outcome.findings if finding.role == "origin" and finding.severity == "error"} == {
        "oversized-updates"
    }
    assert [finding for finding in outcome.findings if finding.role == "victim" and finding.severity == "error"]


def test_the_place_of_a_detach_is_named():
    (finding,) = [finding for finding in watched("a layer detached", 0).findings if finding.rule == "frozen-weights"]
    assert finding.evidence["parameters"] == ["hidden.0.weight", "hidden.1.weight"]
    line = int(finding.cause.partition("test_watch_toys.py:")[2].partition(":")[0])
    assert ".detach()" in Path(__file__).read_text().splitlines()[line - 1]
