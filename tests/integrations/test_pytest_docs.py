"""Each python block of docs/pytest.md is a test file that passes as it stands."""

import re

import pytest
from command_line import ROOT

pytest_plugins = ["pytester"]

PAGE = (ROOT / "docs" / "pytest.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
NET = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

class Net(nn.Sequential):
    def __init__(self, *last):
        first = nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 32), nn.Sigmoid(), nn.Linear(32, 10)
        super().__init__(*first, *last)

class Collapsed(Net):
    def __init__(self):
        super().__init__(nn.ReLU())

draw = torch.Generator().manual_seed(7)
patterns, y = torch.randn(10, 20, generator=draw), torch.randint(10, (256,), generator=draw)
x = patterns[y] + 0.5 * torch.randn(256, 20, generator=draw)
loader = DataLoader(TensorDataset(x, y), 32, shuffle=True)
"""
RECIPE = """
data: digits
stack: {hidden: [32, 16], activations: [relu, tanh, none]}
seeds: 2
expect: healthy
training: {epochs: 2}
"""


def test_every_block_passes(pytester, monkeypatch):
    """In a process of its own, as a user's."""
    assert len(BLOCKS) == 5
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # small networks on shared cores
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(net=NET, **{f"test_{i}": block for i, block in enumerate(BLOCKS)})
    (pytester.path / "small.yaml").write_text(RECIPE)
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "gradscope_pytest", "--strict-markers")
    done.assert_outcomes(passed=sum(block.count("def test_") for block in BLOCKS))


def test_the_table_has_each_argument():
    from gradscope.integrations.pytest_options import NAMES

    table = PAGE.partition("| argument |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", "".join(row.split("|")[1] for row in table.splitlines()[1:] if row.count("|") > 2))) == {
        "data",
        *NAMES,
    }


@pytest.mark.parametrize(
    "line", ["gradscope: output-collapse at 5.relu, 1 more finding; expected healthy", "more: gradscope explain"]
)
def test_the_message_shown_is_in_todays_words(line):
    assert line in PAGE
