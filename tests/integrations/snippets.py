"""The python blocks of docs/integrations.md, to be run as they stand."""

import re
from pathlib import Path

import torch
from small_training import dataset, loader, network, samples, sgd
from torch import nn
from torch.nn import functional as F  # noqa: N812

PAGE = Path(__file__).parents[2] / "docs" / "integrations.md"


def blocks():
    """Return each heading's block with the line it begins at."""
    text = PAGE.read_text(encoding="utf-8")
    found = {}
    for block in re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        heading = re.findall(r"^## (.*)$", text[: block.start()], re.MULTILINE)[-1]
        assert heading not in found, f"two blocks under {heading!r}"
        found[heading] = block[1], text[: block.start(1)].count("\n")
    return found


def given():
    """Return what the page says is the reader's own, and torch's usual names."""
    model = network()
    inputs, labels = samples()
    return {
        "F": F,
        "nn": nn,
        "torch": torch,
        "model": model,
        "optimizer": sgd(model),
        "loader": loader(),
        "dataset": dataset(),
        "inputs": inputs,
        "labels": labels,
    }


def run(heading, **more):
    """Run a block, and return its names."""
    code, line = blocks()[heading]
    names = given() | more
    exec(compile("\n" * line + code, str(PAGE), "exec"), names)
    return names
