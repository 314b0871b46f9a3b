"""Populations against networks written by hand in plain torch, and what members of one population share."""

import pytest
import torch
from networks import (
    INPUTS,
    OUTPUTS,
    PlainShortcuts,
    class_data,
    member_weights,
    names,
    number_data,
    plain_twin,
    population,
    stack,
    train_alone,
)
from torch import nn

from gradscope.initial_weights import initial_linear, layer_seed
from gradscope.recipe import Training
from gradscope.stack import Population, StackMember
from gradscope.training import task_of, train

STEPS = 50
ARMS = {
    "plain": stack(["relu", "tanh", "none"]),
    "published": stack(["relu", "sigmoid", "relu"]),
    "mixed": stack([["relu", "sigmoid"], {"tanh": 2, "elu": 3, "sigmoid": 2}, "none"]),
    "mixed-shares": stack([{"relu": 0.5, "silu": 0.25, "tanh": 0.25}, ["prelu", "relu"], "none"]),
    "batchnorm-all": stack(["relu", "sigmoid", "relu"], norm="batchnorm-all"),
    "batchnorm-last": stack(["relu", "sigmoid", "relu"], norm="batchnorm-last"),
    "batchnorm-mixed": stack([["relu", "sigmoid"], ["prelu", "tanh"], "relu"], norm="batchnorm-all"),
    "layernorm-all": stack(["relu", "tanh", "none"], norm="layernorm-all"),
    "norm-uniform": stack(["relu", "sigmoid", "relu"], norm=["layernorm", "none", "batchnorm"], norm_weight="uniform"),
    "norm-list": stack(["relu", "tanh", "none"], norm=["layernorm", "batchnorm", "none"]),
    "prelu": stack(["prelu", "prelu", "none"]),
    "prelu-init": stack([{"prelu": {"init": -0.1}}, {"leaky_relu": {"negative_slope": 0.3}}, "gelu"]),
    "again": stack(["relu", "tanh", "none"]),
}
SEEDS = {name: 1 + i % 3 for i, name in enumerate(ARMS)}
OPTIMIZERS = {
    "sgd": {"lr": 0.1, "momentum": 0.5, "weight_decay": 0.01},
    "adam": {"lr": 0.01, "weight_decay": 0.01},
    "adamw": {"lr": 0.01, "weight_decay": 0.05},
    "rmsprop": {"lr": 0.003, "momentum": 0.5, "weight_decay": 0.01},
}


def assert_same(network, i, twin, optimizer, where):
    """Compare parameters and running statistics of member i with those of its plain twin, module by module."""
    state = list(twin)
    for k, layer in enumerate(network.layers):
        linear = state.pop(0)
        weight, bias = member_weights(network, i)[k]
        close(weight, linear.weight, f"{where}: weight {k}")
        norm = next((norm for norm in layer.norms if i in norm.rows), None)
        # in front of batch-norm the bias' true gradient is 0; Adam and its kin make steps of the rounding noise
        adaptive = norm is not None and norm.kind == "batchnorm" and optimizer != "sgd"
        close(bias, linear.bias, f"{where}: bias {k}", 1e-6 if adaptive else 1e-10)
        if norm is not None and norm.kind != "none":
            plain, row = state.pop(0), norm.rows.index(i)
            close(norm.weight[row], plain.weight, f"{where}: norm weight {k}")
            close(norm.bias[row], plain.bias, f"{where}: norm bias {k}")
            if norm.kind == "batchnorm":
                close(norm.running_mean[row], plain.running_mean, f"{where}: mean {k}", 1e-6 if adaptive else 1e-10)
                close(norm.running_var[row], plain.running_var, f"{where}: var {k}")
        state.pop(0)


