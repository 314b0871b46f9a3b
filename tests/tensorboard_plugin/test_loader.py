"""What TensorBoard loads at its start can neither break it nor hold it up."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
import tomllib
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from command_line import environment

import gradscope
from gradscope.tensorboard_plugin.loader import NAME, SAMPLES, GradscopeLoader

ROOT = Path(gradscope.__file__).parents[1]
REFUSE = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {names!r}:
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
"""


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    return done.stdout + done.stderr


def test_the_entry_point_names_the_loader() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    told = project["entry-points"]["tensorboard_plugins"]["gradscope"]
    assert importlib.metadata.EntryPoint("gradscope", told, "tensorboard_plugins").load() is GradscopeLoader


def test_the_pages_files_are_in_the_wheel() -> None:
    """All of the package's folder is, so they must lie in it, and none may be left out by an ignore file."""
    files = sorted(path.name for path in (ROOT / "gradscope" / "tensorboard_plugin" / "static").iterdir())
    assert {"index.js", "report.js", "style.css"} <= set(files)
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert "gradscope" in wheel["packages"]
    assert "exclude" not in wheel
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("what is ignored is known in a git checkout only")
    paths = [f"gradscope/tensorboard_plugin/static/{name}" for name in files]
    told = subprocess.run(["git", "check-ignore", "--no-index", *paths, "runs/a"], cwd=ROOT, capture_output=True, text=True)
    assert told.stdout.splitlines() == ["runs/a"]  # which is ignored, so that this can fail


def test_tensorboard_starts_with_it_without_torch_pydantic_and_rich() -> None:
    """What it imports beyond TensorBoard's own: modules of gradscope's that import nothing in turn."""
    code = REFUSE.format(names=("torch", "torchvision", "pydantic", "rich", "jaxtyping")) + (
        "import warnings; warnings.simplefilter('ignore')\n"
        "from tensorboard import default, program\n"
        "default.get_static_plugins()\n"  # where gradscope is installed, the others are its own
        "before = set(sys.modules)\n"
        "from gradscope.tensorboard_plugin.loader import GradscopeLoader\n"
        "from tensorboard.plugins.base_plugin import TBContext\n"
        "assert GradscopeLoader().load(TBContext(data_provider=None)).get_plugin_apps()\n"
        "print(*sorted(set(sys.modules) - before))\n"
    )
    loaded = run(code).split()
    ours = "gradscope.tensorboard_plugin"
    assert loaded == ["gradscope", ours, f"{ours}.loader", f"{ours}.plugin"]


def test_a_plugin_that_cannot_be_made_is_left_out_with_a_warning() -> None:
    """As where half of an update of gradscope is installed."""
    code = (
        "import sys\n"
        "sys.modules['gradscope.tensorboard_plugin.plugin'] = None\n"
        "from gradscope.tensorboard_plugin.loader import GradscopeLoader\n"
        "print(GradscopeLoader().load(None))\n"
    )
    said = run(code)
    assert "None" in said
    assert "the Gradscope tab is not shown: ModuleNotFoundError" in said


@pytest.mark.parametrize(
    ("given", "kept"),
    [({}, {NAME: SAMPLES}), ({NAME: 50}, {NAME: 50}), ({"scalars": 7}, {"scalars": 7, NAME: SAMPLES}), (None, None)],
)
def test_more_samples_are_kept_unless_the_user_says_how_many(given: Any, kept: Any) -> None:
    flags = Namespace(samples_per_plugin=given)
    GradscopeLoader().fix_flags(flags)
    assert flags.samples_per_plugin == kept
    GradscopeLoader().fix_flags(Namespace())
