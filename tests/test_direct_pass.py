"""Steps without autograd's graph: the same bits as with it, whatever the network is made of, and only where nobody looks."""

import pytest
import torch
from networks import class_data, names, number_data, population, stack
from torch import nn
from torch.nn.modules.module import register_module_forward_hook

from gradscope.activation_kernels import kernel_of
from gradscope.activations import TABLE
from gradscope.direct_pass import DirectPass, direct_pass
from gradscope.elementwise import build_activation
from gradscope.fused_update import linear_updates
from gradscope.intervention_plan import Arm
from gradscope.interventions import intervene
from gradscope.recipe import Training
from gradscope.schedule import every
from gradscope.training import Watching, make_optimizer, task_of, train, unwatched_step
from gradscope.unit_gates import Gates

CPU = torch.device("cpu")

HAVE_KERNELS = ["none", "relu", "tanh", "sigmoid", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "softplus", "hardtanh"]
MIXED = [
    stack(["selu", "relu", "none"]),
    stack(["selu", "relu", "sigmoid"]),
    stack([{"relu": 0.5, "tanh": 0.5}, "tanh", "selu"]),
    stack(["tanh", {"gelu": 3, "none": 4}, "relu"]),
]


def trained(described, training, data, *, schedule, seeds=None):
    network = population(*described, seeds=seeds or [1] * len(described)).to(data.x_train.dtype)
    labels = names(*map(str, range(len(described))), seeds=seeds or [1] * len(described))
    done = train(network, labels, data, training, task_of(data, training), Watching(schedule=schedule))
    return [p.detach() for p in network.parameters()], done.traces[0].loss


@pytest.fixture
def steps_taken(monkeypatch):
    """How many steps went without a graph."""
    taken, step = [], DirectPass.step
    monkeypatch.setattr(DirectPass, "step", lambda self, x, y: (taken.append(1), step(self, x, y))[1])
    return taken


def assert_same_bits(described, training, data, steps_taken, seeds=None):
    """Train without a look and with one at every step; weights and losses must not tell which."""
    direct, losses = trained(described, training, data, schedule=lambda step: False, seeds=seeds)
    taken = len(steps_taken)
    assert taken
    graph, graph_losses = trained(described, training, data, schedule=every(1), seeds=seeds)
    assert len(steps_taken) == taken, "a step that is looked at has a graph"
    assert all(torch.equal(a, b) for a, b in zip(direct, graph, strict=True))
    assert losses.tolist() == graph_losses.tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("seeds", [[1, 1, 1, 1], [1, 2, 2, 1]], ids=["one batch for all", "batches by seed"])
def test_mixed_members_come_to_the_same_bits_as_with_a_graph(dtype, seeds, steps_taken):
    """A batch of 32 divides no 170 samples: the last one of an epoch is smaller."""
    data, training = class_data(train=170, dtype=dtype), Training(lr=0.05, momentum=0.5, epochs=5, batch_size=32)
    assert_same_bits(MIXED, training, data, steps_taken, seeds=seeds)
    assert len(steps_taken) == 5 * 6


@pytest.mark.parametrize("per", ["member", "unit"])
def test_all_activations_side_by_side_come_to_the_same_bits(per, steps_taken):
    """Widths that vector instructions divide, and some that they do not."""
    if per == "member":
        described = [stack([name] * 3, hidden=(64, 37)) for name in HAVE_KERNELS]
    else:
        described = [stack([dict.fromkeys(HAVE_KERNELS, 5), dict.fromkeys(HAVE_KERNELS, 3), "none"], hidden=(60, 36))] * 2
    data, training = class_data(train=75), Training(lr=0.02, momentum=0.5, epochs=2, batch_size=32)
    assert_same_bits(described, training, data, steps_taken)


WITH_PARAMETERS = [
    *({"celu": {"alpha": alpha}} for alpha in (0.03, 0.3, 1.7)),
    {"elu": {"alpha": 0.3}},
    {"leaky_relu": {"negative_slope": 0.17}},
    {"softplus": {"beta": 1.3, "threshold": 2.0}},
    {"hardtanh": {"min_val": -0.3, "max_val": 0.7}},
    {"gelu": {"approximate": "tanh"}},
]


