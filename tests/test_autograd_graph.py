"""What the graph of a loss tells: operations that no site accounts for, and sites whose output is the network's."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.checkpoint import checkpoint

from gradscope.autograd_graph import between, comes_straight_from, read_graph

BATCH, WIDTH = 5, 6


class Squash(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sign()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class Straight(Squash):
    pass


def linear(units=WIDTH, **more):
    return nn.Linear(WIDTH, units, **more)


def x(**more):
    return torch.randn(BATCH, WIDTH, **more)


class Sites:
    """Notes the node that makes a site's output."""

    def __init__(self):
        self.nodes = {}

    def __call__(self, key, output):
        self.nodes[output.grad_fn] = key
        return output


def direct(build):
    """The sites that `build` finds to feed its loss directly."""
    at = Sites()
    return read_graph([build(at)], [], at.nodes, set()).direct


def unseen(loss, *, parts=(), sites=None, accounted=()):
    return read_graph([loss], parts, sites or {}, set(accounted)).unseen


# --- what is not seen ---


def test_a_graph_of_linear_operations_hides_nothing():
    network = nn.Sequential(linear(), nn.LayerNorm(WIDTH), nn.Dropout(), linear())
    assert unseen(F.cross_entropy(network(x()), torch.zeros(BATCH, dtype=torch.long))) == []
    assert unseen((network(x()) @ torch.randn(WIDTH, 2)).softmax(-1).log().abs().pow(2).mean()) == []


def test_custom_functions_are_named_and_counted():
    layer = linear()
    assert unseen(Squash.apply(layer(x())).sum()) == ["custom autograd function Squash"]
    many = Squash.apply(layer(Squash.apply(layer(Straight.apply(layer(x())))))).sum()
    assert unseen(many) == ["custom autograd function Squash (2 times)", "custom autograd function Straight"]


@pytest.mark.parametrize(
    "function",
    [
        torch.relu, torch.sigmoid, torch.tanh, F.gelu, F.silu, F.elu, F.leaky_relu, F.hardtanh, F.relu6, F.hardswish,
        F.hardsigmoid, F.mish, F.softplus, F.logsigmoid, F.celu, F.selu, F.softshrink, F.hardshrink, F.rrelu,
        lambda z: F.rrelu(z, training=True), lambda z: F.threshold(z, 0.1, 20.0),
        lambda z: F.prelu(z, torch.tensor([0.1])),
    ],
)  # fmt: skip
def test_a_non_linearity_that_no_site_has_is_told(function):
    z = linear()(x())
    output = function(z)
    assert unseen(output.sum()) == [output.grad_fn.name().partition("Backward")[0]]
    assert unseen(output.sum(), sites={output.grad_fn: "site"}) == []
    assert unseen(output.sum(), accounted=[output.grad_fn]) == []


def test_attention_is_told_unless_a_call_accounts_for_it():
    layer = linear(3 * WIDTH)
    query, key, value = (part.unsqueeze(1) for part in layer(torch.randn(2, BATCH, WIDTH)).chunk(3, -1))
    output = F.scaled_dot_product_attention(query, key, value)
    (label,) = unseen(output.sum())
    assert label.startswith("ScaledDotProduct")
    assert unseen(output.sum(), accounted=between([output], [query, key, value])) == []


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN, nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_what_lies_within_a_recurrent_layer_is_accounted_for_by_its_call(kind):
    layer, given = kind(WIDTH, 4), torch.randn(BATCH, WIDTH, requires_grad=True)
    sequence = given.unsqueeze(0) if "Cell" not in kind.__name__ else given
    outputs = layer(sequence)
    outputs = [tensor for tensor in (outputs if isinstance(outputs, tuple) else (outputs,)) if isinstance(tensor, torch.Tensor)]
    assert unseen(outputs[0].sum())
    assert unseen(outputs[0].sum(), accounted=between(outputs, [sequence])) == []


def test_the_machinery_of_checkpoints_is_no_custom_function():
    network = nn.Sequential(linear(), linear())
    output = checkpoint(network, x(requires_grad=True), use_reentrant=True)
    assert unseen(output.sum()) == []


