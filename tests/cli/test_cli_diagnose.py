"""`gradscope diagnose`: what it prints where, its exit codes, and runs that are cut short."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import reports
from command_line import call, command, environment, on_a_terminal, process
from small_trials import PUBLISHED, stack_text

from gradscope.report import save_report

LONG = stack_text("[relu, relu, none]", name="long", seeds=3, fixes="[batchnorm-last]", training="{lr: 0.01, epochs: 100000}")
OWN = """
import torch
from torch import nn
class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(64, 16), nn.Linear(16, 10)
    def forward(self, x):
        return self.two(torch.relu(self.one(x.flatten(1))))
class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.LSTM(8, 16, batch_first=True), nn.Linear(16, 10)
    def forward(self, x):
        return self.two(self.one(x.reshape(-1, 8, 8))[0][:, -1])
"""


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A recipe that takes half a second, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    return written(tmp_path, stack_text(fixes="[batchnorm-last]"))


def written(folder: Path, text: str, name: str = "small.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def runs(folder: Path) -> list[Path]:
    return sorted(folder.glob("runs/*/*"))


def test_a_run_end_to_end(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = call("diagnose", written(tmp_path, PUBLISHED))
    assert (done.code, done.err) == (0, "")
    (run,) = runs(tmp_path)
    assert run.parent.name == "small-published"
    assert done.out.startswith("SICK  output-collapse at 3.relu (origin)")
    assert "FIX   to try: batchnorm-last" in done.out  # three seeds prove no more
    shown = Path("runs") / run.parent.name / run.name
    assert f"gradscope report {shown}" in done.out
    again = call("report", run)
    assert (again.code, again.err) == (0, "")
    assert again.out.replace(str(run), str(shown)) == done.out
    fixed = call("diagnose", run / "fixed.yaml", "--format", "json")
    assert (fixed.code, fixed.err) == (0, "")
    assert json.loads(fixed.out)["verdict"] == "healthy"
    assert json.loads(fixed.out)["expectation"] == {"expected": ["healthy"], "met": True}


def test_json_is_the_only_thing_on_stdout_and_is_the_file(small, tmp_path):
    done = call("diagnose", small, "--format", "json")
    assert (done.code, done.err) == (0, "")
    (run,) = runs(tmp_path)
    assert json.loads(done.out) == json.loads((run / "report.json").read_text())


def test_quiet_is_one_line(small):
    done = call("diagnose", small, "-q")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("HEALTHY ")
    assert done.out.count("\n") == 1


def test_quiet_json_is_json(small):
    assert json.loads(call("diagnose", small, "-q", "--format", "json").out)["verdict"] == "healthy"


def test_options_change_the_recipe(small, tmp_path):
    out = tmp_path / "deep" / "elsewhere"
    options = ("--seeds", "1", "--steps", "60", "--epochs", "2", "--fixes", "none", "--out", out, "--device", "cpu")
    done = call("diagnose", small, "--format", "json", *options)
    report = json.loads(done.out)
    assert (report["setting"]["seeds"], report["setting"]["steps"], report["fixes"]) == ([1], 60, [])
    assert (report["setting"]["device"], done.err) == ("cpu", "")
    assert len(list(out.glob("small/*/report.json"))) == 1
    assert not (tmp_path / "runs").exists()


def test_fixes_are_a_list_with_commas(small):
    done = call("diagnose", small, "--format", "json", "--fixes", "batchnorm-all, batchnorm-last", "--steps", "5")
    assert [fix["fix"] for fix in json.loads(done.out)["fixes"]] == ["batchnorm-all", "batchnorm-last", "reseed"]


def test_undecided_is_exit_code_3_and_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_cli.py").write_text(OWN)
    recipe = written(
        tmp_path, "data: digits\nmodel: own_cli:Recurrent\ntraining: {optimizer: adam, lr: 0.01, epochs: 4}\nseeds: 1\n"
    )
    done = process("diagnose", recipe, "--allow-code", cwd=tmp_path)
    assert (done.code, done.err) == (3, "")
    assert done.out.startswith("UNDECIDED")
    (run,) = runs(tmp_path)
    assert json.loads((run / "report.json").read_text())["verdict"] == "undecided"


def test_a_training_too_short_to_judge_is_exit_code_3(small):
    done = call("diagnose", small, "--steps", "2", "-q")
    assert (done.code, done.err) == (3, "")
    assert done.out.startswith("UNDECIDED")


def test_numbers_that_overflow_print_no_warning(tmp_path):
    recipe = written(tmp_path, stack_text("[relu, relu, none]", training="{lr: 1e6, epochs: 1}", fixes="[batchnorm-last]"))
    done = process("diagnose", recipe, "-q", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("SICK ")


def test_without_a_terminal_no_colour_and_no_progress(small, tmp_path):
    done = process("diagnose", small, cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert "\x1b" not in done.out
    assert "\r" not in done.out


def in_terminal(arguments, **changes):
    code, got = on_a_terminal(command(*arguments), env=environment(**changes))
    return code, got.decode()


def test_a_terminal_gets_colour_and_progress_unless_it_asks_for_none(tmp_path):
    recipe = written(tmp_path, stack_text(training="{lr: 0.1, epochs: 4}"))
    arguments = ("diagnose", recipe, "--out", tmp_path / "runs")
    code, got = in_terminal(arguments)
    assert code == 0
    assert "\x1b[1" in got
    assert "steps" in got
    code, got = in_terminal(arguments, NO_COLOR="1")
    assert code == 0
    for colour in ("\x1b[3", "\x1b[9", "\x1b[1;3"):
        assert colour not in got.replace("\x1b[?25", "")


def start(recipe: Path, folder: Path, *options: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command("diagnose", recipe, *options), cwd=folder, env=environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def await_traces(folder: Path, child: subprocess.Popen[bytes]) -> Path:
    """Wait for the first flush (two seconds after the start of the training); return the run's folder."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert child.poll() is None, child.communicate()
        if len(list(folder.glob("runs/*/*/trace/*.npz"))) >= 9:
            time.sleep(0.2)
            return runs(folder)[0]
        time.sleep(0.05)
    raise AssertionError("no trace was flushed")


