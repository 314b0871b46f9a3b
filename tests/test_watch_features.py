"""gradscope.watch beside all that loops and networks do: what it records is what plain torch finds, and no bit changes."""

import contextlib
import gc
import warnings
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import pytest
import torch
from naive_twin import (
    BATCH,
    HIDDEN,
    INPUTS,
    OUTPUTS,
    assert_parameters,
    assert_sites,
    batch,
    lost,
    noted,
    plain_step,
    rms,
    same_bits,
    sgd,
    train,
    twice,
)
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as models and loops write it
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

import gradscope

FILE = "test_watch_features.py"


class Net(nn.Module):
    """Two hidden layers with functions as non-linearities."""

    def __init__(self, f=F.relu, g=torch.tanh):
        super().__init__()
        self.first, self.second = nn.Linear(INPUTS, HIDDEN), nn.Linear(HIDDEN, HIDDEN)
        self.head, self.f, self.g = nn.Linear(HIDDEN, OUTPUTS), f, g

    def forward(self, x):
        z = self.first(x)
        x = noted("f", z, self.f(z))
        z = self.second(x)
        return self.head(noted("g", z, self.g(z)))


class Layer(nn.Module):
    def __init__(self, inputs=HIDDEN, outputs=HIDDEN, act=None, name="act", dropout=0.0):
        super().__init__()
        self.linear, self.act, self.name, self.dropout = nn.Linear(inputs, outputs), act or nn.ReLU(), name, dropout

    def forward(self, x):
        z = self.linear(x)
        return F.dropout(noted(self.name, z, self.act(z)), self.dropout, self.training)


def layers(count=3, *, dropout=0.0, act=nn.Tanh):
    sizes = [INPUTS] + [HIDDEN] * count
    return [Layer(sizes[k], sizes[k + 1], act(), f"layer {k}", dropout) for k in range(count)]


def stacked(count=3, **more):
    return nn.Sequential(*layers(count, **more), nn.Linear(HIDDEN, OUTPUTS))


def untrained(build):
    """The network as `train` starts with it."""
    torch.manual_seed(3)
    return build()


def names_of(scope):
    return [site.name for site in scope.trace.sites]


# --- how a non-linearity is written ---

