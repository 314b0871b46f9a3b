"""A process that trains without torch's compiler."""

from __future__ import annotations

import subprocess
import sys

from command_line import environment

CODE = """
import sys, torch
from gradscope.no_compiler import leave_the_compiler_out
leave_the_compiler_out()
weight = torch.nn.Parameter(torch.ones(2))
optimizer = torch.optim.SGD([weight], 0.5, momentum=0.9)
optimizer.zero_grad()
loads = "torch._dynamo" in sys.modules
(weight * torch.tensor([1.0, 2.0])).sum().backward()
optimizer.step()
print(loads, weight.tolist())
compiled = torch.compile(torch.relu, backend="eager")
print(compiled(torch.tensor([-1.0, 2.0])).tolist())
"""


def test_an_optimizer_does_not_load_it_and_works_as_ever_and_so_does_the_compiler() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, env=environment())
    assert done.stdout.splitlines() == ["False [0.5, 0.0]", "[0.0, 2.0]"]