@pytest.mark.parametrize(("number", "again"), [(signal.SIGINT, "press Ctrl-C again"), (signal.SIGTERM, "send SIGTERM again")])
def test_ctrl_c_keeps_and_reports_what_was_done(number, again, tmp_path):
    child = start(written(tmp_path, LONG), tmp_path)
    run = await_traces(tmp_path, child)
    child.send_signal(number)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert err.decode().strip() == f"gradscope: stopping after this step; {again} to stop at once"
    report = json.loads((run / "report.json").read_text())
    assert report["interrupted"] is True
    assert report["setting"]["planned_steps"] == 4_500_000
    assert 0 < report["setting"]["steps"] < 4_500_000
    assert [fix["fix"] for fix in report["fixes"]] == ["batchnorm-last", "reseed"]
    assert "interrupted" in out.decode().lower()
    assert len(list((run / "trace").glob("*.npz"))) == 9
    shown = call("report", run)
    assert (shown.code, "interrupted" in shown.out.lower()) == (0, True)


def test_ctrl_c_twice_stops_at_once(tmp_path):
    """The second one while the first is still being served: here, the training is held up in its callback."""
    code = (
        "import time, signal, os, gradscope.training as training\n"
        "step = training._Loop._step\n"
        "def slow(self, indices):\n"
        "    step(self, indices)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(60)\n"
        "training._Loop._step = slow\n"
        "from gradscope.cli import main; main()\n"
    )
    recipe = written(tmp_path, LONG)
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code, "diagnose", str(recipe)], cwd=tmp_path, env=environment(), capture_output=True, check=False
    )
    assert time.monotonic() - start < 40
    assert done.returncode == 130
    lines = done.stderr.decode().split("\n")
    assert "Traceback" not in done.stderr.decode()
    assert [line for line in lines if line] == [
        "gradscope: stopping after this step; press Ctrl-C again to stop at once",
        "gradscope: interrupted",
    ]
    assert done.stdout == b""


def test_of_a_run_that_was_killed_the_flushed_traces_are_judged(tmp_path):
    child = start(written(tmp_path, LONG), tmp_path)
    run = await_traces(tmp_path, child)
    child.kill()
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    assert not (run / "report.json").exists()
    done = call("report", run)
    assert (done.code, done.err) == (0, "")
    assert "interrupted" in done.out.lower()
    report = json.loads(call("report", run, "--format", "json").out)
    assert report["interrupted"] is True
    assert report["recipe"] == "long"
    assert report["setting"]["seeds"] == [1, 2, 3]
    assert len(report["control"]["values"]) == 3
    assert [fix["fix"] for fix in report["fixes"]] == ["batchnorm-last", "reseed"]
    assert not (run / "report.json").exists(), "showing a run does not change it"


def small_files(limit):
    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return limited


@pytest.mark.parametrize("limit", [0, 2000])  # 0: nothing can be written, which is found out before the training
def test_on_a_full_disk_the_training_ends_and_the_report_is_printed(limit, tmp_path):
    """No file may grow beyond the limit: the recipe's, the traces', the event files' writes fail as on a full disk."""
    recipe = written(tmp_path, PUBLISHED)
    done = subprocess.run(
        command("diagnose", recipe), cwd=tmp_path, env=environment(), capture_output=True, check=False,
        preexec_fn=small_files(limit),
    )  # fmt: skip
    err = done.stderr.decode()
    assert done.returncode == 2, err
    assert done.stdout.decode().startswith("SICK  output-collapse at 3.relu" if limit else ""), err
    assert (done.stdout == b"") == (limit == 0)
    assert err.count("\n") == 1
    assert err.startswith("gradscope: runs/small-published/")
    assert "cannot be written" in err


@pytest.fixture
def saved(tmp_path):
    """Command lines that print: of a saved run, which is quick, and of a quiet diagnosis."""
    save_report(reports.sick(), tmp_path)
    recipe = written(tmp_path, stack_text())
    return {
        "text": command("report", tmp_path),
        "json": command("report", tmp_path, "--format", "json"),
        "quiet": command("diagnose", recipe, "-q", "--steps", "60"),
    }


FORMS = ("text", "json", "quiet")


def run(line, folder, **streams):
    return subprocess.run(line, cwd=folder, env=environment(), check=False, **{"stderr": subprocess.PIPE} | streams)


@pytest.mark.parametrize("form", FORMS)
def test_a_reader_that_goes_away_is_no_error(form, saved, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    done = run(saved[form], tmp_path, stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("redirect", ["2>&-", ">&-", ">&- 2>&-"])
def test_closed_streams_are_no_crash(redirect, form, saved, tmp_path):
    done = run(["sh", "-c", f'exec "$@" {redirect}', "sh", *saved[form]], tmp_path, stdout=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("form", FORMS)
def test_stdout_on_a_full_disk_is_one_line(form, saved, tmp_path):
    with open("/dev/full", "wb") as full:
        done = run(saved[form], tmp_path, stdout=full)
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1
    assert b"No space left on device" in done.stderr


def test_the_working_directory_may_be_read_only_with_out_elsewhere(small, tmp_path):
    done = process("diagnose", small, "--out", tmp_path / "elsewhere", "-q", cwd=Path("/proc"))
    assert (done.code, done.err) == (0, "")
