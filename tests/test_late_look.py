"""A value that is not finite in a step that the schedule leaves out: the step is looked at after all, and nothing changes."""

import copy
import pickle
import random

import numpy as np
import pytest
import torch
from torch import nn

import gradscope
from gradscope.late_look import LateLook, nothing_changed
from gradscope.stand_ins import CALL

BREAKS_AT = 17  # left out by the default schedule


class Breaking(nn.Module):
    """Takes the logarithm of negative numbers from some step on; draws random numbers of two kinds on the way."""

    def __init__(self, breaks_at=BREAKS_AT):
        super().__init__()
        self.first, self.norm, self.second, self.head = nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.relu, self.tanh, self.drop, self.breaks_at = nn.ReLU(), nn.Tanh(), nn.Dropout(0.2), breaks_at
        self.step = 0

    def forward(self, x):
        h = self.drop(self.relu(self.norm(self.first(x)))) * (1 + 0.01 * np.random.rand())
        z = self.second(h)
        return self.head(self.tanh(torch.log(z - 1e3) if self.step >= self.breaks_at else z))


def loop(model, optimizer, steps, scope=None):
    losses = []
    for step in range(steps):
        model.step = step
        x = torch.randn(32, 6, generator=torch.Generator().manual_seed(step))
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if scope is not None:
            scope.log(loss=loss)
    return losses


def seeded(build=Breaking, lr=0.01):
    torch.manual_seed(3)
    np.random.seed(3)
    model = build()
    return model, torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)


def watched(steps=40, build=Breaking, **options):
    model, optimizer = seeded(build)
    with gradscope.watch(model, optimizer, on_finding="ignore", **options) as scope:
        losses = loop(model, optimizer, steps, scope)
    return model, optimizer, losses, scope


def finding(scope):
    return next(f for f in scope.diagnosis.findings if f.rule == "non-finite")


def test_the_site_where_it_begins_is_named():
    *_, scope = watched()
    found = finding(scope)
    assert (found.site, found.first_step, found.role) == ("tanh", BREAKS_AT, "origin")
    assert BREAKS_AT in scope.trace.steps
    scope.trace.self_check()
    record = scope.trace.steps.tolist().index(BREAKS_AT)
    relu, tanh = scope.trace.site_statistics["act_rms"][record]
    assert np.isfinite(relu)
    assert not np.isfinite(tanh)
    assert scope.trace.samples[record] == 32


def test_without_it_the_place_is_not_known(monkeypatch):
    """So that the test above shows what it says."""
    monkeypatch.setattr(LateLook, "stand_by", lambda self: None)
    found = finding(watched()[-1])
    assert found.site is None
    assert f"step {BREAKS_AT} was not looked at" in found.text


def test_nothing_of_the_training_changes():
    model, optimizer = seeded()
    alone = loop(model, optimizer, 40), np.random.rand(), torch.rand(3)
    other, with_scope, losses, _ = watched()
    seen = losses, np.random.rand(), torch.rand(3)
    np.testing.assert_equal(seen[:2], alone[:2])
    assert torch.equal(seen[2], alone[2])
    for name, value in model.state_dict().items():  # of NaN, too; and the batch-norm's averages and count
        torch.testing.assert_close(other.state_dict()[name], value, rtol=0, atol=0, equal_nan=True)
    states = zip(optimizer.state_dict()["state"].values(), with_scope.state_dict()["state"].values(), strict=True)
    for ours, theirs in states:
        torch.testing.assert_close(theirs["momentum_buffer"], ours["momentum_buffer"], rtol=0, atol=0, equal_nan=True)


def test_the_run_beside_the_training_leaves_random_states_and_buffers_as_they_were():
    model = Breaking()
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    with nothing_changed(model):
        random.random()
        model(torch.randn(4, 6))
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before
    assert all(torch.equal(value, buffers[name]) for name, value in model.named_buffers())


