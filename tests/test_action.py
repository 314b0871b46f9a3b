"""The GitHub action: what it declares, and its scripts in bash with the environment that a runner gives them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from command_line import MAIN

ROOT = Path(__file__).parents[1]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS = ACTION["runs"]["steps"]
EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
STUB = """#!{python}
import json, os, sys
with open(os.environ["CALLS"], "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
sys.exit(int(os.environ.get("ENDS_WITH", "0")))
"""

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


def expressions(node):
    if isinstance(node, dict):
        return [found for key, value in node.items() if key != "if" for found in expressions(value)]
    if isinstance(node, list):
        return [found for value in node for found in expressions(value)]
    return EXPRESSION.findall(node) if isinstance(node, str) else []


def test_inputs_are_declared_and_used():
    used = expressions(STEPS) + [step["if"] for step in STEPS if "if" in step]
    names = {name for text in used for name in re.findall(r"inputs\.([\w-]+)", text)}
    assert names == set(ACTION["inputs"])
    assert all(text.startswith("inputs.") for text in used)
    for name, declared in ACTION["inputs"].items():
        assert declared["description"], name
        assert isinstance(declared["default"], str), name


def test_no_input_is_written_into_a_script():
    for step in STEPS:
        assert not EXPRESSION.search(step["run"])


def test_it_installs_and_runs_and_does_nothing_else():
    assert ACTION["runs"]["using"] == "composite"
    assert [step["name"] for step in STEPS] == ["Install gradscope", "Check recipes"]
    for step in STEPS:
        assert step["shell"] == "bash"
        assert "uses" not in step


def run_action(folder: Path, ends_with: int = 0, **given: str) -> tuple[list[list[str]], int]:
    """Run the steps with a python that notes its arguments; return the calls and the last exit code."""
    calls = folder / "calls"
    calls.touch()
    done = run_steps(folder, STUB.format(python=sys.executable), given, CALLS=str(calls), ENDS_WITH=str(ends_with))
    assert done.stderr == ""
    return [json.loads(line) for line in calls.read_text().splitlines()], done.returncode


def run_steps(folder: Path, python: str, given: dict[str, str], **more: str) -> subprocess.CompletedProcess[str]:
    """Run the steps as a runner does, with a script as python; return how the last one ended."""
    inputs = {name: declared["default"] for name, declared in ACTION["inputs"].items()} | given
    stub = folder / "bin" / "python"
    stub.parent.mkdir()
    stub.write_text(python)
    stub.chmod(0o755)
    for step in STEPS:
        if "if" in step and not _holds(step["if"], inputs):
            continue
        values = {name: _filled(text, inputs) for name, text in step.get("env", {}).items()}
        script = folder / "script.sh"
        script.write_text(step["run"])
        environment = {
            **os.environ, **values, "PATH": f"{stub.parent}{os.pathsep}{os.environ['PATH']}",
            "GITHUB_ACTION_PATH": "/action", "GITHUB_ACTIONS": "true", "CI": "true", **more,
        }  # fmt: skip
        where = ROOT / _filled(step.get("working-directory", "."), inputs)
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)]
        done = subprocess.run(command, env=environment, cwd=where, capture_output=True, text=True, check=False)
        if done.returncode:
            break
    return done


def _filled(text: str, inputs: dict[str, str]) -> str:
    return EXPRESSION.sub(lambda found: inputs[found[1].removeprefix("inputs.")], text)


def _holds(condition: str, inputs: dict[str, str]) -> bool:
    found = re.fullmatch(r"inputs\.([\w-]+) != '(.*)'", condition)
    assert found, condition
    return inputs[found[1]] != found[2]


PIP = ["-m", "pip", "install"]
CHECK = ["-m", "gradscope", "check", "--format"]


@needs_bash
def test_by_default_the_action_itself_is_installed_and_recipes_are_checked(tmp_path):
    calls, code = run_action(tmp_path)
    assert calls == [[*PIP, "/action"], [*CHECK, "github", "--", "recipes"]]
    assert code == 0


@needs_bash
def test_every_input_reaches_its_command(tmp_path):
    calls, _ = run_action(
        tmp_path,
        paths="my recipes/*.yaml\n\n-b.yaml\n",
        args="--strict\n --jobs  2",
        format="sarif",
        out="a b.sarif",
        torch="torch==2.6.* torchvision\n--index-url https://host/cpu",
        version="0.1.0",
    )
    assert calls == [
        [*PIP, "torch==2.6.*", "torchvision", "--index-url", "https://host/cpu"],
        [*PIP, "gradscope-torch==0.1.0"],
        [*CHECK, "sarif", "--out", "a b.sarif", "--strict", "--jobs", "2", "--", "my recipes/*.yaml", "-b.yaml"],
    ]


@needs_bash
def test_inputs_are_text_and_never_commands(tmp_path):
    evil = "$(touch hacked); `touch hacked`"
    calls, _ = run_action(tmp_path, paths=evil, out=evil, format=evil, torch="", version=evil)
    assert calls[0] == [*PIP, f"gradscope-torch=={evil}"]
    assert calls[1] == [*CHECK, evil, "--out", evil, "--", evil]
    assert not (ROOT / "hacked").exists()


@needs_bash
def test_what_is_installed_stays(tmp_path):
    calls, _ = run_action(tmp_path, version="installed", torch="torch")
    assert [call[:3] for call in calls] == [CHECK[:3]]


@needs_bash
@pytest.mark.parametrize("code", [1, 2, 3])
def test_the_exit_code_is_the_commands(tmp_path, code):
    assert run_action(tmp_path, ends_with=code, version="installed")[1] == code


@needs_bash
def test_an_install_that_fails_ends_it(tmp_path):
    calls, code = run_action(tmp_path, ends_with=1)
    assert (len(calls), code) == (1, 1)


@needs_bash
def test_it_tells_a_pull_request_what_is_wrong(tmp_path):
    recipes = tmp_path / "own" / "recipes"
    recipes.mkdir(parents=True)
    (tmp_path / "own" / ".git").mkdir()
    recipe = "data: digits\nstack: {hidden: [16, 16], activations: [relu, sigmoid, relu]}\nseeds: 2\nexpect: healthy\n"
    (recipes / "net.yaml").write_text(recipe)
    python = f"#!{sys.executable}\nimport sys\nassert sys.argv[1:3] == ['-m', 'gradscope']\ndel sys.argv[1:3]\n{MAIN}\n"
    given = {"version": "installed", "args": "--fast -q", "working-directory": str(tmp_path / "own")}
    summary = tmp_path / "summary.md"
    done = run_steps(tmp_path, python, given, GITHUB_STEP_SUMMARY=str(summary), PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1")
    assert (done.returncode, done.stderr) == (1, "")
    assert "::error file=recipes/net.yaml,line=2,col=56,title=GS108 common-mode at 3.relu::" in done.stdout
    assert "| recipes/net.yaml | **not as expected** |" in summary.read_text(encoding="utf-8")