def test_parts_with_graphs_of_their_own_are_read_as_well():
    part = Squash.apply(linear()(x()))
    loss = linear()(part.detach().requires_grad_()).sum()
    assert unseen(loss) == []
    assert unseen(loss, parts=[part]) == ["custom autograd function Squash"]


def test_a_loss_without_a_graph_tells_nothing():
    reading = read_graph([torch.tensor(1.0)], [torch.ones(2)], {}, set())
    assert (reading.unseen, reading.direct) == ([], set())


def test_several_losses_are_one_reading():
    layer = linear()
    losses = [Squash.apply(layer(x())).sum(), Straight.apply(layer(x())).sum()]
    reading = read_graph(losses, [], {}, set())
    assert sorted(reading.unseen) == ["custom autograd function Squash", "custom autograd function Straight"]


def test_nodes_that_both_losses_share_are_counted_once():
    output = Squash.apply(linear()(x()))
    assert read_graph([output.sum(), output.mean()], [], {}, set()).unseen == ["custom autograd function Squash"]


# --- direct sites: the network's output ---


def relu_on_logits(at):
    hidden = at("hidden", linear()(x()).relu())
    return F.mse_loss(at("out", linear()(hidden).relu()), x())


def sigmoid_then_relu(at):
    hidden = at("hidden", torch.relu(linear()(x())))
    squashed = at("sigmoid", torch.sigmoid(linear()(hidden)))
    return at("relu", torch.relu(squashed)).sum()


def without_bias(at):
    hidden = at("hidden", torch.relu(linear(bias=False)(x())))
    return F.cross_entropy(linear(bias=False)(hidden), torch.zeros(BATCH, dtype=torch.long))


def tied(at):
    embedding = nn.Embedding(9, WIDTH)
    hidden = at("hidden", torch.tanh(linear()(embedding(torch.arange(BATCH)))))
    return at("out", torch.tanh(hidden @ embedding.weight.t())).sum()


def residual(at):
    stream = x()
    for i in range(3):
        stream = stream + at(f"block {i}", torch.relu(linear()(stream)))
    return linear(2)(stream).sum()


def residual_to_the_end(at):
    stream = linear()(x())
    for i in range(2):
        stream = stream + at(f"block {i}", torch.relu(linear()(stream)))
    return stream.square().mean()


def gated(at):
    hidden = linear()(x())
    return (at("gate", torch.sigmoid(linear()(hidden))) * at("value", torch.tanh(linear()(hidden)))).sum()


def scaled(at):
    return (at("out", torch.tanh(linear()(x()) / 30)) * 30).logsumexp(-1).mean()


def weighed(at):
    """A learnt temperature on the outputs is a parameter behind the site."""
    return (at("hidden", torch.tanh(linear()(x()))) * nn.Parameter(torch.ones(()))).sum()


def normed(at):
    return nn.LayerNorm(WIDTH)(at("hidden", torch.relu(linear()(x())))).sum()


def penalised(at):
    hidden = at("hidden", torch.relu(linear()(x())))
    return linear()(hidden).square().mean() + 0.01 * hidden.abs().mean()


def decayed(at):
    layer = linear()
    return at("out", torch.sigmoid(layer(x()))).sum() + 0.1 * layer.weight.square().sum()


def two_heads(at):
    hidden = at("hidden", torch.relu(linear()(x())))
    return at("policy", torch.tanh(linear()(hidden))).sum() + linear(1)(hidden).sum()


def half_and_half(at):
    z = linear()(x())
    return torch.cat([z[:, :3], at("half", torch.sigmoid(z[:, 3:]))], 1).sum()


def convolved(at):
    hidden = at("hidden", torch.relu(nn.Conv2d(3, 4, 3, padding=1)(torch.randn(2, 3, 5, 5))))
    return at("out", torch.sigmoid(nn.Conv2d(4, 1, 1, bias=False)(hidden))).mean()


def over_times(at):
    hidden = at("hidden", torch.relu(linear(bias=False)(torch.randn(2, BATCH, WIDTH))))
    return at("out", torch.tanh(linear(bias=False)(hidden))).mean()


def cast(at):
    with torch.autocast("cpu", torch.bfloat16):
        hidden = at("hidden", torch.relu(linear()(x())))
        return at("out", torch.sigmoid(linear()(hidden))).float().sum()


