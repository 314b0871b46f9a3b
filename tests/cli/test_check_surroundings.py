"""`gradscope check` among other tools: shells that stop at a failure, terminals and pipes, streams that take only ASCII."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from command_line import MAIN, command, environment, on_a_terminal, process

SICK = "data: digits\nstack: {hidden: [16, 16], activations: [relu, sigmoid, relu]}\nseeds: 2\nexpect: healthy\n"
BAD = "data: digits\nstack: {hidden: [16], activations: [rleu, none]}\n"
NOT_THERE = {"GITHUB_ACTIONS": "", "GITHUB_STEP_SUMMARY": "", "NO_COLOR": ""}


@pytest.fixture
def folder(tmp_path):
    """A sick recipe with a name that is not ASCII, a bad one, and a `gradscope` on the PATH."""
    (tmp_path / "größe.yaml").write_text(SICK, encoding="utf-8")
    (tmp_path / "bad.yaml").write_text(BAD, encoding="utf-8")
    program = tmp_path / "bin" / "gradscope"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nif __name__ == '__main__':  # as in what pip installs\n    {MAIN}\n")
    program.chmod(0o755)
    return tmp_path


def shell(folder, script, *flags):
    environ = {**environment(**NOT_THERE), "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(["bash", *flags, "-c", script], cwd=folder, env=environ, capture_output=True, text=True, check=False)


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_a_shell_with_set_e_stops_with_the_commands_code(folder):
    done = shell(folder, "set -euo pipefail; gradscope check --fast -q größe.yaml | cat; echo reached")
    assert done.returncode == 1
    assert "reached" not in done.stdout
    assert done.stdout.startswith("NOT AS EXPECTED  größe.yaml")
    assert "GS108 common-mode at 3.relu" in done.stdout
    assert "\x1b" not in done.stdout  # a pipe
    assert done.stderr == ""
    done = shell(folder, "set -e; gradscope check bad.yaml || code=$?; echo code $code; gradscope check bad.yaml; echo reached")
    assert done.returncode == 2
    assert done.stdout == "code 2\n"


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_a_reader_that_goes_away_changes_nothing_but_the_output(folder):
    done = shell(folder, "gradscope check --fast -q größe.yaml bad.yaml | true; echo ${PIPESTATUS[0]}")
    assert done.stdout == "2\n"
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def in_terminal(folder, *arguments, **changes):
    code, got = on_a_terminal(command(*arguments), cwd=folder, env=environment(**({"GITHUB_ACTIONS": ""} | changes)))
    return code, got.decode()


def test_colour_on_a_terminal_none_under_no_color(folder):
    arguments = ("check", "--fast", "-q", "größe.yaml")
    code, got = in_terminal(folder, *arguments)
    assert code == 1
    assert "\x1b[1;31mNOT AS EXPECTED" in got
    code, got = in_terminal(folder, *arguments, NO_COLOR="1")
    assert code == 1
    assert "NOT AS EXPECTED" in got
    assert "\x1b[" not in got.replace("\x1b[?25", "")


@pytest.mark.parametrize("form", ["text", "github", "json", "junit", "sarif"])
def test_output_that_takes_only_ascii_gets_ascii(folder, form):
    """Without torch: the bad recipe is refused before."""
    (folder / "größe.yaml").write_text(BAD, encoding="utf-8")
    done = process("check", "größe.yaml", "--format", form, cwd=folder, PYTHONIOENCODING="ascii", GITHUB_ACTIONS="")
    assert done.code == 2
    assert done.out.isascii()
    assert "rleu" in done.out + done.err
    assert "Traceback" not in done.err


def test_the_c_locale(folder):
    changes = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "GITHUB_ACTIONS": ""}
    done = process("check", "--fast", "-q", "größe.yaml", cwd=folder, **changes)
    assert done.code == 1
    assert done.out.isascii()
    assert "GS108 common-mode at 3.relu" in done.out
    assert "Traceback" not in done.err
