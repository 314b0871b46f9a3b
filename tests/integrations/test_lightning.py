import importlib.util
import sys

import numpy as np
import pytest
import torch
from small_training import BATCHES, LR, MOMENTUM, Network, assert_true, loader, network, truth
from torch.nn import functional as F  # noqa: N812

from gradscope.errors import CannotJudge, FindingError

lightning = pytest.importorskip("lightning.pytorch", reason="Lightning is not installed (extra: lightning)")
from gradscope.integrations import lightning as integration  # noqa: E402

GradscopeCallback = integration.GradscopeCallback
pytestmark = pytest.mark.filterwarnings(
    "ignore:.isinstance.treespec, LeafSpec:FutureWarning",  # from Lightning's use of torch
    "ignore:.*does not have many workers",  # advice
    "ignore:You defined a `validation_step` but have no `val_dataloader`",
    "ignore:GPU available but not used",
)


def module_class(library):
    class Module(library.LightningModule):
        """Calls a part of itself, as most modules do, or itself."""

        def __init__(self, *, calls_itself=False, fails_at=None, shut=False):
            super().__init__()
            self.net = network()
            self.calls_itself, self.fails_at = calls_itself, fails_at
            if shut:
                torch.nn.init.constant_(self.net.first.bias, -100.0)

        def forward(self, x):
            return self.net(x)

        def training_step(self, batch, index):
            if index == self.fails_at:
                raise ValueError("no more")
            x, y = batch
            return F.cross_entropy((self if self.calls_itself else self.net)(x), y)

        def validation_step(self, batch, index):
            self.log("val/accuracy", (self.net(batch[0]).argmax(1) == batch[1]).float().mean())

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=LR, momentum=MOMENTUM)

    return Module


Module = module_class(lightning)


def trainer(*callbacks, library=lightning, **options):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    return library.Trainer(**{"accelerator": "cpu", "max_epochs": 1, **quiet, **options}, callbacks=list(callbacks))


@pytest.mark.parametrize("calls_itself", [False, True])
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {}),
        ({"max_epochs": 2}, {"epochs": 2}),
        ({"gradient_clip_val": 0.05}, {"clip": 0.05}),
        # Lightning divides by four in the last step, too, which has only two batches.
        (
            {"accumulate_grad_batches": 4, "gradient_clip_val": 0.05},
            {"accumulate": 4, "clip": 0.05, "divide_by": lambda count: 4},
        ),
        ({"precision": "bf16-mixed"}, {"bf16": True}),
    ],
    ids=["plain", "two epochs", "clipped", "accumulated and clipped", "bf16"],
)
def test_the_gradients_are_those_of_a_plain_loop(options, expected, calls_itself):
    watching = GradscopeCallback(every=1)
    trainer(watching, **options).fit(Module(calls_itself=calls_itself), loader())
    assert_true(watching.scope, truth(**expected), path="net.")
    assert ("grad_rms_before_clipping" in watching.scope.trace.parameter_statistics) == ("clip" in expected)


def test_watching_changes_nothing():
    def trained(*callbacks):
        module = Module()
        trainer(*callbacks).fit(module, loader())
        return torch.cat([p.detach().flatten() for p in module.parameters()])

    assert torch.equal(trained(), trained(GradscopeCallback(every=1)))


