"""The plugin as pytest finds it: by its entry point, at every start, in xdist's workers."""

import json
import subprocess
import sys
from importlib.metadata import entry_points

import pytest
from command_line import ROOT, environment

INSTALLED = any(entry.name == "gradscope_pytest" for entry in entry_points(group="pytest11"))
installed = pytest.mark.skipif(not INSTALLED, reason="gradscope is not installed, so pytest cannot find its plugin")

TESTS = """
import random
import numpy as np, pytest, torch
from torch import nn

def build(last):
    return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 32), nn.Sigmoid(), nn.Linear(32, 10), *last)

def samples():
    draw = torch.Generator().manual_seed(7)
    patterns, y = torch.randn(10, 20, generator=draw), torch.randint(10, (256,), generator=draw)
    return patterns[y] + 0.5 * torch.randn(256, 20, generator=draw), y

@pytest.mark.parametrize("number", range(3))
def test_healthy(gradscope_check, number):
    torch.manual_seed(number)
    gradscope_check(build([]), samples(), steps=30)

def test_collapsed(gradscope_check):
    gradscope_check(build([nn.ReLU()]), samples())

def test_nothing_is_drawn(gradscope_check):
    model, data = build([nn.ReLU()]), samples()
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    with pytest.raises(AssertionError, match="output-collapse"):
        gradscope_check(model, data, steps=30)
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before
"""


def pytest_in(folder, *arguments, **changes):
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly", *arguments]
    around = {**environment(**changes), "PYTHONPATH": ""}  # as where gradscope is installed
    return subprocess.run(command, cwd=folder, env=around, capture_output=True, text=True, check=False)


@installed
def test_by_its_entry_point_in_several_processes(tmp_path):
    (tmp_path / "test_net.py").write_text(TESTS)
    done = pytest_in(tmp_path, "-n", "2", "--gradscope-update")
    assert done.returncode == 1, done.stderr
    assert "1 failed, 4 passed" in done.stdout
    assert "AssertionError: gradscope: output-collapse at 5.relu" in done.stdout
    written = sorted((tmp_path / "baselines" / "test_net").iterdir())
    assert [path.name for path in written] == [f"test_healthy[{number}].json" for number in range(3)], "and no part of a file"
    assert all(json.loads(path.read_text())["schema"] == 1 for path in written)
    assert [line for line in done.stdout.splitlines() if line.startswith("baselines/")] == [
        path.relative_to(tmp_path).as_posix() for path in written
    ]


def imported_by_pytest(folder, *arguments):
    code = "import sys, pytest\ncode = pytest.main(sys.argv[1:])\nprint('\\n#', int(code), *sorted(sys.modules))\n"
    around = {**environment(), "PYTHONPATH": "" if INSTALLED else str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-c", code, "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=folder, env=around, capture_output=True, text=True, check=True)
    exit_code, *names = done.stdout.splitlines()[-1].removeprefix("# ").split()
    return int(exit_code), set(names)


def test_a_start_of_pytest_imports_one_module_more(tmp_path):
    """A test that asks for no check costs nothing: neither torch nor numpy, pydantic or gradscope itself is imported."""
    (tmp_path / "test_plain.py").write_text("def test_plain():\n    pass\n")
    without = imported_by_pytest(tmp_path)
    with_it = imported_by_pytest(tmp_path, "-p", "gradscope_pytest", "--gradscope-update")
    assert without[0] == with_it[0] == 0
    assert with_it[1] - without[1] == {"gradscope_pytest"}


@installed
@pytest.mark.parametrize("arguments", [("-p", "gradscope_pytest"), ("-p", "no:gradscope_pytest")], ids=["twice", "off"])
def test_it_may_be_named_beside_its_entry_point_and_switched_off(tmp_path, arguments):
    done = pytest_in(tmp_path, "--fixtures", *arguments)
    assert done.returncode in (0, 5), done.stdout + done.stderr  # 5: no test was collected
    assert ("gradscope_check" in done.stdout) is ("no:gradscope_pytest" not in arguments)


def test_the_wheel_is_told_to_hold_it():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["entry-points"]["pytest11"] == {"gradscope_pytest": "gradscope_pytest"}
    assert "gradscope_pytest.py" in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert (ROOT / "gradscope_pytest.py").is_file()
