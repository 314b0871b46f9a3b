"""Looking only while the network's call runs finds the same numbers as looking from end to end."""

import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.overrides import _get_current_function_mode_stack
from torch.utils.checkpoint import checkpoint

import gradscope
from gradscope.within_call import ALIKE, CHECK_EVERY, WithinCall

STEPS = 25


def taken(within, record, *denied, was_called=True):
    within.begin(record)
    for _ in denied:
        within.deny()
    within.end(was_called=was_called)
    return within.only


def test_it_takes_some_records_that_agree():
    within = WithinCall()
    assert [taken(within, record) for record in range(ALIKE + 2)] == [False] * ALIKE + [True] * 2


def test_it_looks_everywhere_again_now_and_then():
    within = WithinCall()
    found = [taken(within, record) for record in range(3 * CHECK_EVERY)]
    assert [i for i, only in enumerate(found) if not only and i >= ALIKE] == [CHECK_EVERY, 2 * CHECK_EVERY]


@pytest.mark.parametrize("what", [{"was_called": False}, {"denied": True}], ids=["not called", "something outside"])
def test_what_it_does_not_suffice_for_begins_anew(what):
    within = WithinCall()
    denied = ("something",) if "denied" in what else ()
    for record in range(ALIKE):
        taken(within, record)
    assert taken(within, CHECK_EVERY, *denied, was_called=what.get("was_called", True)) is False
    assert [taken(within, CHECK_EVERY + i) for i in range(1, ALIKE + 2)] == [False] * ALIKE + [True]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.act, self.second, self.third = nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.third(functional.gelu(self.act(self.second(self.act(self.first(x))))))


class Checkpointed(Net):
    def forward(self, x):
        part = nn.Sequential(self.second, self.act)
        return self.third(checkpoint(part, self.act(self.first(x)), use_reentrant=True))


class Recursive(Net):
    def forward(self, x, depth=1):
        inner = self(x / 2, depth - 1) if depth else 0
        return inner + self.third(self.act(self.second(self.act(self.first(x)))))


class OwnLoss(Net):
    def forward(self, x, y):
        return functional.cross_entropy(super().forward(x), y)


def plain(model, optimizer, x, y):
    functional.cross_entropy(model(x), y).backward()
    optimizer.step()


def accumulating(model, optimizer, x, y):
    for part in (slice(0, 5), slice(5, 16)):
        functional.cross_entropy(model(x[part]), y[part]).backward()
    optimizer.step()


def clipping(model, optimizer, x, y):
    functional.cross_entropy(model(x), y).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.1)
    optimizer.step()


def part_by_part(model, optimizer, x, y):
    functional.cross_entropy(model.third(torch.tanh(model.first(x))), y).backward()
    optimizer.step()


def before_and_behind(model, optimizer, x, y):
    functional.cross_entropy(torch.tanh(model(x.clamp(-1, 1))), y).backward()
    optimizer.step()


def penalised(model, optimizer, x, y):
    x = x.clone().requires_grad_()
    loss = functional.cross_entropy(model(x), y)
    (slope,) = torch.autograd.grad(loss, x, create_graph=True)
    (loss + slope.square().sum()).backward()
    optimizer.step()


def with_a_closure(model, optimizer, x, y):
    def closure():
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        return loss

    optimizer.step(closure)


def thrown_away(model, optimizer, x, y):
    functional.cross_entropy(model(2 * x), y).backward()
    optimizer.zero_grad()
    plain(model, optimizer, x, y)


def thrown_away_before_backward(model, optimizer, x, y):
    for scale in (2, 1):
        loss = functional.cross_entropy(model(scale * x), y)
        optimizer.zero_grad()
        loss.backward()
    optimizer.step()


def loss_of_its_own(model, optimizer, x, y):
    for scale in (2, 1):
        optimizer.zero_grad()
        model(scale * x, y).backward()
    optimizer.step()


def watched(kind, take_step):
    torch.manual_seed(0)
    model = kind()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
    draw = torch.Generator().manual_seed(1)
    with gradscope.watch(model, optimizer, every=1, on_finding="ignore") as scope:
        for _ in range(STEPS):
            x, y = torch.randn(16, 6, generator=draw), torch.randint(3, (16,), generator=draw)
            take_step(model, optimizer, x, y)
            optimizer.zero_grad()
    return scope.trace, list(model.parameters())


LOOPS = [plain, accumulating, clipping, part_by_part, before_and_behind, penalised, with_a_closure, thrown_away]
CASES = [(Net, loop) for loop in (*LOOPS, thrown_away_before_backward)]
# a penalty cannot be had with checkpointing of the reentrant kind
CASES += [(Checkpointed, loop) for loop in LOOPS if loop not in (part_by_part, penalised)]
CASES += [(Recursive, plain), (Recursive, accumulating), (OwnLoss, loss_of_its_own)]


