"""A step that is looked at does not wait for the device: no value of a tensor is asked for between two flushes.

On a GPU each such question stops the host until all that was queued is done. Here, on the CPU, the functions that ask raise
instead. Two may ask: the search for a gate's intervals, which computes on the CPU, whatever the device is, once per function;
and the look at a gradient that may not be finite, which is left out on a GPU (`test_late_look`).
"""

import contextlib
import sys

import numpy as np
import pytest
import torch
from naive_twin import BATCH, HIDDEN, INPUTS, OUTPUTS, batch, lost
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.checkpoint import checkpoint

import gradscope
from gradscope import gates, late_look, site_gates

ASKING = (
    "item", "cpu", "tolist", "numpy", "nonzero", "nonzero_static", "unique", "masked_select", "allclose", "equal", "argwhere",
    "__bool__", "__float__", "__int__", "__index__", "__array__", "__contains__", "__complex__",
)  # fmt: skip
FUNCTIONS = ("nonzero", "argwhere", "allclose", "equal", "unique", "masked_select")


class Asked(AssertionError):
    pass


def may_ask():
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_filename == gates.__file__ and frame.f_code.co_name == "search_gate":
            return True
        if frame.f_code.co_filename == late_look.__file__:
            return True
        frame = frame.f_back
    return False


@contextlib.contextmanager
def nobody_asks():
    """Raise where a tensor's value is asked for; the package's own look at its record is no look at a tensor."""
    asked = []
    with pytest.MonkeyPatch.context() as patch:
        for owner, names in ((torch.Tensor, ASKING), (torch, FUNCTIONS)):
            for name in names:
                patch.setattr(owner, name, refusing(getattr(owner, name), name, asked))
        yield
    assert asked == []  # the recorder survives what goes wrong in it, so an error alone would not be seen


def refusing(function, name, asked):
    def refuse(*args, **kwargs):
        if may_ask():
            return function(*args, **kwargs)
        asked.append(name)
        raise Asked(name)

    return refuse


def mlp():
    return nn.Sequential(nn.Linear(INPUTS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, OUTPUTS))


def cnn():
    return nn.Sequential(
        nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 5, 2, padding=1), nn.BatchNorm2d(5), nn.ReLU(inplace=True), nn.Conv2d(5, 4, 2),
        nn.Hardswish(), nn.Flatten(), nn.LazyLinear(OUTPUTS),
    )  # fmt: skip


def with_prelu():
    return nn.Sequential(
        nn.Linear(INPUTS, HIDDEN), nn.PReLU(), nn.Linear(HIDDEN, HIDDEN), nn.PReLU(HIDDEN), nn.Linear(HIDDEN, HIDDEN),
        nn.RReLU(), nn.Linear(HIDDEN, OUTPUTS),
    )  # fmt: skip


class Functions(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers, self.head = (
            nn.ModuleList(nn.Linear(w, HIDDEN) for w in (INPUTS, HIDDEN, HIDDEN)),
            nn.Linear(HIDDEN, OUTPUTS),
        )

    def forward(self, x):
        for layer, f in zip(self.layers, (F.silu, torch.sigmoid, lambda z: z.clamp(min=0)), strict=True):
            x = f(layer(x))
        return self.head(x)


class Swish(nn.Module):
    def forward(self, z):
        return z * torch.sigmoid(1.3 * z)


class Attends(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.TransformerEncoderLayer(INPUTS, 2, HIDDEN, batch_first=True), nn.Linear(INPUTS, OUTPUTS)

    def forward(self, x):
        return self.head(self.layer(x.unsqueeze(1)).squeeze(1))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.act, self.head = nn.LSTM(INPUTS, HIDDEN, batch_first=True), nn.Tanh(), nn.Linear(HIDDEN, OUTPUTS)

    def forward(self, x):
        return self.head(self.act(self.lstm(x.unsqueeze(1))[0].squeeze(1)))


class Checkpointed(nn.Module):
    def __init__(self, reentrant):
        super().__init__()
        self.first, self.body, self.head, self.reentrant = mlp()[:2], mlp()[2:4], nn.Linear(HIDDEN, OUTPUTS), reentrant

    def forward(self, x):
        return self.head(checkpoint(self.body, self.first(x), use_reentrant=self.reentrant))


NETWORKS = {
    "mlp": mlp,
    "cnn": cnn,
    "prelu": with_prelu,
    "functions": Functions,
    "an activation of one's own": lambda: nn.Sequential(nn.Linear(INPUTS, HIDDEN), Swish(), nn.Linear(HIDDEN, OUTPUTS)),
    "attention": Attends,
    "lstm": Recurrent,
    "checkpointed": lambda: Checkpointed(False),
    "checkpointed, reentrant": lambda: Checkpointed(True),
}
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "fused": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, fused=True),
}


def built(name):
    model = NETWORKS[name]()
    model(batch(0))  # lazy layers
    return model.train()


@pytest.fixture(params=["first", "later"])
def use(request):
    """Whether functions are met for the first time in the process, their gates still to be searched for."""
    if request.param == "first":
        gates.interval_gate.cache_clear()
        site_gates._searched.clear()
    return request.param


def looked_at(model, optimizer, step, steps=3, free=None):
    """Train with every step watched and nobody asking, from the beginning of each step to its end."""
    with gradscope.watch(model, optimizer, every=1, on_finding="ignore") as scope:
        for i in range(steps):
            with nobody_asks():
                step(model, optimizer, i)
    assert not lost(scope)
    assert scope.trace.steps.tolist() == list(range(steps))
    assert np.isfinite(scope.trace.site_statistics["gate_transmission"]).all()
    return scope


