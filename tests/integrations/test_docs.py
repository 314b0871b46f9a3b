"""Each python block of docs/integrations.md runs as it stands, without warnings of its own."""

import pytest
import snippets
import torch
from small_training import BATCH, LR, SAMPLES, network, samples
from torch import distributed, nn
from torch.nn import functional as F  # noqa: N812

FILES = {"report.json", "trace", "tensorboard"}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def checked(names, steps, tmp_path, capsys):
    """Check what a block leaves: a scope that saw all steps, files, and the diagnosis on the terminal."""
    scope = names["scope"] if "scope" in names else names["watching"].scope
    assert scope.step == steps
    assert scope.coverage.sites_seen == 2
    assert len(scope.trace.loss) == steps
    assert {path.name for path in (tmp_path / "runs" / "mine").iterdir()} >= FILES
    assert str(scope.diagnosis) in capsys.readouterr().out


def test_every_block_is_run_here():
    assert list(snippets.blocks()) == [
        "A loop of your own",
        "Lightning",
        "Transformers",
        "Accelerate",
        "Ignite",
        "skorch",
        "Several processes",
    ]


def test_a_loop_of_your_own(tmp_path, capsys):
    checked(snippets.run("A loop of your own"), SAMPLES // BATCH, tmp_path, capsys)


@pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning")  # from Lightning's use of torch
@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:The number of training batches")  # advice
def test_lightning(tmp_path, capsys):
    lightning = pytest.importorskip("lightning.pytorch", reason="Lightning is not installed (extra: lightning)")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = network()

        def training_step(self, batch, index):
            return F.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=LR)

    names = snippets.run("Lightning", lightning_module=Module())
    checked(names, 2 * SAMPLES // BATCH, tmp_path, capsys)


@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true")  # advice
def test_transformers(tmp_path, capsys):
    pytest.importorskip("transformers", reason="Transformers is not installed (extra: transformers)")

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network()

        def forward(self, x=None, labels=None):
            return {"loss": F.cross_entropy(self.net(x), labels)}

    rows = [{"x": inputs, "labels": label} for inputs, label in zip(*samples(), strict=True)]
    names = snippets.run("Transformers", model=Model(), dataset=rows)
    checked(names, 3 * SAMPLES // 8, tmp_path, capsys)  # the trainer's defaults: three epochs of batches of eight


def test_accelerate(tmp_path, capsys):
    accelerate = pytest.importorskip("accelerate", reason="accelerate is not installed")
    accelerate.state.AcceleratorState._reset_state(True)
    accelerate.state.GradientState._reset_state()
    try:
        checked(snippets.run("Accelerate"), SAMPLES // BATCH // 2, tmp_path, capsys)
    finally:
        accelerate.state.AcceleratorState._reset_state(True)
        accelerate.state.GradientState._reset_state()


def test_ignite(tmp_path, capsys):
    pytest.importorskip("ignite", reason="pytorch-ignite is not installed")
    checked(snippets.run("Ignite"), 2 * SAMPLES // BATCH, tmp_path, capsys)


def test_skorch(tmp_path, capsys):
    pytest.importorskip("skorch", reason="skorch is not installed")
    checked(snippets.run("skorch"), 2, tmp_path, capsys)  # 38 training samples are one batch


def test_several_processes(tmp_path, capsys):
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        checked(snippets.run("Several processes"), SAMPLES // BATCH, tmp_path, capsys)
    finally:
        distributed.destroy_process_group()