DIRECT = {
    relu_on_logits: {"out"},
    sigmoid_then_relu: {"relu"},
    without_bias: set(),
    tied: {"out"},
    residual: set(),
    residual_to_the_end: {"block 1"},
    gated: {"gate", "value"},
    scaled: {"out"},
    weighed: set(),
    normed: set(),
    penalised: set(),
    decayed: {"out"},
    two_heads: {"policy"},
    half_and_half: {"half"},
    convolved: {"out"},
    over_times: {"out"},
    cast: {"out"},
}


@pytest.mark.parametrize("build", DIRECT, ids=lambda build: build.__name__)
def test_sites_that_feed_the_loss_past_no_parameter_are_outputs(build):
    assert direct(build) == DIRECT[build]


def test_a_chain_of_thousands_is_walked_without_recursion():
    at, layer, stream = Sites(), linear(), x()
    for i in range(3000):
        stream = at(f"{i}", torch.tanh(stream + layer.bias))
    reading = read_graph([stream.sum()], [], at.nodes, set())
    assert (reading.unseen, reading.direct) == ([], {"2999"})


def test_reading_changes_no_gradient_and_frees_nothing():
    layer, given = linear(), x()
    loss = torch.relu(layer(given)).sum()
    read_graph([loss], [], {}, set())
    loss.backward()
    wanted = layer.weight.grad.clone()
    layer.zero_grad()
    torch.relu(layer(given)).sum().backward()
    assert torch.equal(layer.weight.grad, wanted)


# --- between ---


def test_between_lie_the_nodes_of_a_call():
    z = linear()(x())
    inner = z * 2
    output = inner.tanh() + 1
    nodes = between([output], [z])
    assert {node.name() for node in nodes} == {"AddBackward0", "TanhBackward0", "MulBackward0"}
    assert z.grad_fn not in nodes
    assert between([output], [inner]) == {output.grad_fn, output.grad_fn.next_functions[0][0]}


def test_between_a_tensor_and_itself_lies_nothing():
    z = linear()(x())
    assert between([z], [z]) == set()
    assert between([x()], [x()]) == set()


def test_between_reaches_back_to_leaves_where_inputs_have_no_graph():
    layer = linear()
    output = torch.tanh(layer(x()))
    assert len(between([output], [x()])) > 2


# --- one operation ---


@pytest.mark.parametrize("leaf", [False, True])
@pytest.mark.parametrize("function", [torch.relu, torch.sigmoid, F.gelu, F.silu, F.elu, F.softplus, torch.neg])
def test_one_operation_comes_straight_from_z(function, leaf):
    z = x(requires_grad=True) if leaf else linear()(x())
    assert comes_straight_from(function(z), z, z.grad_fn)


def test_in_place_the_node_before_counts():
    z = linear()(x())
    made_z = z.grad_fn
    output = z.relu_()
    assert output is z
    assert comes_straight_from(output, z, made_z)
    assert not comes_straight_from(output, z, z.grad_fn)


@pytest.mark.parametrize("function", [F.softsign, F.tanhshrink, lambda z: z * torch.sigmoid(z), lambda z: (z + 1).relu()])
def test_several_operations_do_not(function):
    z = linear()(x())
    assert not comes_straight_from(function(z), z, z.grad_fn)
    leaf = x(requires_grad=True)
    assert not comes_straight_from(function(leaf), leaf, None)


def test_another_tensors_output_does_not():
    z, other = linear()(x()), linear()(x())
    assert not comes_straight_from(torch.relu(other), z, z.grad_fn)
    assert not comes_straight_from(torch.relu(x()), x(), None)
    leaf, another = x(requires_grad=True), x(requires_grad=True)
    assert not comes_straight_from(torch.relu(another), leaf, None)


def test_a_cast_by_autocast_is_no_operation():
    z, weight = linear()(x()), nn.Parameter(torch.tensor([0.1]))
    with torch.autocast("cpu", torch.bfloat16):
        half = z.to(torch.bfloat16)
        output = F.prelu(z, weight)
    assert comes_straight_from(torch.relu(half), z, z.grad_fn)
    assert comes_straight_from(output, z, z.grad_fn)