def close(got, wanted, where, tolerance=1e-10):
    worst = (got.detach() - wanted.detach()).abs().max().item()
    assert got.dtype == wanted.dtype == torch.float64, where
    assert worst <= tolerance, f"{where}: off by {worst:.2g}"


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_each_member_is_the_plain_network_trained_alone(optimizer):
    """All arms at once in one population, in float64, over 50 steps, against each arm alone in torch.optim."""
    training = Training(optimizer=optimizer, batch_size=32, epochs=10, **OPTIMIZERS[optimizer])
    data = class_data(dtype=torch.float64)
    network = population(*ARMS.values(), seeds=list(SEEDS.values())).double()
    start = network.eval()(data.x_test).detach()
    done = train(network, names(*ARMS, seeds=list(SEEDS.values())), data, training, task_of(data, training))
    assert done.steps == STEPS
    network.eval()
    trained = network(data.x_test).detach()
    for i, (name, described) in enumerate(ARMS.items()):
        twin = plain_twin(described, SEEDS[name]).double()
        before = [p.detach().clone() for p in twin.parameters()]
        losses = train_alone(twin, data, training, SEEDS[name], STEPS)
        assert all((p - q).abs().max() > 1e-4 for p, q in zip(twin.parameters(), before, strict=True) if p.dim() > 1)
        assert_same(network, i, twin, optimizer, name)
        assert done.traces[i].loss == pytest.approx(losses, rel=1e-5)
        twin.eval()  # with the running statistics
        noisy = optimizer != "sgd" and "batchnorm" in described.norms  # see assert_same
        close(trained[i], twin(data.x_test), f"{name}: outputs", 1e-6 if noisy else 1e-10)
        assert not torch.equal(start[i], trained[i])


@pytest.mark.parametrize("loss", ["mse", "bce-with-logits"])
def test_other_losses_agree_with_torchs_own(loss):
    data = number_data(dtype=torch.float64)
    described = stack(["tanh", "relu", "none"])
    training = Training(loss=loss, lr=0.05, epochs=4)
    network = population(described, described, seeds=[1, 2]).double()
    train(network, names("a", "a", seeds=[1, 2]), data, training, task_of(data, training))
    plain = {"mse": nn.functional.mse_loss, "bce-with-logits": nn.functional.binary_cross_entropy_with_logits}[loss]
    for i, seed in enumerate([1, 2]):
        twin = plain_twin(described, seed).double()
        train_alone(twin, data, training, seed, 20, plain)
        assert_same(network, i, twin, "sgd", f"seed {seed}")


def test_a_population_of_one_is_an_ordinary_network():
    network, twin = population(stack(norm="batchnorm-all"), seeds=[3]), plain_twin(stack(norm="batchnorm-all"), 3)
    x = torch.randn(20, INPUTS)
    assert network(x).shape == (1, 20, OUTPUTS)
    assert torch.allclose(network(x)[0], twin(x), atol=1e-6)


def test_mixed_units_equal_the_concatenation_of_two_layers():
    """One layer [relu, sigmoid] is two half-layers side by side whose outputs are concatenated."""
    described = stack([["relu", "sigmoid"], "none"], hidden=[8])
    network = population(described).double()
    (weight, bias), (last, last_bias) = member_weights(network, 0)
    upper, lower, end = nn.Linear(INPUTS, 4).double(), nn.Linear(INPUTS, 4).double(), nn.Linear(8, OUTPUTS).double()
    with torch.no_grad():
        for half, rows in ((upper, slice(0, 4)), (lower, slice(4, 8))):
            half.weight.copy_(weight[rows])
            half.bias.copy_(bias[rows])
        end.weight.copy_(last)
        end.bias.copy_(last_bias)
    both = torch.optim.SGD([*upper.parameters(), *lower.parameters(), *end.parameters()], lr=0.1)
    mine = torch.optim.SGD(network.parameters(), lr=0.1)
    data = class_data(dtype=torch.float64)
    for step in range(20):
        x, y = data.x_train[step * 8 : step * 8 + 8], data.y_train[step * 8 : step * 8 + 8]
        twin_output = end(torch.cat([upper(x).relu(), lower(x).sigmoid()], dim=1))
        output = network(x)[0]
        assert torch.allclose(output, twin_output, rtol=0, atol=1e-12)
        for optimizer, result in ((both, twin_output), (mine, output)):
            optimizer.zero_grad()
            nn.functional.cross_entropy(result, y).backward()
            optimizer.step()