class Manual(Module):
    """Two optimizers, each stepped by hand in each batch; a loss in a dictionary."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, index):
        loss = F.cross_entropy(self.net(batch[0]), batch[1])
        self.manual_backward(loss)
        for optimizer in self.optimizers():
            optimizer.step()
            optimizer.zero_grad()
        return {"loss": loss}

    def configure_optimizers(self):
        parts = [self.net.first.parameters(), [*self.net.second.parameters(), *self.net.head.parameters()]]
        return [torch.optim.SGD(part, lr=LR, momentum=MOMENTUM) for part in parts]


def test_manual_optimization_with_several_optimizers():
    watching = GradscopeCallback(every=1)
    trainer(watching).fit(Manual(), loader())
    assert_true(watching.scope, truth(), path="net.")


class Adversaries(Module):
    """Two networks in turn, the second of which trains through the first, which it leaves alone."""

    def __init__(self):
        super().__init__()
        self.other = Network()
        self.automatic_optimization = False

    def training_step(self, batch, index):
        first, second = self.optimizers()
        for optimizer, sign in (first, 1.0), (second, -1.0):
            loss = sign * F.cross_entropy(self.net(batch[0]) + self.other(batch[0]), batch[1])
            self.manual_backward(loss)
            optimizer.step()
            first.zero_grad()
            second.zero_grad()

    def configure_optimizers(self):
        return [torch.optim.SGD(part.parameters(), lr=LR) for part in (self.net, self.other)]


def test_optimizers_in_turn_without_a_loss():
    watching = GradscopeCallback(every=1)
    trainer(watching).fit(Adversaries(), loader())
    trace = watching.scope.trace
    assert watching.scope.step == BATCHES
    assert [site.name.partition("@")[0] for site in trace.sites] == ["net.relu", "net.tanh", "other.relu", "other.tanh"]
    assert np.isfinite(trace.parameter_statistics["grad_rms"]).all()
    assert not len(trace.loss)


def test_what_was_recorded_before_an_error_is_kept(tmp_path):
    watching = GradscopeCallback(tmp_path / "run", every=1)
    with pytest.raises(ValueError, match="no more"):
        trainer(watching).fit(Module(fails_at=3), loader())
    assert watching.scope.step == 3
    assert list(watching.scope.trace.steps) == [0, 1, 2]
    assert (tmp_path / "run" / "report.json").is_file()
    assert watching.diagnosis.to_dict()["coverage"]["sites_seen"] == 2
    assert watching.diagnosis.to_dict()["interrupted"]


def test_files_are_written_only_where_a_folder_is_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trainer(GradscopeCallback()).fit(Module(), loader())
    assert not list(tmp_path.iterdir())
    trainer(GradscopeCallback("run")).fit(Module(), loader())
    assert {"report.json", "trace", "tensorboard"} <= {path.name for path in (tmp_path / "run").iterdir()}


def test_of_several_processes_the_first_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(lightning.Trainer, "is_global_zero", False)
    watching = GradscopeCallback(tmp_path / "run")
    trainer(watching).fit(Module(), loader())
    assert watching.scope.step == BATCHES
    assert not list(tmp_path.iterdir())


def test_validation_is_logged_but_not_recorded():
    logged = []
    watching = GradscopeCallback(every=1)

    class Spy(lightning.Callback):
        def on_fit_start(self, trainer, pl_module):
            log = watching.scope.log
            watching.scope.log = lambda **values: (logged.append((watching.scope.step, values)), log(**values))

    trainer(watching, Spy(), max_epochs=2).fit(Module(), loader(), loader())
    assert_true(watching.scope, truth(epochs=2), path="net.")
    metrics = [(step, values) for step, values in logged if "loss" not in values]
    assert [(step, list(values)) for step, values in metrics] == [(BATCHES, ["val/accuracy"]), (2 * BATCHES, ["val/accuracy"])]
    assert metrics[-1][1]["val/accuracy"] > 0.5


def test_each_fit_has_its_own_scope_and_other_stages_have_none():
    watching, module = GradscopeCallback(every=1), Module()
    trainer(watching).validate(module, loader(), verbose=False)
    assert watching.scope is None
    with pytest.raises(CannotJudge, match="GradscopeCallback: expected a training that has begun"):
        _ = watching.diagnosis
    trainer(watching).fit(module, loader())
    first = watching.scope
    trainer(watching, max_epochs=2).fit(module, loader())
    assert (first.step, watching.scope.step) == (BATCHES, 2 * BATCHES)
    trainer(watching).validate(module, loader(), verbose=False)
    assert watching.scope.step == 2 * BATCHES


def test_options_reach_the_scope():
    options = {"sites": ["main.*"], "names": {"net.relu": "main.relu"}, "schedule": lambda step: step == 2}
    watching = GradscopeCallback(**options)
    trainer(watching).fit(Module(), loader())
    assert list(watching.scope.trace.steps) == [2]
    assert [site.name for site in watching.scope.trace.sites] == ["main.relu"]


def test_findings_reach_the_user():
    found = []
    trainer(GradscopeCallback(every=1, on_finding=found.append), max_epochs=10).fit(Module(shut=True), loader())
    assert ("dead-layer", "net.relu") in [(finding.rule, finding.site) for finding in found]
    watching = GradscopeCallback(every=1, on_finding="raise")
    with pytest.raises(FindingError, match="at net.relu"):
        trainer(watching, max_epochs=10).fit(Module(shut=True), loader())
    assert watching.scope.step < 10 * BATCHES
    assert watching.diagnosis.verdict == "sick"


def test_the_library_under_its_older_name(monkeypatch):
    older = pytest.importorskip("pytorch_lightning", reason="pytorch_lightning is not installed")
    monkeypatch.setitem(sys.modules, "lightning", None)
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    spec = importlib.util.spec_from_file_location("integration_of_older_name", integration.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert issubclass(module.GradscopeCallback, older.Callback)
    watching = module.GradscopeCallback(every=1)
    trainer(watching, library=older).fit(module_class(older)(), loader())
    assert_true(watching.scope, truth(), path="net.")