@pytest.mark.parametrize("activation", [*HAVE_KERNELS, *WITH_PARAMETERS], ids=str)
@pytest.mark.parametrize("width", [1, 7, 500], ids="width {}".format)
def test_a_kernel_gives_the_bits_of_torchs_module(activation, width):
    (spec,) = [block.activation for block in stack([activation] * 3).layers[0].blocks]
    module = build_activation(spec, allow_code=False)
    kernel = kernel_of(module)
    assert kernel is not None
    draw = torch.Generator().manual_seed(width)
    z = torch.randn(3, 32, width, generator=draw) * 4
    z[0, 0, 0], z[1, 0, 0], z[2, 0, 0] = float("nan"), float("inf"), -0.0
    gradient = torch.randn(3, 32, width, generator=draw)
    wanted = module(leaf := z.clone().requires_grad_())
    wanted.backward(gradient)
    a = torch.empty_like(z) if kernel.needs_z else z
    kernel.forward(z, a)
    assert torch.equal(a.view(torch.int32), wanted.detach().view(torch.int32))
    kernel.backward(gradient, z, a)
    torch.testing.assert_close(gradient, leaf.grad, rtol=0, atol=0, equal_nan=True)


def test_those_without_a_kernel_are_known(steps_taken):
    """They train by autograd, see tests/test_fused_update.py for what comes of it."""
    made = {name: getattr(nn, entry.torch_class) for name, entry in TABLE.items() if name != "threshold"}
    assert {name for name, kind in made.items() if kernel_of(kind())} == set(HAVE_KERNELS)
    trained([stack(["softsign", "relu", "none"])], Training(epochs=1), class_data(), schedule=lambda step: False)
    assert not steps_taken


@pytest.mark.parametrize("loss", ["cross-entropy", "nll", "mse", "bce-with-logits"])
def test_every_loss_comes_to_the_same_bits(loss, steps_taken):
    described, data = [stack(["relu", "tanh", "sigmoid"]), stack(["selu", "tanh", "sigmoid"])], class_data()
    training = Training(loss=loss, lr=0.05, epochs=2)
    assert_same_bits(described, training, data, steps_taken)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("last", [["relu"], ["gelu"], ["selu"], ["gelu", "silu", "gelu"], ["silu", "none", "tanh"]], ids=str)
def test_numbers_as_targets_come_to_the_same_bits(last, dtype, steps_taken):
    described = [stack(["relu", "tanh", name]) for name in last]
    training, data = Training(loss="mse", lr=0.05, epochs=2), number_data(dtype=dtype)
    assert_same_bits(described, training, data, steps_taken)


def test_only_steps_that_are_not_recorded_go_without_a_graph(steps_taken):
    data, training = class_data(train=160), Training(epochs=2, batch_size=16)
    _, _ = trained([stack()], training, data, schedule=every(5))
    assert len(steps_taken) == 20 - 4


@pytest.mark.parametrize(
    ("described", "training"),
    [
        (stack(norm="batchnorm-all"), Training()),
        (stack(norm="batchnorm-last"), Training()),
        (stack(norm="layernorm-all"), Training()),
        (stack(["prelu", "relu", "none"]), Training()),
        (stack(["rrelu", "relu", "none"]), Training()),
        (stack(hidden=(8, 8), residual=True), Training()),
        (stack(), Training(optimizer="adam")),
    ],
    ids=["batchnorm-all", "batchnorm-last", "layernorm-all", "prelu", "rrelu", "residual", "adam"],
)
def test_whatever_is_more_than_linear_layers_and_activations_keeps_the_graph(described, training):
    network = population(described)
    updates = linear_updates(network.linear_parameters(), make_optimizer(network, training))
    assert direct_pass(network, updates, "cross-entropy") is None