@pytest.mark.parametrize(("kind", "take_step"), CASES)
def test_the_numbers_are_those_of_looking_from_end_to_end(kind, take_step, monkeypatch):
    found, weights = watched(kind, take_step)
    monkeypatch.setattr("gradscope.within_call.ALIKE", 10**9)
    wanted, others = watched(kind, take_step)
    assert [site.name for site in found.sites] == [site.name for site in wanted.sites]
    assert (found.unseen, found.notes) == (wanted.unseen, wanted.notes)
    np.testing.assert_array_equal(found.samples, wanted.samples)
    for part in ("site_statistics", "parameter_statistics"):
        for name, values in getattr(wanted, part).items():
            np.testing.assert_allclose(getattr(found, part)[name], values, rtol=1e-5, err_msg=name)
    for name, per_site in wanted.unit_statistics.items():
        for mine, values in zip(found.unit_statistics[name], per_site, strict=True):
            np.testing.assert_allclose(mine, values, rtol=1e-5, err_msg=name)
    assert all(torch.equal(one, other) for one, other in zip(weights, others, strict=True))


def test_most_steps_of_a_plain_loop_are_looked_at_in_the_call_only(monkeypatch):
    """Else the comparison above would compare nothing."""
    chosen = []
    begin = WithinCall.begin

    def noted(self, record):
        begin(self, record)
        chosen.append(self.only)

    monkeypatch.setattr(WithinCall, "begin", noted)
    watched(Net, plain)
    assert sum(chosen[:STEPS]) == STEPS - ALIKE - len(range(CHECK_EVERY, STEPS, CHECK_EVERY))
    chosen.clear()
    watched(Net, clipping)
    assert not any(chosen)


def test_what_begins_outside_the_call_is_seen_at_the_next_look_everywhere():
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with gradscope.watch(model, optimizer, every=1, on_finding="ignore") as scope:
        for step in range(2 * CHECK_EVERY):
            (plain if step < ALIKE + 2 else part_by_part)(model, optimizer, torch.randn(16, 6), torch.zeros(16).long())
            optimizer.zero_grad()
    names = [site.name for site in scope.trace.sites]
    (tanh,) = (i for i, name in enumerate(names) if name.startswith("tanh@"))
    seen = np.isfinite(scope.trace.site_statistics["act_rms"][:, tanh])
    assert np.flatnonzero(seen)[0] <= CHECK_EVERY
    assert seen[CHECK_EVERY:].all()


def test_what_runs_in_another_thread_meanwhile_is_not_this_steps():
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with gradscope.watch(model, optimizer, every=1, on_finding="ignore") as scope:
        for _ in range(ALIKE + 3):
            loss = functional.cross_entropy(model(torch.randn(16, 6)), torch.zeros(16).long())
            other = threading.Thread(target=model, args=(torch.randn(8, 6),))
            other.start()
            other.join()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    assert set(scope.trace.samples.tolist()) == {16}
    assert _get_current_function_mode_stack() == []


def steps_of(trace):
    return trace.parameter_statistics["update_to_weight"]


def test_another_optimizers_step_is_not_taken_for_this_ones():
    torch.manual_seed(0)
    model, other = Net(), nn.Linear(2, 2)
    optimizers = [torch.optim.SGD(m.parameters(), lr=lr, momentum=0.5) for m, lr in ((model, 0.1), (other, 70.0))]
    with gradscope.watch(model, optimizers, every=1, on_finding="ignore") as scope:
        for _ in range(12):
            functional.cross_entropy(model(torch.randn(16, 6)), torch.zeros(16).long()).backward()
            optimizers[0].step()
            other(torch.ones(1, 2)).sum().backward()
            optimizers[1].step()
            for optimizer in optimizers:
                optimizer.zero_grad()
    assert np.nanmax(steps_of(scope.trace)) < 1


def test_a_layers_momentum_is_its_own_after_it_was_set_back():
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    wanted = []
    with gradscope.watch(model, optimizer, every=1, on_finding="ignore") as scope:
        for step in range(9):
            before = [parameter.detach().clone() for parameter in model.parameters()]
            functional.cross_entropy(model(torch.randn(16, 6)), torch.zeros(16).long()).backward()
            if step == 5:
                optimizer.state.pop(model.first.weight)
            optimizer.step()
            wanted.append([((p - b).norm() / b.norm()).item() for p, b in zip(model.parameters(), before, strict=True)])
            optimizer.zero_grad()
    found = steps_of(scope.trace)
    np.testing.assert_allclose(found, np.where(np.isfinite(found), wanted, np.nan), rtol=1e-3)
    assert np.isfinite(found[6:]).all()
