"""The README's python blocks run as they stand."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
LOOP, LIGHTNING = BLOCKS


def network():
    return nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 4))


def loader():
    data = torch.utils.data.TensorDataset(torch.randn(640, 20), torch.randint(0, 4, (640,)))
    return torch.utils.data.DataLoader(data, batch_size=32)


def test_the_plain_loop(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model = network()
    names = {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1), "loader": loader()}
    exec(compile(LOOP, str(README), "exec"), names | {"loss_fn": functional.cross_entropy})
    assert capsys.readouterr().out.startswith("HEALTHY")
    assert (tmp_path / "runs" / "mine" / "report.json").is_file()


@pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning")  # from Lightning's use of torch
@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:The number of training batches")  # advice
def test_lightning(tmp_path, monkeypatch, capsys):
    lightning = pytest.importorskip("lightning.pytorch", reason="Lightning is not installed (extra: lightning)")
    monkeypatch.chdir(tmp_path)

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = network()

        def training_step(self, batch, index):
            return functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    exec(compile(LIGHTNING, str(README), "exec"), {"lightning_module": Module(), "loader": loader()})
    assert "HEALTHY" in capsys.readouterr().out