SPELLINGS = {  # what the model calls, the same out of place, the site's name
    "F.relu": (F.relu, F.relu, "relu"),
    "x.relu()": (lambda z: z.relu(), F.relu, "relu"),
    "torch.relu": (torch.relu, F.relu, "relu"),
    "torch.relu_": (torch.relu_, F.relu, "relu"),
    "x.relu_()": (lambda z: z.relu_(), F.relu, "relu"),
    "F.relu in place": (lambda z: F.relu(z, inplace=True), F.relu, "relu"),
    "F.relu by name": (lambda z: F.relu(input=z), F.relu, "relu"),
    "F.relu6": (F.relu6, F.relu6, "relu6"),
    "torch.sigmoid": (torch.sigmoid, torch.sigmoid, "sigmoid"),
    "F.sigmoid": (F.sigmoid, torch.sigmoid, "sigmoid"),
    "x.sigmoid_()": (lambda z: z.sigmoid_(), torch.sigmoid, "sigmoid"),
    "torch.special.expit": (torch.special.expit, torch.sigmoid, "sigmoid"),
    "x.tanh_()": (lambda z: z.tanh_(), torch.tanh, "tanh"),
    "F.gelu": (F.gelu, F.gelu, "gelu"),
    "F.gelu, tanh": (lambda z: F.gelu(z, approximate="tanh"), lambda z: F.gelu(z, approximate="tanh"), "gelu"),
    "F.silu": (F.silu, F.silu, "silu"),
    "F.silu in place": (lambda z: F.silu(z, inplace=True), F.silu, "silu"),
    "F.mish": (F.mish, F.mish, "mish"),
    "F.leaky_relu_": (lambda z: F.leaky_relu_(z, 0.2), lambda z: F.leaky_relu(z, 0.2), "leaky_relu"),
    "F.elu in place": (lambda z: F.elu(z, inplace=True), F.elu, "elu"),
    "F.selu": (F.selu, F.selu, "selu"),
    "F.celu": (F.celu, F.celu, "celu"),
    "F.softplus": (F.softplus, F.softplus, "softplus"),
    "F.softsign": (F.softsign, F.softsign, "softsign"),
    "F.logsigmoid": (F.logsigmoid, F.logsigmoid, "logsigmoid"),
    "F.hardtanh_": (F.hardtanh_, F.hardtanh, "hardtanh"),
    "F.hardswish": (F.hardswish, F.hardswish, "hardswish"),
    "F.hardsigmoid": (F.hardsigmoid, F.hardsigmoid, "hardsigmoid"),
    "F.threshold": (lambda z: F.threshold(z, 0.1, 0.0), lambda z: F.threshold(z, 0.1, 0.0), "threshold"),
    "x.clamp(min=0)": (lambda z: z.clamp(min=0), F.relu, "clamp"),
    "x.clamp_(min=0)": (lambda z: z.clamp_(min=0), F.relu, "clamp"),
    "torch.clamp(x, 0)": (lambda z: torch.clamp(z, 0), F.relu, "clamp"),
    "x.clamp_min(0)": (lambda z: z.clamp_min(0), F.relu, "clamp"),
    "x.clip(-1, 1)": (lambda z: z.clip(-1, 1), lambda z: z.clamp(-1, 1), "clamp"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_function_is_seen_however_it_is_called(spelling):
    called, naive, name = SPELLINGS[spelling]
    alone, watched = twice(lambda: Net(called), alone=lambda: Net(naive))
    assert_sites(alone, watched, [name, "tanh"])
    assert_parameters(alone, watched)
    for record, kept in enumerate(alone.kept):
        ((z, _, _),) = kept["f"]
        point = z.detach().double().requires_grad_()
        (slope,) = torch.autograd.grad(naive(point).sum(), point)
        closed = watched.trace.unit_statistics["closed_frac"][0][record]
        assert closed == pytest.approx((slope == 0).double().mean(0).numpy(), abs=1e-6)
    assert FILE in watched.trace.sites[0].name
    assert watched.scope.coverage.sites_unseen == []


@pytest.mark.parametrize("softmax", [torch.softmax, F.log_softmax, lambda z, dim: nn.Softmax(dim)(z), F.gumbel_softmax])
def test_softmax_is_no_gate(softmax):
    _, watched = twice(lambda: Net(lambda z: softmax(z, dim=-1)))
    assert [name.partition("@")[0] for name in names_of(watched.scope)] == ["tanh"]
    assert watched.scope.coverage.sites_unseen == []


def relu_by_where(z):
    return torch.where(z > 0, z, torch.zeros_like(z))


@pytest.mark.parametrize(
    ("function", "label"),
    [(lambda z: torch.maximum(z, torch.zeros_like(z)), "maximum"), (torch.sin, "sin"), (torch.erf, "erf")],
)
def test_a_non_linearity_that_is_no_gate_of_one_tensor_is_named_as_a_gap(function, label):
    _, watched = twice(lambda: Net(function))
    assert [name.partition("@")[0] for name in names_of(watched.scope)] == ["tanh"]
    (gap,) = watched.scope.coverage.sites_unseen
    assert gap.startswith(label)
    assert FILE in gap


def test_a_scripted_function_is_named_as_a_gap():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(scriptable)
        scripted(torch.randn(3, requires_grad=True))
    _, watched = twice(lambda: Net(scripted))
    assert [name.partition("@")[0] for name in names_of(watched.scope)] == ["tanh"]
    assert watched.scope.coverage.sites_unseen


def scriptable(z: Tensor) -> Tensor:
    return torch.relu(z) * 2


# --- modules ---


def test_a_shared_module_is_a_site_at_each_place():
    act = nn.ReLU()

    def build():
        act = nn.ReLU()
        return nn.Sequential(
            Layer(INPUTS, HIDDEN, act, "1"),
            Layer(HIDDEN, HIDDEN, act, "2"),
            Layer(HIDDEN, HIDDEN, act, "3"),
            nn.Linear(HIDDEN, 2),
        )

    alone, watched = twice(build)
    assert_sites(alone, watched)
    assert len(set(names_of(watched.scope))) == 3
    assert isinstance(act, nn.ReLU)


class Direct(nn.Module):
    """Calls its parts by `.forward`."""

    def __init__(self):
        super().__init__()
        self.body, self.act, self.head = nn.Linear(INPUTS, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, OUTPUTS)

    def forward(self, x):
        z = self.body.forward(x)
        return self.head.forward(noted("act", z, self.act.forward(z)))


def test_forward_may_be_called_directly():
    alone, watched = twice(Direct)
    assert_sites(alone, watched, ["act.silu"])


def test_the_network_itself_may_be_called_by_forward():
    def step(model, optimizer, i):
        loss = model.forward(batch(i)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    alone, watched = twice(Direct, step)
    assert_sites(alone, watched, ["act.silu"])
    assert watched.trace.samples.tolist() == [BATCH] * 3


class Containers(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(
            [nn.ModuleDict({"linear": nn.Linear(w, HIDDEN), "act": nn.ELU()}) for w in (INPUTS, HIDDEN)]
        )
        self.tail = nn.Sequential(nn.Sequential(nn.Linear(HIDDEN, HIDDEN), nn.Sigmoid()), nn.Linear(HIDDEN, OUTPUTS))

    def forward(self, x):
        for k, block in enumerate(self.blocks):
            z = block["linear"](x)
            x = noted(str(k), z, block["act"](z))
        z = self.tail[0][0](x)
        return self.tail[1](noted("tail", z, self.tail[0][1](z)))


def test_containers_give_paths():
    alone, watched = twice(Containers)
    assert_sites(alone, watched, ["blocks.0.act.elu", "blocks.1.act.elu", "tail.0.1.sigmoid"])


@pytest.mark.parametrize("count", [1, HIDDEN])
def test_prelu_has_a_slope_of_its_own_per_unit(count):
    def build():
        act = nn.PReLU(count)
        with torch.no_grad():
            act.weight.copy_(torch.linspace(-0.5, 0.02, count) if count > 1 else torch.tensor([0.02]))
            act.weight[-1] = 0.0 if count > 1 else 0.02
        return nn.Sequential(Layer(INPUTS, HIDDEN, act), nn.Linear(HIDDEN, OUTPUTS))

    alone, watched = twice(build)
    assert_sites(alone, watched, ["0.act.prelu"])
    assert_parameters(alone, watched)
    ((z, _, _),) = alone.kept[0]["act"]
    closed, saturated = (watched.trace.unit_statistics[name][0][0] for name in ("closed_frac", "saturated_frac"))
    shut = (z <= 0).float().mean(0).numpy()
    if count == 1:
        assert (closed == 0).all()
        assert saturated == pytest.approx(shut)
    else:
        assert closed[-1] == pytest.approx(shut[-1])
        assert (closed[:-1] == 0).all()
        assert saturated[0] == 0
        assert saturated[-1] == pytest.approx(shut[-1])


class Axes(nn.Module):
    """One part, and an activation behind it with its units at `axis`."""

    def __init__(self, part, axis, after=lambda z: z):
        super().__init__()
        self.part, self.axis, self.after, self.act, self.head = part, axis, after, nn.ReLU(), nn.LazyLinear(OUTPUTS)

    def forward(self, x):
        z = self.after(self.part(x))
        return self.head(noted("act", z, self.act(z), self.axis).flatten(1))


AXES = {
    "linear": (lambda: nn.Linear(6, 5), (6,), -1, None, 5),
    "linear over times": (lambda: nn.Linear(6, 5), (3, 6), -1, None, 5),
    "linear over pixels": (lambda: nn.Linear(6, 5), (3, 4, 6), -1, None, 5),
    "conv1d": (lambda: nn.Conv1d(3, 5, 3), (3, 7), 1, None, 5),
    "conv1d, transposed": (lambda: nn.Conv1d(3, 5, 3), (3, 7), 2, lambda z: z.transpose(1, 2), 5),
    "conv2d": (lambda: nn.Conv2d(2, 5, 3), (2, 6, 5), 1, None, 5),
    "conv2d, channels last": (lambda: nn.Conv2d(2, 5, 3).to(memory_format=torch.channels_last), (2, 6, 5), 1, None, 5),
    "conv2d, permuted": (lambda: nn.Conv2d(2, 5, 3), (2, 6, 5), -1, lambda z: z.permute(0, 2, 3, 1), 5),
    "conv3d": (lambda: nn.Conv3d(2, 5, 2), (2, 3, 3, 4), 1, None, 5),
    "batch norm 1d over times": (lambda: nn.Sequential(nn.Conv1d(3, 5, 2), nn.BatchNorm1d(5)), (3, 7), 1, None, 5),
    "layer norm": (lambda: nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5)), (3, 6), -1, None, 5),
    "group norm, scaled": (lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4)), (2, 6, 5), 1, lambda z: z * 2, 4),
    "lstm": (lambda: First(nn.LSTM(6, 5, batch_first=True)), (3, 6), -1, None, 5),
}


class First(nn.Module):
    def __init__(self, part):
        super().__init__()
        self.part = part

    def forward(self, x):
        return self.part(x)[0]


