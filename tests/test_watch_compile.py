"""gradscope.watch beside torch.compile: the training keeps its bits, nothing is compiled anew, sites are those of the network.

With the backend "aot_eager", whose bits are the same from run to run; inductor's are not on every machine.
"""

import contextlib

import numpy as np
import pytest
import torch
from naive_twin import BATCH, HIDDEN, INPUTS, OUTPUTS, batch, lost, same_bits, sgd, train
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.overrides import _get_current_function_mode_stack

import gradscope

BACKEND = "aot_eager"
STEPS = 3


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    yield
    left = torch._dynamo.eval_frame._stance.stance
    torch.compiler.set_stance("default")
    torch._dynamo.reset()
    assert left == "default"


class Net(nn.Module):
    def __init__(self, dropout=0.0, norm=False):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(INPUTS, HIDDEN), nn.BatchNorm1d(HIDDEN) if norm else nn.Identity(), nn.ReLU(), nn.Dropout(dropout)
        )
        self.second, self.head = nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, OUTPUTS)

    def forward(self, x):
        return self.head(torch.tanh(self.second(self.body(x))))


class Holder(nn.Module):
    """Keeps both what is called and what is watched, so that a test can train either."""

    def __init__(self, network, called):
        super().__init__()
        self.network = network
        self.__dict__["called"] = called

    def forward(self, x):
        return self.called(x)


def whole(network):
    return torch.compile(network, backend=BACKEND)


def in_place(network):
    network.compile(backend=BACKEND)
    return network


def part(network):
    network.body = torch.compile(network.body, backend=BACKEND)
    return network


def part_in_place(network):
    network.body.compile(backend=BACKEND)
    return network


def forward_replaced(network):
    network.forward = torch.compile(network.forward, backend=BACKEND)
    return network


WAYS = {"whole": whole, "in place": in_place, "part": part, "part in place": part_in_place}


def watching(network, optimizer, watched=True):
    options = {"every": 1, "on_finding": "ignore"}
    return gradscope.watch(network, optimizer, **options) if watched else contextlib.nullcontext()