def test_same_seed_means_same_initial_weights_wherever_shapes_agree():
    arms = [stack(), stack(norm="batchnorm-all"), stack(["tanh", "gelu", "none"]), stack([["relu", "tanh"], "prelu", "relu"])]
    network = population(*arms, seeds=[5] * 4)
    for k in range(3):
        weight, bias = network.layers[k].weight, network.layers[k].bias
        assert all(torch.equal(weight[0], weight[i]) and torch.equal(bias[0], bias[i]) for i in range(1, 4))
    wider = population(stack(hidden=[9, 30]), seeds=[5])
    assert torch.equal(wider.layers[0].weight[0], network.layers[0].weight[0])
    wider_first = population(stack(hidden=[30, 7]), seeds=[5])
    assert torch.equal(wider_first.layers[2].weight[0], network.layers[2].weight[0])
    assert torch.equal(wider_first.layers[2].bias[0], network.layers[2].bias[0])


def test_weights_of_norms_are_drawn_from_each_members_seed():
    drawn = stack(norm="batchnorm-all", norm_weight="uniform")
    network = population(drawn, stack(norm="batchnorm-all"), drawn, drawn, seeds=[1, 1, 1, 2])
    for layer in network.layers:
        (norm,) = layer.norms
        assert torch.equal(norm.weight[0], norm.weight[2])
        assert not torch.equal(norm.weight[0], norm.weight[3])
        assert torch.equal(norm.weight[1], torch.ones_like(norm.weight[1]))
        assert 0 <= norm.weight[0].min() < norm.weight[0].max() <= 1
    assert not torch.equal(network.layers[0].norms[0].weight[0, :4], network.layers[2].norms[0].weight[0])


def test_other_seeds_and_other_layers_have_other_weights():
    network = population(stack(hidden=[6, 6]), stack(hidden=[6, 6]), seeds=[1, 2], outputs=6)
    drawn = [weight for i in (0, 1) for weight, _ in member_weights(network, i)]
    assert not any(torch.equal(a, b) for i, a in enumerate(drawn) for b in drawn[i + 1 :])


def test_building_leaves_the_global_random_state_alone():
    torch.manual_seed(123)
    before = torch.get_rng_state()
    population(*ARMS.values(), *[stack(init=init) for init in ("kaiming-normal", "orthogonal", {"std": 0.1})], seeds=[7] * 16)
    assert torch.equal(torch.get_rng_state(), before)


def test_members_do_not_depend_on_who_stands_beside_them():
    together = population(*ARMS.values(), seeds=list(SEEDS.values())).double()
    x = torch.randn(16, INPUTS, dtype=torch.float64)
    reversed_order = population(*reversed(ARMS.values()), seeds=list(reversed(SEEDS.values()))).double()
    assert torch.allclose(together(x), reversed_order(x).flip(0), rtol=0, atol=1e-12)


def test_members_may_be_given_samples_of_their_own():
    network = population(stack(), stack(), seeds=[1, 2])
    x = torch.randn(2, 11, INPUTS)
    assert torch.allclose(network(x)[1], plain_twin(stack(), 2)(x[1]), atol=1e-6)


@pytest.mark.parametrize("members", [[], [stack(hidden=[3, 4]), stack(hidden=[4, 3])]])
def test_no_member_or_members_of_different_widths_are_refused(members):
    with pytest.raises(ValueError, match="expected members with the same hidden widths"):
        Population([StackMember(s, 0) for s in members], 3, 2)