@pytest.mark.parametrize("name", AXES)
def test_units_are_channels_or_features(name):
    part, shape, axis, after, units = AXES[name]

    def build():
        model = Axes(part(), axis, after or (lambda z: z))
        model(batch(0, *shape))
        return model

    def step(model, optimizer, i):
        loss = model(batch(i, *shape)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    alone, watched = twice(build, step)
    assert_sites(alone, watched, ["act.relu"])
    assert watched.trace.sites[0].units == units
    assert watched.trace.samples.tolist() == [BATCH] * 3


# --- optimizers and their steps ---


def lbfgs_step(model, optimizer, i):
    def closure():
        optimizer.zero_grad()
        loss = model(batch(i)).square().mean()
        loss.backward()
        closure.gradients = closure.gradients or [rms(p.grad) for p in model.parameters()]
        return loss

    closure.gradients = None
    loss = optimizer.step(closure)
    step_gradients.append(closure.gradients)
    return loss.detach()


step_gradients = []


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda model: torch.optim.SGD(model.parameters(), lr=0.1),
        lambda model: torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        lambda model: torch.optim.Adam(model.parameters(), lr=0.01),
        lambda model: torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=4),
        lambda model: torch.optim.LBFGS(model.parameters(), max_iter=4, line_search_fn="strong_wolfe"),
    ],
    ids=["sgd", "momentum", "adam", "lbfgs", "lbfgs with line search"],
)
def test_gradients_of_a_closure_are_those_of_this_step(optimizer):
    step_gradients.clear()
    alone, watched = twice(Net, lbfgs_step, optimizer=optimizer)
    wanted = step_gradients[: len(step_gradients) // 2]
    assert watched.trace.parameter_statistics["grad_rms"] == pytest.approx(np.array(wanted), rel=1e-4)
    for kept in alone.kept:  # LBFGS evaluates at other weights, too: the first evaluation counts
        for name in kept:
            del kept[name][1:]
    assert_sites(alone, watched, ["relu", "tanh"])
    assert watched.scope.step == 3
    assert watched.trace.samples.tolist() == [BATCH] * 3


def test_a_closure_may_be_given_by_name():
    def step(model, optimizer, i):
        def closure():
            optimizer.zero_grad()
            loss = model(batch(i)).square().mean()
            loss.backward()
            return loss

        return optimizer.step(closure=closure).detach()

    alone, watched = twice(Net, step)
    assert_sites(alone, watched, ["relu", "tanh"])


class Gan(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(INPUTS, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, INPUTS))
        self.critic = nn.Sequential(nn.Linear(INPUTS, HIDDEN), nn.LeakyReLU(0.2), nn.Linear(HIDDEN, 1))


def gan_optimizers(model):
    return [torch.optim.Adam(model.critic.parameters(), lr=0.01), torch.optim.Adam(model.generator.parameters(), lr=0.01)]


def gan_step(model, optimizers, i):
    of_critic, of_generator = optimizers
    real, noise = batch(i), batch(i + 50)
    of_critic.zero_grad()
    loss = F.softplus(-model.critic(real)).mean() + F.softplus(model.critic(model.generator(noise).detach())).mean()
    loss.backward()
    of_critic.step()
    of_generator.zero_grad()
    cheated = F.softplus(-model.critic(model.generator(noise))).mean()
    cheated.backward()
    of_generator.step()
    return loss.detach() + cheated.detach()


def test_two_optimizers_that_take_turns_make_one_step():
    alone, watched = twice(Gan, gan_step, optimizer=gan_optimizers)
    assert watched.scope.step == 3
    assert watched.trace.steps.tolist() == [0, 1, 2]
    assert_parameters(alone, watched)  # each at its own optimizer's step, not with what the other backward pass added
    assert {name.partition("#")[0] for name in names_of(watched.scope) if "@" not in name} == {
        "generator.1.tanh",
        "critic.1.leakyrelu",
    }
    assert (watched.trace.parameter_statistics["update_to_weight"][0] > 0).all()


def test_the_generator_alone_may_be_watched():
    _, watched = twice(Gan, gan_step, optimizer=gan_optimizers, watched_part=lambda model: model.generator)
    modules = [name for name in names_of(watched.scope) if "@" not in name]
    assert modules == ["1.tanh"], "the critic is another network"


def two_optimizers(model):
    rest = [*model.second.parameters(), *model.head.parameters()]
    return [torch.optim.SGD(model.first.parameters(), lr=0.1), torch.optim.AdamW(rest)]


def test_two_optimizers_in_one_step():
    def step(model, optimizers, i):
        loss = model(batch(i)).square().mean()
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        return loss.detach()

    alone, watched = twice(Net, step, optimizer=two_optimizers)
    assert watched.scope.step == 3
    assert_sites(alone, watched, ["relu", "tanh"])
    assert_parameters(alone, watched)
    assert (watched.trace.parameter_statistics["update_to_weight"][0] > 0).all()


def accumulate(model, optimizer, i, parts=4):
    optimizer.zero_grad()
    for inputs in batch(i).split(BATCH // parts):
        (model(inputs).square().mean() / parts).backward()
    optimizer.step()


def test_accumulated_gradients_are_over_all_micro_batches():
    alone, watched = twice(Net, accumulate)
    assert_sites(alone, watched, ["relu", "tanh"])
    assert_parameters(alone, watched)
    assert watched.trace.samples.tolist() == [BATCH] * 3
    _, whole = twice(Net)
    for name in ("grad_rms", "act_rms", "gate_transmission"):
        np.testing.assert_allclose(
            watched.trace.site_statistics[name][0], whole.trace.site_statistics[name][0], rtol=1e-4, err_msg=name
        )
    assert watched.trace.output_grad_norm[0] == pytest.approx(whole.trace.output_grad_norm[0], rel=1e-4)


def test_uneven_micro_batches_weigh_by_their_samples():
    def step(model, optimizer, i):
        optimizer.zero_grad()
        for inputs in (batch(i)[:3], batch(i)[3:4], batch(i)[4:]):
            model(inputs).square().sum().backward()
        optimizer.step()

    alone, watched = twice(Net, step)
    assert_sites(alone, watched, ["relu", "tanh"])
    assert watched.trace.samples.tolist() == [BATCH] * 3


# --- clipping ---


def clipping(clip):
    def step(model, optimizer, i):
        loss = model(batch(i)).square().mean() * 50
        optimizer.zero_grad()
        loss.backward()
        before_clipping.append([rms(p.grad) for p in model.parameters()])
        clip(model.parameters())
        optimizer.step()
        return loss.detach()

    return step


before_clipping = []
CLIPS = {
    "by norm": lambda p: nn.utils.clip_grad_norm_(p, 0.1),
    "by norm, one by one": lambda p: nn.utils.clip_grad_norm_(p, 0.1, foreach=False),
    "by largest value": lambda p: nn.utils.clip_grad_norm_(p, 0.01, norm_type=float("inf")),
    "by value": lambda p: nn.utils.clip_grad_value_(p, 0.01),
    "by value, one by one": lambda p: nn.utils.clip_grad_value_(p, 0.01, foreach=False),
    "in two calls": lambda p: clip_in_two(list(p)),
    "by a norm of one's own": lambda p: clip_by_own_norm(list(p)),
}


def clip_in_two(parameters):
    norm = nn.utils.get_total_norm([p.grad for p in parameters])
    nn.utils.clip_grads_with_norm_(parameters, 0.1, norm)


def clip_by_own_norm(parameters):
    norm = torch.stack([p.grad.norm() for p in parameters]).norm()
    for p in parameters:
        p.grad.mul_((0.1 / norm).clamp(max=1.0))


@pytest.mark.parametrize("clip", CLIPS)
def test_gradients_are_known_before_and_after_clipping(clip):
    before_clipping.clear()
    alone, watched = twice(Net, clipping(CLIPS[clip]))
    assert_parameters(alone, watched)
    assert_sites(alone, watched, ["relu", "tanh"])
    if clip != "by a norm of one's own":
        wanted = np.array(before_clipping[:3])
        got = watched.trace.parameter_statistics["grad_rms_before_clipping"]
        np.testing.assert_allclose(got, wanted, rtol=1e-4)
        assert (watched.trace.parameter_statistics["grad_rms"] < got).any()
    else:
        assert "grad_rms_before_clipping" not in watched.trace.parameter_statistics


def test_without_clipping_nothing_says_so():
    _, watched = twice(Net)
    assert "grad_rms_before_clipping" not in watched.trace.parameter_statistics


# --- precision ---


class Scaled:
    """A step under autocast with a loss scale, whose losses overflow where `overflows` says so."""

    def __init__(self, overflows=(), clip=False, dtype=torch.bfloat16):
        self.scaler, self.overflows, self.clip, self.dtype = None, overflows, clip, dtype

    def __call__(self, model, optimizer, i):
        if i == 0:
            self.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=2)
        for again in range(2 if i in self.overflows else 1):
            optimizer.zero_grad()
            with torch.autocast("cpu", self.dtype):
                loss = model(batch(i)).square().mean()
            factor = float("inf") if i in self.overflows and not again else 1.0
            self.scaler.scale(loss * factor).backward()
            if self.clip:
                self.scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(model.parameters(), 0.05)
            self.scaler.step(optimizer)
            self.scaler.update()
        return loss.detach()


def unscaled(alone, initial=2.0**10, overflows=()):
    """Divide what the twin noted by the loss scale of each step, which the test follows by itself."""
    scale, good = initial, 0
    for i, kept in enumerate(alone.kept):
        if i in overflows:
            for passes in kept.values():
                del passes[0]
            scale, good = scale / 2, 0
        for passes in kept.values():
            for z, a, _ in passes:
                for tensor in (z, a):
                    if tensor.grad is not None:
                        tensor.grad = tensor.grad.double().div(scale).to(tensor.dtype) if scale != 1 else tensor.grad
        good += 1
        if good == 2:
            scale, good = scale * 2, 0


OPTIMIZERS = {
    "sgd": sgd,
    "adam": lambda model: torch.optim.Adam(model.parameters(), lr=0.01),
    "fused sgd": lambda model: torch.optim.SGD(model.parameters(), lr=0.1, fused=True),
    "fused adam": lambda model: torch.optim.Adam(model.parameters(), lr=0.01, fused=True),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("clip", [False, True])
def test_gradients_are_unscaled_under_mixed_precision(optimizer, clip):
    step = Scaled(clip=clip)
    alone, watched = twice(Net, step, optimizer=OPTIMIZERS[optimizer], steps=4)
    unscaled(alone)
    assert_sites(alone, watched, ["relu", "tanh"], tolerance=0.01)
    if "fused" in optimizer and not clip:  # the fused optimizer gets scaled gradients
        alone.gradients = [{k: v / scale for k, v in g.items()} for g, scale in zip(alone.gradients, [1, 1, 2, 2], strict=True)]
        alone.gradients = [{k: v / 2.0**10 for k, v in g.items()} for g in alone.gradients]
    assert_parameters(alone, watched, tolerance=1e-3)
    plain = train(Net, steps=1, watched=True)
    assert watched.trace.output_grad_norm[0] == pytest.approx(plain.trace.output_grad_norm[0], rel=0.05)


def test_a_skipped_step_is_left_out_of_the_gradients():
    """The optimizer is not called after an overflow: the step goes on until it is."""
    step = Scaled(overflows=(1, 2))
    alone, watched = twice(Net, step, steps=4)
    assert watched.scope.step == 4
    unscaled(alone, overflows=(1, 2))
    gates = watched.trace.site_statistics
    for name in ("grad_rms", "gate_transmission"):
        assert np.isfinite(gates[name]).all()
    for record, kept in enumerate(alone.kept):
        for k, ((z, _, _),) in enumerate(kept.values()):
            assert gates["grad_rms"][record, k] == pytest.approx(rms(z.grad), rel=0.01)
    assert_parameters(alone, watched, tolerance=1e-3)


def test_half_precision_that_really_overflows():
    """float16's range ends at 65504, which the first scales exceed."""

    class Step(Scaled):
        def __call__(self, model, optimizer, i):
            if i == 0:
                self.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
            while True:
                optimizer.zero_grad()
                with torch.autocast("cpu", torch.float16):
                    loss = model(batch(i)).square().mean()
                self.scaler.scale(loss).backward()
                scale = self.scaler.get_scale()
                self.scaler.step(optimizer)
                self.scaler.update()
                if self.scaler.get_scale() >= scale:
                    return loss.detach()

    _, watched = twice(Net, Step())
    assert watched.scope.step == 3
    plain = train(Net, watched=True)
    for name in ("grad_rms", "gate_transmission"):
        np.testing.assert_allclose(watched.trace.site_statistics[name], plain.trace.site_statistics[name], rtol=0.05)
    grad = watched.trace.parameter_statistics["grad_rms"]
    np.testing.assert_allclose(grad, plain.trace.parameter_statistics["grad_rms"], rtol=0.05)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-5), (torch.bfloat16, 0.01), (torch.float16, 0.002)])