def plain(model, optimizer, i):
    loss = model(batch(i)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


@pytest.mark.parametrize("name", NETWORKS)
def test_no_network_waits(name, use):
    model = built(name)
    looked_at(model, OPTIMIZERS["momentum"](model.parameters()), plain)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_no_optimizer_waits(optimizer):
    model = built("mlp")
    looked_at(model, OPTIMIZERS[optimizer](model.parameters()), plain)


@pytest.mark.parametrize(
    ("optimizer", "options"),
    [(torch.optim.Adam, {}), (torch.optim.Adam, {"fused": True}), (torch.optim.AdamW, {}), (torch.optim.RMSprop, {})],
)
def test_adam_does_not_wait(optimizer, options):
    """Adam's own steps ask for its step count, which it keeps on the CPU: only the recorder must not ask around them."""
    model = built("mlp")
    steps = optimizer(model.parameters(), lr=0.01, **options)
    asked, inner = [], steps.step

    with gradscope.watch(model, steps, every=1, on_finding="ignore") as scope:
        recorder = scope._recorder
        for i in range(3):
            with nobody_asks():
                loss = model(batch(i)).square().mean()
                steps.zero_grad()
                loss.backward()
            for name in ("gradients_ready", "step_taken", "begin"):
                watch_method(recorder, name, asked)
            inner()
            for name in ("gradients_ready", "step_taken", "begin"):
                vars(recorder).pop(name)
    assert set(asked) == {"gradients_ready", "step_taken", "begin"}
    assert not lost(scope)


def watch_method(recorder, name, asked):
    method = getattr(recorder, name)

    def watched(*args, **kwargs):
        asked.append(name)
        with nobody_asks():
            return method(*args, **kwargs)

    setattr(recorder, name, watched)


def test_accumulation_does_not_wait(use):
    def step(model, optimizer, i):
        optimizer.zero_grad()
        for inputs in batch(i).split(BATCH // 4):
            (model(inputs).square().mean() / 4).backward()
        optimizer.step()

    model = built("mlp")
    looked_at(model, OPTIMIZERS["sgd"](model.parameters()), step)


@pytest.mark.parametrize("clip", [nn.utils.clip_grad_norm_, nn.utils.clip_grad_value_])
def test_clipping_does_not_wait(clip):
    def step(model, optimizer, i):
        loss = model(batch(i)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        clip(model.parameters(), 0.01)
        optimizer.step()

    model = built("mlp")
    scope = looked_at(model, OPTIMIZERS["sgd"](model.parameters()), step)
    assert "grad_rms_before_clipping" in scope.trace.parameter_statistics


@pytest.mark.parametrize("name", ["mlp", "cnn", "prelu"])
def test_autocast_does_not_wait(name, use):
    def step(model, optimizer, i):
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(batch(i)).float().square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    model = built(name)
    looked_at(model, OPTIMIZERS["momentum"](model.parameters()), step)


@pytest.mark.parametrize("unscales", [True, False])
def test_a_loss_scale_is_not_waited_for(unscales):
    """The scaler itself asks whether a gradient overflowed, before the optimizer steps; the recorder asks nothing more."""
    model = built("mlp")
    optimizer = OPTIMIZERS["fused"](model.parameters()) if not unscales else OPTIMIZERS["momentum"](model.parameters())
    scaler, asked = torch.amp.GradScaler("cpu", init_scale=1024.0), []
    with gradscope.watch(model, optimizer, every=1, on_finding="ignore") as scope:
        recorder = scope._recorder
        for i in range(3):
            with nobody_asks():
                with torch.autocast("cpu", torch.bfloat16):
                    loss = model(batch(i)).float().square().mean()
                optimizer.zero_grad()
                scaler.scale(loss).backward()
            for name in ("gradients_ready", "step_taken", "begin"):
                watch_method(recorder, name, asked)
            scaler.step(optimizer)
            for name in ("gradients_ready", "step_taken", "begin"):
                vars(recorder).pop(name)
            scaler.update()
    assert set(asked) == {"gradients_ready", "step_taken", "begin"}
    assert not lost(scope)


def test_telling_a_loss_does_not_wait(monkeypatch):
    monkeypatch.setattr("gradscope.scope.FIRST_FLUSHES", (10**9,))  # flushes copy
    model = built("mlp")
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    with gradscope.watch(model, optimizer, schedule=lambda step: step < 2, on_finding="ignore") as scope, nobody_asks():
        for i in range(300):  # beyond what is kept one by one
            loss = model(batch(i)).square().mean()
            loss.backward()
            optimizer.step()
            scope.log(loss=loss, accuracy=loss + 1)
    assert len(scope.trace.loss) == 300


def test_a_full_buffer_is_the_only_reason_to_copy(monkeypatch):
    """A flush copies once; between flushes there are as many records as the buffer holds."""
    copies, cpu = [], torch.Tensor.cpu

    def counted(self, *args, **kwargs):
        copies.append(self.shape)
        return cpu(self, *args, **kwargs)

    model = built("mlp")
    optimizer = OPTIMIZERS["momentum"](model.parameters())
    with gradscope.watch(model, optimizer, every=1, on_finding="ignore", rules=None) as scope:
        for i in range(11, 11 + 9):
            plain(model, optimizer, i)
        plain(model, optimizer, 0)  # the flush after step 10
        monkeypatch.setattr(torch.Tensor, "cpu", counted)
        for i in range(18):
            plain(model, optimizer, i)
        assert copies == []
        monkeypatch.undo()
    assert len(scope.trace.steps) == 28


def test_the_guard_itself_notices():
    with pytest.raises(AssertionError), nobody_asks(), contextlib.suppress(Asked):
        torch.ones(3).sum().item()
    with pytest.raises(Asked), nobody_asks():
        bool(torch.ones(()) > 0)