def step(model, optimizer, i):
    loss = model(batch(i)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


def holder(way, **more):
    def build():
        network = Net(**more)
        return Holder(network, way(network))

    return build


def compiled_twice(way, *, step=step, part_of=lambda model: model.network, **more):
    """Train a compiled network alone and watched, and the network itself watched; check bits and marks."""
    build = holder(way, **more)
    alone = train(build, step, steps=STEPS, watched=False)
    torch._dynamo.reset()
    watched = train(build, step, steps=STEPS, watched=True, watched_part=part_of)
    assert same_bits(alone, watched)
    assert not lost(watched.scope)
    eager = train(
        lambda: Holder(network := Net(**more), network), step, steps=STEPS, watched=True, watched_part=lambda m: m.network
    )
    return watched, eager


def assert_like(watched, eager, *, names=True, **tolerance):
    """Sites, their statistics and the parameters' gradients are those of the network that was not compiled."""
    one, other = watched.trace, eager.trace
    if names:
        plain = [site.name.replace("_orig_mod.", "") for site in one.sites]
        assert plain == [site.name for site in other.sites]
        assert not any("_orig_mod" in site.name for site in one.sites)
    assert len(one.sites) == len(other.sites)
    assert one.steps.tolist() == other.steps.tolist()
    assert one.samples.tolist() == other.samples.tolist()
    near = {"rtol": 1e-3, "atol": 1e-6} | tolerance
    for name in ("grad_rms", "gate_transmission", "weight_transmission", "act_rms"):
        np.testing.assert_allclose(one.site_statistics[name], other.site_statistics[name], err_msg=name, **near)
    for k in range(len(one.sites)):
        shares = [trace.unit_statistics["nonpositive_frac"][k] for trace in (one, other)]
        np.testing.assert_allclose(*shares, atol=1.5 / BATCH)
    np.testing.assert_allclose(one.output_grad_norm, other.output_grad_norm, **near)
    assert len(one.parameters) == len(other.parameters)
    np.testing.assert_allclose(one.parameter_statistics["grad_rms"], other.parameter_statistics["grad_rms"], **near)


@pytest.mark.parametrize("way", WAYS)
def test_a_compiled_network_keeps_its_bits_and_is_seen(way):
    watched, eager = compiled_twice(WAYS[way])
    assert_like(watched, eager)
    assert any("without the compiler" in note for note in watched.scope.coverage.notes)
    assert watched.scope.coverage.sites_unseen == []


def test_the_wrapper_itself_may_be_watched():
    watched, eager = compiled_twice(whole, part_of=lambda model: model.called)
    assert_like(watched, eager)


@pytest.mark.parametrize("way", WAYS)
def test_running_statistics_are_counted_once(way):
    watched, eager = compiled_twice(WAYS[way], norm=True)
    assert_like(watched, eager)
    counted = [v for name, v in watched.model.state_dict().items() if name.endswith("num_batches_tracked")]
    assert [int(v) for v in counted] == [STEPS]


@pytest.mark.parametrize("way", ["whole", "part in place"])
def test_dropout_keeps_its_bits(way):
    watched, _ = compiled_twice(WAYS[way], dropout=0.4)
    assert len(watched.trace.sites) == 2
    assert np.isfinite(watched.trace.site_statistics["gate_transmission"]).all()


def test_a_replaced_forward():
    watched, eager = compiled_twice(forward_replaced)
    assert_like(watched, eager)


def accumulate(model, optimizer, i):
    optimizer.zero_grad()
    for inputs in batch(i).split(BATCH // 2):
        (model(inputs).square().mean() / 2).backward()
    optimizer.step()


@pytest.mark.parametrize("way", ["whole", "part"])
def test_accumulation_over_compiled_passes(way):
    watched, eager = compiled_twice(WAYS[way], step=accumulate)
    assert_like(watched, eager)
    assert watched.trace.samples.tolist() == [BATCH] * STEPS


@pytest.mark.parametrize("way", ["whole", "part"])
def test_autocast_over_a_compiled_network(way):
    def amp(model, optimizer, i):
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(batch(i)).float().square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    watched, eager = compiled_twice(WAYS[way], step=amp)
    assert_like(watched, eager, rtol=0.05, atol=1e-4)


@pytest.mark.parametrize("way", ["whole", "in place"])
def test_evaluation_between_steps(way):
    def evaluates(model, optimizer, i):
        with torch.no_grad():
            model.network.eval()
            found = model(batch(i + 50))
            model.network.train()
        return step(model, optimizer, i) + found.mean()

    watched, eager = compiled_twice(WAYS[way], step=evaluates, dropout=0.0, norm=True)
    assert_like(watched, eager)


def compiled_while_watched(how, steps=STEPS):
    torch.manual_seed(3)
    network = Net()
    optimizer = sgd(network)
    with contextlib.ExitStack() as stack:
        scope = stack.enter_context(gradscope.watch(network, optimizer, every=1, on_finding="ignore")) if how else None
        called = torch.compile(network, backend=BACKEND)
        losses = [step(called, optimizer, i) for i in range(steps)]
    return [*losses, *(p.detach().clone() for p in network.parameters())], scope


def test_compiled_after_the_watch_began():
    alone, _ = compiled_while_watched(None)
    torch._dynamo.reset()
    watched, scope = compiled_while_watched("watch")
    assert all(torch.equal(a, b) for a, b in zip(alone, watched, strict=True))
    assert [site.name.partition("@")[0] for site in scope.trace.sites] == ["body.2.relu", "tanh"]
    assert np.isfinite(scope.trace.site_statistics["gate_transmission"]).all()
    assert scope.trace.samples.tolist() == [BATCH] * STEPS
    assert not lost(scope)


def test_compiled_in_place_after_the_watch_began():
    ends = []
    for watched in (False, True):
        torch._dynamo.reset()
        torch.manual_seed(3)
        network = Net()
        optimizer = sgd(network)
        with watching(network, optimizer, watched) as scope:
            step(network, optimizer, 0)
            network.compile(backend=BACKEND)
            losses = [step(network, optimizer, i) for i in range(1, STEPS)]
        assert network._compiled_call_impl is not None
        ends.append([*losses, *network.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))
    assert scope.trace.samples.tolist() == [BATCH] * STEPS
    assert np.isfinite(scope.trace.site_statistics["gate_transmission"]).all()


def test_a_compiled_function_around_the_network_is_noted():
    """It runs without the compiler in the steps looked at: its bits are those of that, to rounding those of the compiled."""

    def run(watched):
        torch._dynamo.reset()
        torch.manual_seed(3)
        network = Net()
        optimizer = sgd(network)

        @torch.compile(backend=BACKEND)
        def loss_of(x):
            return network(x).square().mean()

        with watching(network, optimizer, watched) as scope:
            losses = []
            for i in range(STEPS):
                loss = loss_of(batch(i))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.detach())
        return torch.stack(losses), scope

    alone, _ = run(False)
    watched, scope = run(True)
    torch.testing.assert_close(watched, alone, rtol=1e-4, atol=1e-6)
    assert [site.name.partition("@")[0] for site in scope.trace.sites] == ["body.2.relu", "tanh"]
    assert any("compile the model itself" in note for note in scope.trace.notes)
    assert not lost(scope)


@pytest.mark.parametrize(
    ("way", "before"), [*((way, True) for way in WAYS), ("function", True), ("whole", False), ("in place", False)]
)
def test_nothing_is_compiled_anew(way, before):
    """Under the default schedule, which looks, does not look and looks again."""
    torch.manual_seed(3)
    network = Net()
    optimizer = sgd(network)
    called = torch.compile(lambda x: network(x), backend=BACKEND) if way == "function" else WAYS[way](network)
    if before:
        step(called, optimizer, 0)
    with torch._dynamo.config.patch(error_on_recompile=True):
        with gradscope.watch(network, optimizer, on_finding="ignore") as scope:
            for i in range(16):
                step(called, optimizer, i)
        for i in range(3):
            step(called, optimizer, i)
    assert scope.step == 16
    assert not lost(scope)
    assert len(scope.trace.sites) == 2


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_left_behind(way):
    network = Net()
    optimizer = sgd(network)
    called = WAYS[way](network)
    step(called, optimizer, 0)
    before = marks(network, called)
    with gradscope.watch(network, optimizer, every=1, on_finding="ignore"):
        step(called, optimizer, 0)
        step(called, optimizer, 1)
    assert marks(network, called) == before
    assert _get_current_function_mode_stack() == []
    assert torch._dynamo.eval_frame._stance.stance == "default"


def marks(*modules):
    every = [inner for module in modules for inner in module.modules()]
    return [
        (type(m), sorted(vars(m)), id(vars(m).get("_compiled_call_impl")), len(m._forward_hooks), len(m._forward_pre_hooks))
        for m in every
    ]


def test_an_error_in_a_compiled_pass_leaves_nothing_behind():
    network = Net()
    optimizer = sgd(network)
    called = whole(network)
    before = marks(network, called)

    def fail():
        with watching(network, optimizer) as scope:
            found.append(scope)
            step(called, optimizer, 0)
            called(torch.randn(3, INPUTS + 1))

    found = []
    with pytest.raises(RuntimeError):
        fail()
    (scope,) = found
    assert marks(network, called) == before
    assert torch._dynamo.eval_frame._stance.stance == "default"
    assert scope.trace.steps.tolist() == [0]


def test_a_twin_that_was_compiled_before_hides_nothing():
    """torch keeps compiled code by what it was made from: here a network of the same class, compiled unwatched."""
    other = Net()
    step(whole(other), sgd(other), 0)
    network = Net()
    optimizer = sgd(network)
    called = whole(network)
    with gradscope.watch(network, optimizer, every=1, on_finding="ignore") as scope:
        step(called, optimizer, 0)
        step(called, optimizer, 1)
    assert len(scope.trace.sites) == 2
    assert np.isfinite(scope.trace.site_statistics["gate_transmission"]).all()


def test_a_compiled_optimizer_step():
    ends = []
    for watched in (False, True):
        torch._dynamo.reset()
        torch.manual_seed(3)
        network = Net()
        optimizer = sgd(network)
        stepping = torch.compile(optimizer.step, backend=BACKEND)
        with watching(network, optimizer, watched) as scope:
            for i in range(STEPS):
                loss = network(batch(i)).square().mean()
                optimizer.zero_grad()
                loss.backward()
                stepping()
        ends.append(list(network.parameters()))
    assert scope.step == STEPS
    assert scope.trace.steps.tolist() == list(range(STEPS))
    torch.testing.assert_close(*ends, rtol=1e-4, atol=1e-6)
    assert not lost(scope)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # the compiler looks at what it is given
def test_the_loss_alone_is_compiled():
    ends = []
    for watched in (False, True):
        torch._dynamo.reset()
        torch.manual_seed(3)
        network = Net()
        optimizer = sgd(network)
        criterion = torch.compile(lambda out, y: F.cross_entropy(out, y) + F.softplus(out).mean(), backend=BACKEND)
        with watching(network, optimizer, watched) as scope:
            for i in range(STEPS):
                loss = criterion(network(batch(i)), torch.arange(BATCH) % OUTPUTS)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        ends.append(list(network.parameters()))
    torch.testing.assert_close(*ends, rtol=1e-4, atol=1e-6)
    assert [site.name.partition("@")[0] for site in scope.trace.sites][:2] == ["body.2.relu", "tanh"]
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True)) or scope.trace.notes


def test_inductor_runs():
    """What most people compile with."""
    torch.manual_seed(3)
    network = Net()
    optimizer = sgd(network)
    called = torch.compile(network)
    try:
        step(called, optimizer, 0)
    except Exception as error:  # no C++ compiler on the machine
        pytest.skip(f"inductor does not work here: {type(error).__name__}")
    with gradscope.watch(network, optimizer, every=1, on_finding="ignore") as scope:
        for i in range(3):
            step(called, optimizer, i)
    assert [site.name.partition("@")[0] for site in scope.trace.sites] == ["body.2.relu", "tanh"]
    assert np.isfinite(scope.trace.site_statistics["gate_transmission"]).all()
    assert not lost(scope)