@pytest.mark.parametrize("acts", [(F.relu, torch.tanh), (F.gelu, torch.sigmoid), (F.silu, F.leaky_relu)])
def test_models_of_other_precision(dtype, tolerance, acts):
    def step(model, optimizer, i):
        loss = model(batch(i).to(dtype)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    alone, watched = twice(lambda: Net(*acts).to(dtype), step)
    assert_sites(alone, watched, tolerance=tolerance)
    assert_parameters(alone, watched, tolerance=tolerance)


# --- activation checkpointing ---


class Checkpointed(nn.Module):
    """`kinds` says for each block how it is checkpointed: None, or use_reentrant."""

    def __init__(self, kinds, dropout=0.0, nested=False):
        super().__init__()
        self.blocks = nn.ModuleList(layers(len(kinds), dropout=dropout))
        self.head, self.kinds, self.nested = nn.Linear(HIDDEN, OUTPUTS), kinds, nested

    def _block(self, k, x):
        if k == len(self.blocks):
            return x
        if self.nested:
            return checkpoint(self._rest, k, x, use_reentrant=self.kinds[k]) if self.kinds[k] is not None else self._rest(k, x)
        done = checkpoint(self.blocks[k], x, use_reentrant=self.kinds[k]) if self.kinds[k] is not None else self.blocks[k](x)
        return self._block(k + 1, done)

    def _rest(self, k, x):
        return self._block(k + 1, self.blocks[k](x))

    def forward(self, x):
        return self.head(self._block(0, x))


class Whole(Checkpointed):
    """The same, the whole of its body checkpointed as one part."""

    def forward(self, x):
        return self.head(checkpoint(self._all, x, use_reentrant=self.kinds[0]))

    def _all(self, x):
        for block in self.blocks:
            x = block(x)
        return x


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")  # torch's, of parts within parts
@pytest.mark.parametrize(("nested", "dropout"), [(False, 0.3), (True, 0.3), (True, 0.0)])
@pytest.mark.parametrize("kinds", [(False, False, False), (None, True, True), (None, False, True), (None, True, False)])
def test_checkpointing_changes_nothing(kinds, nested, dropout):
    alone, watched = twice(lambda: Checkpointed(kinds, dropout, nested), alone=lambda: Checkpointed((None,) * 3, dropout))
    assert_sites(alone, watched, [f"blocks.{k}.act.tanh" for k in range(3)])
    assert_parameters(alone, watched)
    assert watched.scope.coverage.sites_unseen == []


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_part_checkpointed_as_a_whole(reentrant):
    def step(model, optimizer, i):
        loss = model(batch(i).requires_grad_()).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    alone, watched = twice(lambda: Whole((reentrant,) * 3, 0.2), step, alone=lambda: Checkpointed((None,) * 3, 0.2))
    assert_sites(alone, watched, [f"blocks.{k}.act.tanh" for k in range(3)])
    assert_parameters(alone, watched)


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_with_accumulation(reentrant):
    alone, watched = twice(
        lambda: Checkpointed((None, reentrant, reentrant)), accumulate, alone=lambda: Checkpointed((None,) * 3)
    )
    assert_sites(alone, watched, [f"blocks.{k}.act.tanh" for k in range(3)])
    assert_parameters(alone, watched)
    assert watched.trace.samples.tolist() == [BATCH] * 3


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointed_sequential(reentrant):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.body, self.head = (
                Layer(INPUTS),
                nn.Sequential(*(Layer(name=str(k)) for k in range(4))),
                nn.Linear(HIDDEN, 2),
            )

        def forward(self, x):
            return self.head(checkpoint_sequential(self.body, 2, self.first(x), use_reentrant=reentrant))

    class Plain(Model):
        def forward(self, x):
            return self.head(self.body(self.first(x)))

    alone, watched = twice(Model, alone=Plain)
    assert_sites(alone, watched, ["first.act.relu", *(f"body.{k}.act.relu" for k in range(4))])


@pytest.mark.parametrize("reentrant", [False, True])
def test_backward_may_be_called_as_a_function(reentrant):
    def step(model, optimizer, i):
        loss = model(batch(i)).square().mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        return loss.detach()

    alone, watched = twice(lambda: Checkpointed((None, reentrant, reentrant)), step, alone=lambda: Checkpointed((None,) * 3))
    assert_sites(alone, watched, [f"blocks.{k}.act.tanh" for k in range(3)])
    assert watched.scope.coverage.sites_unseen == []


# --- torch.func ---


def functional_step(model, optimizer, i):
    """torch.func.grad over a functional call: gradients are put into place by hand."""
    parameters = dict(model.named_parameters())

    def loss(parameters):
        return torch.func.functional_call(model, parameters, (batch(i),)).square().mean()

    found = torch.func.grad(loss)({k: v.detach() for k, v in parameters.items()})
    for name, parameter in parameters.items():
        parameter.grad = found[name]
    optimizer.step()


def per_sample_step(model, optimizer, i):
    parameters = dict(model.named_parameters())

    def loss(parameters, x):
        return torch.func.functional_call(model, parameters, (x.unsqueeze(0),)).square().mean()

    found = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))({k: v.detach() for k, v in parameters.items()}, batch(i))
    for name, parameter in parameters.items():
        parameter.grad = found[name].mean(0)
    optimizer.step()