def test_it_looks_once():
    *_, scope = watched(steps=90)
    late = [step for step in scope.trace.steps.tolist() if not gradscope.schedule.default(step)]
    assert late == [BREAKS_AT]


def test_nothing_is_left_on_the_model():
    model, optimizer, *_ = watched(steps=12)  # ends while it stands by
    assert CALL not in vars(model)
    assert not optimizer._optimizer_step_pre_hooks
    copied = copy.deepcopy(model)
    assert CALL not in vars(copied)


def test_no_batch_is_kept_past_the_step():
    model, optimizer = seeded(lambda: Breaking(10**9))
    with gradscope.watch(model, optimizer, on_finding="ignore") as scope:
        loop(model, optimizer, BREAKS_AT, scope)
        late = scope._late
        assert late is not None
        assert late._handle is not None, "it stands by"
        assert late._inputs is None
        with torch.no_grad():
            model.eval()(torch.randn(4, 6))
        assert late._inputs is None, "a pass without gradients is none of the training's"


def test_a_network_that_cannot_run_again_does_not_end_the_training():
    class Once(Breaking):
        def forward(self, x):
            if getattr(self, "seen", -1) == self.step:
                raise RuntimeError("only once a step")
            self.seen = self.step
            return super().forward(x)

    *_, losses, scope = watched(build=Once)
    assert len(losses) == 40
    assert finding(scope).first_step == BREAKS_AT


@pytest.mark.parametrize("kind", ["gpu", "lazy", "frozen"])
def test_where_no_gradient_can_be_asked_it_does_not_stand_by(kind):
    model = {"gpu": nn.Linear(2, 1, device="meta"), "lazy": nn.LazyLinear(1), "frozen": nn.Linear(2, 1)}[kind]
    for parameter in model.parameters() if kind == "frozen" else ():
        parameter.requires_grad = False
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    late = LateLook(model, optimizer, lambda inputs: None)
    late.stand_by()
    assert CALL not in vars(model)
    assert not optimizer._optimizer_step_pre_hooks


def test_a_compiled_network_is_left_alone():
    model, optimizer = seeded(lambda: Breaking(10**9))
    compiled = torch.compile(model, backend="eager")
    with gradscope.watch(compiled, optimizer, on_finding="ignore") as scope:
        loop(model, optimizer, BREAKS_AT, scope)
        assert scope._late is not None
        assert scope._late._handle is None


class Stateful(Breaking):
    """Keeps state in every place in which people keep it."""

    def __init__(self):
        super().__init__()
        self.register_buffer("average", torch.zeros(8))
        self.shadow = nn.Parameter(torch.zeros(8), requires_grad=False)
        self.generator, self.drawing = torch.Generator().manual_seed(1), np.random.default_rng(1)
        self.calls, self.seen = 0, []

    def forward(self, x):
        self.calls += 1
        self.seen.append(self.calls)
        with torch.no_grad():
            self.average = 0.9 * self.average + self.first(x).mean(0)
            self.shadow.data.mul_(0.9).add_(self.first.bias)
        noise = torch.rand(1, generator=self.generator) + float(self.drawing.random()) + 0.01 * self.calls
        x.mul_(0.9)  # the batch, in place
        return super().forward(x) * (1 + 0.01 * noise) + (self.average + self.shadow).sum() * 0.01


class Careful(torch.optim.Optimizer):
    """Leaves out what is not finite, so that the training survives."""

    def __init__(self, parameters):
        super().__init__(parameters, {"lr": 0.01})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None and p.grad.isfinite().all():
                    p.sub_(group["lr"] * p.grad)