def test_the_learning_rate_of_each_step_is_the_one_that_both_ways_take(steps_taken):
    training = Training(lr=0.2, momentum=0.5, epochs=4, batch_size=16, warmup=0.5)
    assert_same_bits([stack(), stack(["tanh", "gelu", "none"])], training, class_data(), steps_taken)
    warm, _ = trained([stack()], training, class_data(), schedule=lambda step: False)
    cold, _ = trained([stack()], training.model_copy(update={"warmup": 0.0}), class_data(), schedule=lambda step: False)
    assert not any(torch.equal(a, b) for a, b in zip(warm, cold, strict=True))


@pytest.mark.parametrize(
    ("described", "training"),
    [
        (stack(hidden=(8, 8), residual=True), Training(lr=0.1, epochs=2)),
        (stack(), Training(lr=0.1, epochs=2, clip=0.1)),
        (stack(hidden=(8, 8), residual=True), Training(lr=0.1, epochs=2, clip=0.1, warmup=0.5)),
    ],
    ids=["residual", "clipped", "both, warmed up"],
)
def test_what_keeps_the_graph_comes_to_the_same_bits_watched_or_not(described, training, steps_taken):
    ways = [trained([described] * 2, training, class_data(), schedule=way) for way in (every(1), lambda step: False)]
    assert not steps_taken
    assert all(torch.equal(a, b) for a, b in zip(ways[0][0], ways[1][0], strict=True))
    assert ways[0][1].tolist() == ways[1][1].tolist()


def test_an_intervention_keeps_the_graph():
    """An open gate changes a group of activations, and leaves no hook behind that could tell."""
    described, build = stack(), lambda spec: build_activation(spec, allow_code=False)
    network = population(described, described)
    gates = [Gates.of(layer.resolve(width), build, CPU) for layer, width in zip(described.layers, (9, 7, 4), strict=True)]
    updates = linear_updates(network.linear_parameters(), make_optimizer(network, Training()))
    assert direct_pass(network, updates, "cross-entropy") is not None
    assert intervene(network, {Arm("open gate", (1,)): range(1, 2)}, gates) == []
    assert direct_pass(network, updates, "cross-entropy") is None


def test_a_hook_of_someones_own_keeps_the_graph():
    network = population(stack())
    updates = linear_updates(network.linear_parameters(), make_optimizer(network, Training()))
    assert direct_pass(network, updates, "cross-entropy") is not None
    for register in (network.layers[1].activation.register_forward_hook, register_module_forward_hook):
        handle = register(lambda module, args, output: None)
        try:
            assert direct_pass(network, updates, "cross-entropy") is None
        finally:
            handle.remove()
    assert direct_pass(network, updates, "cross-entropy") is not None


def test_what_is_timed_takes_the_graph_as_a_network_elsewhere_would(steps_taken):
    network, data = population(stack()), class_data()
    before = network.layers[0].weight.detach().clone()
    unwatched_step(network, names("0", seeds=[1]), data, Training(lr=0.1), 1)(torch.arange(32).view(1, 32))
    assert not torch.equal(network.layers[0].weight, before)
    assert not steps_taken


def test_a_plain_network_keeps_the_graph():
    network = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    assert direct_pass(network, [], "cross-entropy") is None


def test_the_networks_own_products_are_no_blind_spot():
    """They are functions of gradscope's own in the graph of a recorded step, and what goes through them is seen."""
    network, data, training = population(stack()), class_data(), Training(epochs=1)
    done = train(network, names("0", seeds=[1]), data, training, task_of(data, training), Watching(schedule=every(2)))
    assert done.traces[0].unseen == ()


def in_place(z):
    return z.relu_()


@pytest.mark.parametrize("schedule", [every(1), lambda step: False], ids=["watched", "not watched"])
def test_an_activation_of_ones_own_may_work_in_place(schedule):
    described, plain = stack([f"{__name__}:in_place"] * 3), stack(["relu"] * 3)
    data, training = class_data(), Training(lr=0.05, epochs=2)
    found = []
    for one in (described, plain):
        network = population(one, allow_code=True)
        train(network, names("0", seeds=[1]), data, training, task_of(data, training), Watching(schedule=schedule))
        found.append([p.detach() for p in network.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