@pytest.mark.parametrize("step", [functional_step, per_sample_step])
def test_gradients_by_torch_func(step):
    alone, watched = train(Net, step, watched=False), train(Net, step, watched=True)
    assert same_bits(alone, watched)
    assert not lost(watched.scope)
    plain = train(Net, watched=False)  # the same training by backward(), up to rounding
    wanted = {f"{name}" for name in ("relu", "tanh")}
    assert {name.partition("@")[0] for name in names_of(watched.scope)} == wanted
    assert_parameters(plain if step is functional_step else alone, watched, tolerance=1e-3)
    for k, name in enumerate(("f", "g")):
        ((z, _, _),) = plain.kept[0][name]
        got = watched.trace.unit_statistics["nonpositive_frac"][k][0]
        assert got == pytest.approx((z <= 0).double().mean(0).numpy(), abs=1e-6)
        scale = 1 if step is functional_step else BATCH  # a sample's own loss is not divided by the number of samples
        assert watched.trace.site_statistics["grad_rms"][0, k] == pytest.approx(rms(z.grad) * scale, rel=1e-3)


def test_a_functional_call_with_backward():
    def step(model, optimizer, i):
        loss = torch.func.functional_call(model, dict(model.named_parameters()), (batch(i),)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    alone, watched = twice(Net, step)
    assert_sites(alone, watched, ["relu", "tanh"])


class Ensemble(nn.Module):
    """Members stacked by torch.func, run by vmap."""

    def __init__(self):
        super().__init__()
        parameters, _ = torch.func.stack_module_state([Net() for _ in range(3)])
        self.member = Net()
        for parameter in self.member.parameters():
            parameter.requires_grad_(False)
        self.stacked = nn.ParameterDict({name.replace(".", "_"): nn.Parameter(p.detach()) for name, p in parameters.items()})

    def forward(self, x):
        def one(parameters, x):
            return torch.func.functional_call(self.member, parameters, (x,))

        names = {name.replace(".", "_"): name for name, _ in self.member.named_parameters()}
        return torch.func.vmap(one, in_dims=(0, None))({names[key]: p for key, p in self.stacked.items()}, x)


def test_an_ensemble_by_vmap():
    alone, watched = train(Ensemble, watched=False), train(Ensemble, watched=True)
    assert same_bits(alone, watched)
    assert not lost(watched.scope)
    assert [name.partition("@")[0] for name in names_of(watched.scope)] == ["member.relu", "member.tanh"]
    assert np.isfinite(watched.trace.site_statistics["gate_transmission"]).all()
    assert_parameters(alone, watched)


# --- parts of a network, and what is trained of them ---


def test_a_frozen_part_has_values_but_no_gradients():
    def build():
        model = Net()
        model.first.requires_grad_(False)
        return model

    alone, watched = twice(build)
    assert_sites(alone, watched, ["relu", "tanh"])
    assert watched.trace.parameters == ("second.weight", "second.bias", "head.weight", "head.bias")
    assert watched.trace.notes == ()


def test_shared_parameters_are_listed_once():
    def build():
        model = Net()
        model.tied = nn.Linear(HIDDEN, HIDDEN)
        model.tied.weight = model.second.weight
        model.forward = lambda x: model.head(torch.tanh(model.tied(torch.tanh(model.second(F.relu(model.first(x)))))))
        return model

    alone, watched = twice(build)
    assert len(watched.trace.parameters) == len(set(watched.trace.parameters)) == 7
    assert_parameters(alone, watched)


def test_parameters_in_no_optimizer_are_noted():
    _, watched = twice(Net, optimizer=lambda model: torch.optim.SGD(model.head.parameters(), lr=0.1))
    (note,) = watched.trace.notes
    assert note == "trainable parameters that no watched optimizer holds: first.weight, first.bias, second.weight and 1 more"
    moved = watched.trace.parameter_statistics["update_to_weight"]
    assert (moved[0, :4] == 0).all()
    assert (moved[0, 4:] > 0).all()


def test_a_model_in_eval_mode_is_recorded():
    def build():
        return nn.Sequential(*layers(2, dropout=0.4), nn.BatchNorm1d(HIDDEN), nn.Linear(HIDDEN, OUTPUTS)).eval()

    alone, watched = twice(build)
    assert_sites(alone, watched)
    assert not any(module.training for module in watched.model.modules())


def test_parts_called_one_by_one():
    class Parts(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.decoder = Layer(INPUTS, HIDDEN, name="e"), Layer(HIDDEN, INPUTS, nn.Sigmoid(), name="d")

    def step(model, optimizer, i):
        loss = F.mse_loss(model.decoder(model.encoder(batch(i))), batch(i))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    alone, watched = twice(Parts, step)
    assert_sites(alone, watched, ["encoder.act.relu", "decoder.act.sigmoid"])
    assert watched.trace.samples.tolist() == [BATCH] * 3
    ((_, a, _),) = alone.kept[0]["d"]
    assert watched.trace.output_grad_norm[0] == pytest.approx(a.grad.norm().item(), rel=1e-4)
    assert [site.is_output for site in watched.trace.sites] == [False, True]


@dataclass
class Answer:
    logits: Tensor
    hidden: Tensor


RETURNS = {
    "tensor": (lambda logits, hidden: logits, lambda out: out),
    "dict": (lambda logits, hidden: {"logits": logits, "hidden": hidden, "n": 3}, lambda out: out["logits"]),
    "tuple": (lambda logits, hidden: (logits, None, hidden), lambda out: out[0]),
    "nested": (lambda logits, hidden: {"out": [(logits,)]}, lambda out: out["out"][0][0]),
    "dataclass": (Answer, lambda out: out.logits),
}


@pytest.mark.parametrize("kind", RETURNS)
def test_models_may_return_anything(kind):
    wrap, unwrap = RETURNS[kind]

    class Model(Net):
        def forward(self, x):
            z = self.first(x)
            a = noted("f", z, self.f(z))
            z = self.second(a)
            logits = self.head(noted("g", z, self.g(z)))
            return wrap(noted("logits", logits, logits), a)

    def step(model, optimizer, i):
        loss = unwrap(model(batch(i))).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    alone, watched = twice(Model, step)
    logits = [kept.pop("logits")[0][0] for kept in alone.kept]
    assert_sites(alone, watched, ["relu", "tanh"])
    wanted = [z.grad.norm().item() for z in logits]
    assert watched.trace.output_grad_norm == pytest.approx(wanted, rel=1e-4)


# --- losses, graphs, hooks ---


class Hinge(nn.Module):
    def forward(self, output):
        return F.relu(1 - output).mean() + torch.sigmoid(output).mean() + F.softplus(output).mean()


class HasHinge(nn.Module):
    """A loss with an activation module and parameters of its own."""

    def __init__(self):
        super().__init__()
        self.act, self.weight = nn.ReLU(), nn.Parameter(torch.ones(()))

    def forward(self, output):
        return (self.act(1 - output) * self.weight).mean()


def step_by(criterion):
    def step(model, optimizer, i):
        value = criterion(model(batch(i))).mean()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()

    return step


@pytest.mark.parametrize("loss", [Hinge, HasHinge, lambda: nn.Sequential(nn.Sigmoid(), nn.Flatten(0))])
def test_activations_within_a_loss_module_are_no_sites(loss):
    alone, watched = twice(Net, step_by(loss()))
    assert_sites(alone, watched, ["relu", "tanh"])
    assert watched.scope.coverage.sites_unseen == [] or all("custom" not in gap for gap in watched.scope.coverage.sites_unseen)


@pytest.mark.parametrize("loss", [Hinge, HasHinge])
def test_activations_within_a_loss_module_are_no_gaps_either(loss):
    """They are not the network's."""
    _, watched = twice(Net, step_by(loss()))
    assert watched.scope.coverage.sites_unseen == []


@pytest.mark.parametrize(
    "loss",
    [
        lambda out: F.triplet_margin_with_distance_loss(out[:5], out[5:10], out[10:15]),
        lambda out: F.binary_cross_entropy_with_logits(out, torch.ones_like(out)),
        lambda out: F.gaussian_nll_loss(out[:, 0], out[:, 1], out[:, 2].exp()),
        lambda out: F.multi_margin_loss(out, torch.zeros(BATCH, dtype=torch.long)),
        lambda out: F.huber_loss(out, torch.zeros_like(out)) + F.cosine_similarity(out[:5], out[5:10]).mean(),
    ],
    ids=["triplet", "bce", "gaussian", "margin", "huber"],
)
def test_losses_of_torch_are_no_sites(loss):
    def step(model, optimizer, i):
        value = loss(model(batch(i)))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()

    alone, watched = twice(Net, step)
    assert_sites(alone, watched, ["relu", "tanh"])
    assert watched.scope.coverage.sites_unseen == []


def test_a_function_behind_the_networks_output_is_named_but_not_recorded():
    def step(model, optimizer, i):
        out = model(batch(i))
        value = noted("loop", out, torch.sigmoid(out)).mean()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()

    alone, watched = twice(Net, step)
    assert [name.partition("@")[0] for name in names_of(watched.scope)] == ["relu", "tanh"]
    (note,) = watched.trace.notes  # it may as well be a hinge loss, which is 0 where all is well
    assert fnmatchcase(note, f"sigmoid@{FILE}:* called behind the network's output*")


def test_a_loss_that_is_reached_is_no_collapse():
    """A hinge loss written in the loop is 0 once every sample is on the right side: that is what it is for."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(INPUTS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    x = torch.randn(64, INPUTS)
    y = x[:, 0].sign()
    x[:, 0] += 3 * y
    with gradscope.watch(model, optimizer, on_finding="ignore") as scope:
        for _ in range(80):
            loss = F.relu(1 - y * model(x)[:, 0]).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scope.log(loss=loss)
    assert loss.item() < 0.01
    assert [(f.rule, f.site) for f in scope.diagnosis.findings if f.severity == "error"] == []


def test_another_network_in_the_loop_is_not_seen():
    torch.manual_seed(9)
    teacher, other = Net(), Net(F.gelu)
    others = sgd(other)

    def step(model, optimizer, i):
        with torch.no_grad():
            wanted = teacher(batch(i))
        others.zero_grad()
        other(batch(i)).square().mean().backward()
        others.step()
        through = teacher(batch(i) + model(batch(i)).mean())  # gradients pass through a network that is not watched
        loss = F.mse_loss(model(batch(i)), wanted) + 0.1 * through.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    watched = train(Net, step, watched=True)
    assert len(names_of(watched.scope)) <= 4
    assert {name.partition("@")[0].partition("#")[0] for name in names_of(watched.scope)} == {"relu", "tanh"}
    assert watched.scope.step == 3
    assert watched.scope.coverage.sites_unseen == []


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return z**3

    @staticmethod
    def backward(ctx, gradient):
        (z,) = ctx.saved_tensors
        return 3 * z**2 * gradient


def test_a_custom_function_is_named_in_coverage():
    _, watched = twice(lambda: Net(Cube.apply))
    assert watched.scope.coverage.sites_unseen == ["custom autograd function Cube"]
    assert watched.scope.coverage.sites_seen == 1


def test_a_custom_function_is_named_however_the_gradient_is_asked_for():
    def by_grad(model, optimizer, i):
        found = torch.autograd.grad(model(batch(i)).square().mean(), list(model.parameters()))
        for parameter, gradient in zip(model.parameters(), found, strict=True):
            parameter.grad = gradient
        optimizer.step()

    def by_function(model, optimizer, i):
        optimizer.zero_grad()
        torch.autograd.backward([model(batch(i)).square().mean()])
        optimizer.step()

    for step in (by_function, by_grad):
        alone, watched = twice(lambda: Net(torch.tanh, Cube.apply), step)
        del alone.kept[0]["g"], alone.kept[1]["g"], alone.kept[2]["g"]
        if step is by_function:  # retain_grad() sees nothing in torch.autograd.grad
            assert_sites(alone, watched, ["tanh"])
        assert np.isfinite(watched.trace.site_statistics["gate_transmission"]).all()
        assert_parameters(alone, watched)
        assert watched.scope.coverage.sites_unseen == ["custom autograd function Cube"], step.__name__


def penalty_step(model, optimizer, i):
    x = batch(i).requires_grad_()
    output = model(x)
    (slope,) = torch.autograd.grad(output.sum(), x, create_graph=True)
    loss = output.square().mean() + 0.5 * (slope.norm(dim=1) - 1).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


def test_the_gradient_of_the_loss_counts_where_a_penalty_is_differentiated_before():
    alone, watched = twice(lambda: Net(torch.tanh, F.silu), penalty_step)
    assert_parameters(alone, watched)
    model = untrained(lambda: Net(torch.tanh, F.silu))
    x = batch(0).requires_grad_()
    first = model.first(x)
    inner = torch.tanh(first)
    second = model.second(inner)
    outer = F.silu(second)
    output = model.head(outer)
    (slope,) = torch.autograd.grad(output.sum(), x, create_graph=True)
    loss = output.square().mean() + 0.5 * (slope.norm(dim=1) - 1).square().mean()
    into = torch.autograd.grad(loss, [inner, outer], retain_graph=True)
    # what the penalty's own graph sends to z past the gate is not the gate's
    through = [
        torch.autograd.grad(a, z, g, retain_graph=True)[0]
        for a, z, g in zip((inner, outer), (first, second), into, strict=True)
    ]
    assert watched.trace.site_statistics["grad_rms"][0] == pytest.approx([rms(g) for g in through], rel=1e-4)


def test_a_graph_may_be_used_twice():
    """Two losses with a backward pass each: the parameters' gradients are the sum, a site's those of the last pass."""

    def step(model, optimizer, i):
        output = model(batch(i))
        optimizer.zero_grad()
        output.square().mean().backward(retain_graph=True)
        output.mean().backward()
        optimizer.step()

    alone, watched = twice(Net, step)
    assert_parameters(alone, watched)

    def last(model, optimizer, i):
        output = model(batch(i))
        optimizer.zero_grad()
        output.mean().backward()
        optimizer.step()

    wanted = train(Net, last, steps=1, watched=False)
    for k, ((z, _, _),) in enumerate(wanted.kept[0].values()):
        assert watched.trace.site_statistics["grad_rms"][0, k] == pytest.approx(rms(z.grad), rel=1e-4)


@pytest.mark.parametrize("how", ["sum", "list"])
def test_two_losses_in_one_backward_pass(how):
    def step(model, optimizer, i):
        output = model(batch(i))
        losses = [output.square().mean(), output.abs().mean()]
        optimizer.zero_grad()
        if how == "sum":
            sum(losses).backward()
        else:
            torch.autograd.backward(losses)
        optimizer.step()

    alone, watched = twice(Net, step)
    assert_sites(alone, watched, ["relu", "tanh"])
    assert_parameters(alone, watched)


class Hooked(Net):
    """Has hooks of every kind of its own, some of which change what flows."""

    def __init__(self):
        super().__init__()
        self.act = nn.ReLU()
        self.act.register_full_backward_hook(lambda module, sent, arrived: None)
        self.first.register_forward_hook(lambda module, args, output: output * 1.5)
        self.first.register_forward_pre_hook(lambda module, args: (args[0] + 0.1,))
        self.register_forward_hook(lambda module, args, output: output * 2)
        self.second.register_full_backward_hook(lambda module, sent, arrived: (sent[0] * 0.5,))
        self.head.weight.register_hook(lambda gradient: gradient * 3)

    def forward(self, x):
        z = self.first(x)
        z.register_hook(lambda gradient: gradient * 2)
        x = self.act(z)
        z = self.second(x)
        return self.head(noted("g", z, torch.tanh(z)))


def test_hooks_of_ones_own_go_on_working():
    before = hooks(Hooked())
    alone, watched = twice(Hooked)
    assert [name.partition("@")[0] for name in names_of(watched.scope)] == ["act.relu", "tanh"]
    assert_parameters(alone, watched)
    assert watched.scope.coverage.sites_unseen == []
    assert hooks(watched.model) == before


def hooks(model):
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return [len(getattr(module, kind)) for module in model.modules() for kind in kinds]


@pytest.mark.parametrize("context", ["anomaly", "saved on the cpu", "device", "inference data"])
def test_contexts_of_torch_around_a_step(context):
    around = {
        "anomaly": lambda: torch.autograd.detect_anomaly(check_nan=True),
        "saved on the cpu": torch.autograd.graph.save_on_cpu,
        "device": lambda: torch.device("cpu"),
        "inference data": contextlib.nullcontext,
    }[context]

    def step(model, optimizer, i):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with around():
                if context == "inference data":
                    with torch.inference_mode():
                        model(batch(i))
                loss = model(batch(i)).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        return loss.detach()

    alone, watched = twice(Net, step)
    if context != "inference data":
        assert_sites(alone, watched, ["relu", "tanh"])
    assert watched.trace.samples.tolist() == [BATCH] * 3


def test_a_mode_of_ones_own_across_steps():
    class Counting(torch.overrides.TorchFunctionMode):
        calls = 0

        def __torch_function__(self, func, types, args=(), kwargs=None):
            Counting.calls += func is F.relu
            return func(*args, **(kwargs or {}))

    def run(watched):
        Counting.calls = 0
        with Counting():
            train(Net, watched=watched)
        return Counting.calls

    assert run(True) == run(False) == 3
    assert torch.overrides._get_current_function_mode_stack() == []


def test_a_residual_connection_is_not_the_gates():
    """z feeds the sum as well as the gate: Gz is what passes through the gate."""

    class Residual(Net):
        def forward(self, x):
            z = self.first(x)
            return self.head(z + F.relu(z))

    _, watched = twice(Residual)
    model = untrained(Residual)
    z = model.first(batch(0))
    a = F.relu(z)
    loss = model.head(z + a).square().mean()
    (into,) = torch.autograd.grad(loss, a)
    out = into * (z > 0)
    assert watched.trace.site_statistics["grad_rms"][0, 0] == pytest.approx(rms(out), rel=1e-4)
    assert watched.trace.site_statistics["gate_transmission"][0, 0] == pytest.approx(
        (out.norm() / into.norm()).item(), rel=1e-4
    )


def test_an_exception_in_forward_that_the_loop_survives():
    """As after an out-of-memory error: the batch is left out and the loop goes on."""

    class Moody(Net):
        def forward(self, x):
            a = self.f(self.first(x))
            if x.shape[0] == 5:
                raise MemoryError
            z = self.second(a)
            return self.head(self.g(z))

    def step(model, optimizer, i):
        with contextlib.suppress(MemoryError):
            model(batch(i)[:5])
        return plain_step(model, optimizer, i)

    _, watched = twice(Moody, step)
    plain = train(Net, watched=True)
    for name in ("grad_rms", "gate_transmission"):
        np.testing.assert_allclose(watched.trace.site_statistics[name], plain.trace.site_statistics[name], rtol=1e-5)
    assert [name.partition("@")[0] for name in names_of(watched.scope)] == ["relu", "tanh"]


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_an_evaluation_within_a_step_leaves_no_trace(context):
    def step(model, optimizer, i):
        with context():
            model.eval()
            for _ in range(2):
                model(batch(i)[:5])
            model.train()
        return plain_step(model, optimizer, i)

    alone, watched = twice(Net, step)
    for kept in alone.kept:
        for passes in kept.values():
            del passes[:2]
    assert_sites(alone, watched, ["relu", "tanh"])
    assert watched.trace.samples.tolist() == [BATCH] * 3


# --- torch's fast path of transformers, which is off wherever a torch function mode is on ---


def sequence(i):
    return torch.randn(2, 5, 64, generator=torch.Generator().manual_seed(i))


def encoder():
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 4, 128, batch_first=True), 2).eval()


class Features(nn.Module):
    """A frozen encoder, or attention alone, and a head that is trained. `seen` is what the encoder returned, always."""

    def __init__(self, seen, *, attention=False, freeze=True, no_grad=False, inside=True):
        super().__init__()
        part = nn.MultiheadAttention(64, 4, batch_first=True).eval() if attention else encoder()
        part.requires_grad_(not freeze)
        self.__dict__["part"] = part  # not registered: somebody else's network
        if inside:
            self.part = self.__dict__.pop("part")
        self.head, self.seen, self.no_grad, self.attention = nn.Linear(64, OUTPUTS), seen, no_grad, attention

    def forward(self, x, mask=None):
        with torch.no_grad() if self.no_grad else contextlib.nullcontext():
            features = self.part(x, x, x)[0] if self.attention else self.part(x, src_key_padding_mask=mask)
        self.seen.append(features.detach().clone())
        return self.head(F.relu(features))


FAST = {
    "frozen": ({}, ""),
    "without gradients": ({"freeze": False, "no_grad": True}, ""),
    "evaluation of what is trained": ({"freeze": False}, "evaluates"),
    "padded": ({}, "masks"),
    "attention": ({"attention": True}, ""),
    "attention without gradients": ({"attention": True, "freeze": False, "no_grad": True}, ""),
    "another network's": ({"inside": False}, ""),
}


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("case", FAST)
def test_the_fast_path_of_a_transformer_keeps_its_bits(case):
    options, how = FAST[case]
    seen = []

    def step(model, optimizer, i):
        if how == "evaluates":
            with torch.no_grad():
                model(sequence(i + 50))
        mask = torch.zeros(2, 5, dtype=torch.bool)
        mask[1, 3:] = True
        loss = (model(sequence(i), mask) if how == "masks" else model(sequence(i))).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    alone = train(lambda: Features(seen, **options), step, watched=False)
    middle = len(seen)
    watched = train(lambda: Features(seen, **options), step, watched=True)
    assert [a.shape == b.shape and torch.equal(a, b) for a, b in zip(seen[:middle], seen[middle:], strict=True)] == [
        True
    ] * middle
    assert same_bits(alone, watched)
    assert not lost(watched.scope)


def test_nothing_of_a_watched_pass_is_kept_alive():
    def in_a_graph():
        gc.collect()
        return {id(t): t.shape for t in gc.get_objects() if issubclass(type(t), Tensor) and t.grad_fn is not None}

    model, before = Net(), in_a_graph()
    with gradscope.watch(model, sgd(model), every=1, on_finding="ignore"):
        model(batch(0)).square().mean().backward()
        assert in_a_graph().keys() <= before.keys()


# --- networks out of the ordinary: they train on, whatever can be seen of them ---


def test_the_default_device_may_be_set_within_a_step():
    """torch keeps it as a function mode at the bottom of its stack, too."""

    def step(model, optimizer, i):
        torch.set_default_device("cpu")
        loss = model(batch(i)).square().mean()
        torch.set_default_device(None)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    alone, watched = twice(Net, step)
    assert_sites(alone, watched, ["relu", "tanh"])
    assert torch.overrides._get_current_function_mode_stack() == []


def test_the_default_device_may_be_set_before():
    torch.set_default_device("cpu")
    try:
        model = Net()
        optimizer = sgd(model)
        with gradscope.watch(model, optimizer, every=1, on_finding="ignore") as scope:
            for i in range(3):
                plain_step(model, optimizer, i)
                torch.set_default_device(None if i == 1 else "cpu")
            torch.set_default_device(None)
    finally:
        torch.set_default_device(None)
    assert [name.partition("@")[0] for name in names_of(scope)] == ["relu", "tanh"]
    assert len(scope.trace.steps) == 3
    assert torch.overrides._get_current_function_mode_stack() == []


class Complex(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.turn = nn.Linear(INPUTS, HIDDEN), nn.Parameter(torch.randn(HIDDEN, OUTPUTS, dtype=torch.complex64))

    def forward(self, x):
        z = self.first(x)
        x = noted("f", z, F.relu(z)).to(torch.complex64)
        return torch.tanh(x @ self.turn).abs()


def test_complex_parameters():
    alone, watched = twice(Complex)
    assert [name.partition("@")[0] for name in names_of(watched.scope)][:1] == ["relu"]


class Embeds(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(10, HIDDEN, sparse=True), nn.Linear(HIDDEN, OUTPUTS)

    def forward(self, x):
        z = self.table((x * 3).long().abs() % 10).mean(1)
        return self.head(noted("f", z, F.relu(z)))


def test_sparse_gradients():
    alone, watched = twice(Embeds, optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=0.1))
    assert_sites(alone, watched, ["relu"])


def test_lazy_modules():
    def build():
        return nn.Sequential(nn.LazyLinear(HIDDEN), nn.ReLU(), nn.LazyLinear(OUTPUTS))

    model = build()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with gradscope.watch(model, optimizer, every=1, on_finding="ignore") as scope:
        for i in range(2):
            plain_step(model, optimizer, i)
    assert names_of(scope) == ["1.relu"]
    assert (scope.trace.parameter_statistics["grad_rms"] > 0).all()
    assert not lost(scope)


@pytest.mark.parametrize("wrap", [nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm])
def test_parametrised_weights(wrap):
    def build():
        return nn.Sequential(wrap(nn.Linear(INPUTS, HIDDEN)), nn.ReLU(), nn.Linear(HIDDEN, OUTPUTS))

    alone, watched = twice(build)
    assert names_of(watched.scope) == ["1.relu"]
    assert_parameters(alone, watched)
    assert watched.scope.coverage.sites_unseen == []


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_a_scripted_network_is_trained_on():
    def build():
        return torch.jit.script(nn.Sequential(nn.Linear(INPUTS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, OUTPUTS)))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        alone, watched = train(build, watched=False), train(build, watched=True)
    assert same_bits(alone, watched)
    assert names_of(watched.scope) == ["1.relu"] or watched.scope.coverage.sites_unseen
    assert watched.scope.diagnosis.verdict == "undecided"


def test_a_step_without_a_backward_pass():
    def step(model, optimizer, i):
        if i != 1:
            return plain_step(model, optimizer, i)
        optimizer.zero_grad()
        optimizer.step()
        return torch.zeros(())

    _, watched = twice(Net, step)
    assert watched.scope.step == 3
    assert watched.trace.steps.tolist()[0] == 0
    assert np.isfinite(watched.trace.site_statistics["gate_transmission"][[0, -1]]).all()


def test_an_empty_batch():
    def step(model, optimizer, i):
        loss = model(batch(i)[: 0 if i == 1 else BATCH]).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    _, watched = twice(Net, step)
    assert watched.trace.samples.tolist() == [BATCH, 0, BATCH]


def test_values_that_are_not_finite():
    def step(model, optimizer, i):
        loss = (model(batch(i)) * (float("nan") if i == 1 else 1)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    _, watched = train(Net, step, watched=False), train(Net, step, watched=True)
    assert not lost(watched.scope)
    assert any(finding.rule == "non-finite" for finding in watched.scope.diagnosis.findings)


def test_an_output_that_is_changed_in_place_afterwards():
    class Adds(Net):
        def forward(self, x):
            z = self.first(x)
            a = self.f(z)
            a += 1
            a *= 2
            z = self.second(a)
            return self.head(noted("g", z, self.g(z)))

    model = untrained(lambda: Adds(F.silu))
    z = model.first(batch(0))
    a = F.silu(z)
    loss = model.head(torch.tanh(model.second((a + 1) * 2))).square().mean()
    into, out = torch.autograd.grad(loss, [a, z])
    _, watched = twice(lambda: Adds(F.silu))
    gates = watched.trace.site_statistics
    assert gates["grad_rms"][0, 0] == pytest.approx(rms(out), rel=1e-4)
    assert gates["gate_transmission"][0, 0] == pytest.approx((out.norm() / into.norm()).item(), rel=1e-4)
    assert gates["act_rms"][0, 0] == pytest.approx(rms(a), rel=1e-4)


def test_half_of_a_tensor_in_place():
    class Half(Net):
        def forward(self, x):
            z = self.first(x)
            z[:, : HIDDEN // 2].relu_()
            return self.head(z * 2)

    _, watched = twice(Half)
    assert watched.trace.sites[0].units == HIDDEN // 2
    assert np.isnan(watched.trace.site_statistics["grad_rms"]).all()
    assert any("works in place on a part of a tensor" in note for note in watched.trace.notes)


class Attends(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True), nn.Linear(16, OUTPUTS)

    def forward(self, x):
        return self.head(self.layer(x))


def test_a_transformer_layer_names_its_gap():
    def step(model, optimizer, i):
        loss = model(batch(i, 5, 16)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    _, watched = twice(Attends, step)
    assert [name.partition("@")[0] for name in names_of(watched.scope)] == ["layer.relu"]
    assert [gap.partition(" ")[0] for gap in watched.scope.coverage.sites_unseen] == ["layer.self_attn"]


def test_weights_made_by_a_function_are_no_site():
    """A softplus that keeps a weight positive has the weight's rows for samples, not the batch."""

    class Positive(nn.Module):
        def forward(self, weight):
            return F.softplus(weight)

    def build():
        model = nn.Sequential(nn.Linear(INPUTS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, OUTPUTS))
        nn.utils.parametrize.register_parametrization(model[2], "weight", Positive())
        return model

    _, watched = twice(build)
    assert names_of(watched.scope) == ["1.relu"]