def once_broken(model, optimizer, scope=None):
    """Breaks in one step only, and goes on."""
    for step in range(40):
        model.step = step if step == BREAKS_AT else 0
        x = torch.randn(32, 6, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step(closure=None)
        if scope is not None:
            scope.log(loss=loss)


def test_of_a_training_that_survives_nothing_changes_wherever_it_keeps_its_state():
    ends = []
    for is_watched in (False, True):
        torch.manual_seed(3)
        np.random.seed(3)
        model = Stateful()
        optimizer = Careful(model.parameters())
        if is_watched:
            with gradscope.watch(model, optimizer, on_finding="ignore") as scope:
                once_broken(model, optimizer, scope)
            assert BREAKS_AT in scope.trace.steps
            assert (finding(scope).site, finding(scope).first_step) == ("tanh", BREAKS_AT)
        else:
            once_broken(model, optimizer)
        ends.append((model.state_dict(), model.calls, model.seen, model.drawing.random(), torch.rand(2)))
    for name, value in ends[0][0].items():
        assert torch.equal(value, ends[1][0][name]), name
    assert ends[0][1:4] == ends[1][1:4]
    assert torch.equal(ends[0][4], ends[1][4])


def test_hooks_of_others_on_the_optimizer_stay_and_run():
    calls = []
    model, optimizer = seeded()
    with (
        gradscope.watch(model, optimizer, on_finding="ignore") as outer,
        gradscope.watch(model, optimizer, on_finding="ignore") as inner,
    ):
        loop(model, optimizer, 15)
        handle = optimizer.register_step_pre_hook(lambda *given: calls.append(1))
        for step in range(15, 40):
            model.step = step
            model(torch.randn(32, 6)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    handle.remove()
    assert len(calls) == 25
    assert not optimizer._optimizer_step_pre_hooks
    assert CALL not in vars(model)
    assert BREAKS_AT in outer.trace.steps
    assert BREAKS_AT in inner.trace.steps


def test_what_another_pass_broke_is_not_said_of_this_one():
    """Of gradients from four batches the first one's break it: only the last is known."""
    model, optimizer = seeded()
    with gradscope.watch(model, optimizer, on_finding="ignore") as scope:
        for step in range(40):
            for part in range(4):
                model.step = step if part == 0 else 0
                loss = model(torch.randn(8, 6)).square().mean()
                loss.backward()
                scope.log(loss=loss.detach() if part == 0 else loss)
            optimizer.step()
            optimizer.zero_grad()
    assert BREAKS_AT not in scope.trace.steps
    assert "every site is finite" not in finding(scope).text


class Masked(Breaking):
    def __init__(self):
        super().__init__()
        self.register_buffer("mask", torch.ones(3))

    def forward(self, x):
        return super().forward(x) * self.mask  # which the backward pass needs as it was


def test_a_graph_that_outlives_the_step_can_still_be_used():
    model, _ = seeded(Masked)
    optimizer = Careful(model.parameters())
    with gradscope.watch(model, optimizer, on_finding="ignore") as scope:
        for step in range(20):
            model.step = step
            output = model(torch.randn(32, 6))
            output.square().mean().backward(retain_graph=step == BREAKS_AT)
            optimizer.step()
            if step == BREAKS_AT:
                output.sum().backward()
            optimizer.zero_grad()
    assert BREAKS_AT in scope.trace.steps


def test_a_complex_parameter_is_not_asked():
    class Complex(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.phase = nn.Linear(6, 4), nn.Parameter(torch.ones(4, dtype=torch.complex64))

        def forward(self, x):
            return (torch.tanh(self.layer(x)) * self.phase).abs()

    model, optimizer = seeded(Complex)
    with gradscope.watch(model, optimizer, on_finding="ignore") as scope:
        loop(model, optimizer, 20, scope)
    assert scope.step == 20


class Locked(Breaking):
    def __getstate__(self):
        return dict(self.__dict__)


@pytest.mark.parametrize("how", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_made_while_it_stands_by_is_a_network_of_its_own(how):
    model, optimizer = seeded(Locked)
    with gradscope.watch(model, optimizer, on_finding="ignore") as scope:
        loop(model, optimizer, BREAKS_AT, scope)
        assert CALL in vars(model)
        other = how(model).eval()
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.zero_()
            assert not other(torch.randn(4, 6)).any()