def test_no_hidden_layer_is_a_stack_too():
    network = population(stack(["relu"], hidden=[]), seeds=[2])
    weight, bias = initial_linear(INPUTS, OUTPUTS, "default", 2, 0)
    x = torch.randn(5, INPUTS)
    assert torch.allclose(network(x)[0], (x @ weight.T + bias).relu(), atol=1e-6)
    assert layer_seed(2, 0) != layer_seed(0, 2)


SHORTCUTS = {
    "all": stack(["relu", "tanh", "sigmoid", "none"], hidden=[8, 8, 8], residual=True),
    "with norms": stack(["relu", "tanh", "relu", "none"], hidden=[8, 8, 8], residual=True, norm="batchnorm-all"),
    "none": stack(["relu", "tanh", "sigmoid", "none"], hidden=[8, 8, 8]),
    "by units": stack(["relu", ["tanh", "prelu"], "relu", "none"], hidden=[8, 8, 8], residual=True),
}


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_shortcuts_are_those_of_a_plain_network_whoever_stands_beside(optimizer):
    training = Training(optimizer=optimizer, epochs=10, **OPTIMIZERS[optimizer])
    data = class_data(dtype=torch.float64)
    network = population(*SHORTCUTS.values()).double()
    train(network, names(*SHORTCUTS), data, training, task_of(data, training))
    network.eval()
    for i, (name, described) in enumerate(SHORTCUTS.items()):
        twin = plain_twin(described, 1).double()
        plain = PlainShortcuts(twin, described) if described.residual else twin
        train_alone(plain, data, training, 1, STEPS)
        plain.eval()
        noisy = optimizer != "sgd" and "batchnorm" in described.norms  # see assert_same
        close(network(data.x_test)[i], plain(data.x_test), name, 1e-6 if noisy else 1e-10)
    assert not torch.allclose(network(data.x_test)[0], network(data.x_test)[2])


def test_a_shortcut_goes_around_hidden_layers_as_wide_as_the_one_before():
    described = stack(["relu"] * 5, hidden=[8, 8, 4, 4], residual=True)
    assert [described.has_shortcut(i) for i in range(5)] == [False, True, False, True, False]
    assert not any(stack(["relu"] * 5, hidden=[8, 8, 4, 4]).has_shortcut(i) for i in range(5))


def test_what_a_member_without_a_shortcut_gives_is_not_touched_by_an_infinite_input():
    """Whoever has one beside it: nothing is multiplied by zero, which would make NaN of it."""
    layer = population(SHORTCUTS["none"], SHORTCUTS["all"]).layers[1]
    x = torch.full((2, 3, 8), torch.inf)
    with torch.no_grad():
        layer.weight.fill_(1.0)
    without, with_one = layer(x)
    assert torch.equal(without, torch.ones(3, 8)), "tanh of infinity"
    assert torch.isinf(with_one).all()


class Scaled(nn.Module):
    """An activation with a weight of its own, of no axis."""

    def __init__(self):
        super().__init__()
        self.beta = nn.Parameter(torch.tensor(1.5))

    def forward(self, z):
        return z * torch.sigmoid(self.beta * z)


SHARED = Scaled()


@pytest.mark.parametrize("name", ["Scaled", "SHARED"])
def test_a_users_activation_with_a_weight_has_one_for_each_member_and_layer(name):
    described = stack([f"test_stack:{name}"] * 2 + ["none"])
    network = population(described, described, seeds=[1, 2], allow_code=True)
    weights = [p for p_name, p in network.named_parameters() if p_name.endswith("beta")]
    assert len({id(p) for p in weights}) == len(weights) == 4
    assert network.named_member_parameters()
    with torch.no_grad():
        weights[0].fill_(-3.0)
    x = torch.randn(5, INPUTS)
    other = population(described, described, seeds=[1, 2], allow_code=True)
    assert torch.equal(network(x)[1], other(x)[1])
    assert not torch.equal(network(x)[0], other(x)[0])
