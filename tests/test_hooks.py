"""The hooks for other repositories, run by pre-commit itself in one of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from command_line import MAIN

ROOT = Path(__file__).parents[1]
HOOKS = {hook["id"]: hook for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))}
GOOD = "data: digits\nstack: {hidden: [8], activations: [relu, none]}\nseeds: 1\n"
NOTING = 'import os, sys; open(os.environ["CALLS"], "a").write(" ".join(sys.argv[1:]) + "\\n")\n'


def git(folder: Path, *arguments: str) -> str:
    who = {f"GIT_{role}_{what}": "x@y" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment = clean | who | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    done = subprocess.run(["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def committed(folder: Path) -> str:
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "all")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path):
    """A repository with recipes that uses both hooks, and a `gradscope` on the PATH."""
    pytest.importorskip("pre_commit", reason="pre-commit is not installed (group: test)")
    if tuple(map(int, version("pre-commit").split(".")[:2])) < (4, 4):
        pytest.skip("pre-commit is older than 4.4, which does not know `language: unsupported`")
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    hooks, own, programs = (tmp_path / name for name in ("hooks", "own", "bin"))
    for folder in (hooks, own / "recipes" / "below", programs):
        folder.mkdir(parents=True)
    shutil.copy(ROOT / ".pre-commit-hooks.yaml", hooks)
    used = {"repo": str(hooks), "rev": committed(hooks), "hooks": [{"id": name} for name in HOOKS]}
    (own / ".pre-commit-config.yaml").write_text(yaml.safe_dump({"repos": [used]}))
    (own / "recipes" / "net.yaml").write_text(GOOD)
    (own / "recipes" / "below" / "other.yml").write_text(GOOD)
    (own / "other.yaml").write_text("no recipe")
    committed(own)
    command = programs / "gradscope"
    command.write_text(f"#!{sys.executable}\nif __name__ == '__main__':  # as in what pip installs\n    {MAIN}\n")
    command.chmod(0o755)
    return own


def run(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    base = repository.parent
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "PRE_COMMIT"))}
    changes = {
        "PATH": f"{base / 'bin'}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "CALLS": str(base / "calls"),
        "PRE_COMMIT_HOME": str(base / "cache"), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    command = [sys.executable, "-m", "pre_commit", "run", "--color=never", "--verbose", *arguments]
    return subprocess.run(command, cwd=repository, env=clean | changes, capture_output=True, text=True, check=False)


def test_validate_names_the_fault_with_its_line(repository):
    done = run(repository, "gradscope-validate", "--all-files")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "recipes/net.yaml: ok" in done.stdout
    assert "recipes/below/other.yml: ok" in done.stdout
    assert "Skipped" not in done.stdout
    (repository / "recipes" / "net.yaml").write_text(GOOD.replace("relu", "rleu"))
    done = run(repository, "gradscope-validate", "--all-files")
    assert done.returncode == 1
    assert "recipes/net.yaml:2:36: stack.activations[0]: expected" in done.stdout
    assert "exit code: 2" in done.stdout


def test_check_waits_for_the_push_and_gets_all_recipes_at_once(repository):
    (repository.parent / "bin" / "gradscope").write_text(f"#!{sys.executable}\n{NOTING}")
    calls = repository.parent / "calls"
    assert run(repository, "--all-files", "--hook-stage", "pre-commit").returncode == 0
    assert [line.split()[0] for line in calls.read_text().splitlines()] == ["validate"]
    calls.unlink()
    assert run(repository, "gradscope-check", "--all-files", "--hook-stage", "pre-push").returncode == 0
    (line,) = calls.read_text().splitlines()
    command, option, *files = line.split()
    assert (command, option) == ("check", "--fast")
    assert sorted(files) == ["recipes/below/other.yml", "recipes/net.yaml"]


def test_check_stops_the_push_of_a_network_that_will_collapse(repository):
    sick = "data: digits\nstack: {hidden: [16, 16], activations: [relu, sigmoid, relu]}\nseeds: 2\nexpect: healthy\n"
    (repository / "recipes" / "net.yaml").write_text(sick)
    done = run(repository, "gradscope-check", "--files", "recipes/net.yaml", "--hook-stage", "pre-push")
    assert done.returncode == 1
    assert "exit code: 1" in done.stdout
    assert "recipes/net.yaml:2:56: error: new finding GS108 common-mode at 3.relu" in done.stdout


def test_neither_hook_builds_an_environment_of_its_own():
    assert sorted(HOOKS) == ["gradscope-check", "gradscope-validate"]
    for hook in HOOKS.values():
        assert hook["language"] == "unsupported"
        assert hook["require_serial"]
