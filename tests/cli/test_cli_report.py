"""`gradscope report`: through click, and as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import made_sweeps
import pytest
import reports
from click.testing import CliRunner
from command_line import call

from gradscope.cli.report import report as command
from gradscope.errors import TraceError, WriteError
from gradscope.report import save_report
from gradscope.watch_report import save_watched_run

MAIN = "from gradscope.cli import main; main()"


def run_folder(parent: Path, name: str = "20261121-ab12", recipe: str = "sigmoid-relu", age_s: float = 0) -> Path:
    folder = parent / recipe / name
    folder.mkdir(parents=True)
    file = save_report(reports.sick(recipe=recipe), folder)
    then = time.time() - age_s
    os.utime(file, (then, then))
    return folder


def gradscope(*arguments: str | Path, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
    names = ("NO_COLOR", "FORCE_COLOR", "PYTHONIOENCODING", "COLUMNS")
    clean = {name: value for name, value in os.environ.items() if name not in names}
    command_line = [sys.executable, "-c", MAIN, *map(str, arguments)]
    return subprocess.run(command_line, capture_output=True, check=False, env=clean | dict(environment or {}))


def test_a_run_folder_and_its_file_show_the_same(tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    by_folder = CliRunner().invoke(command, [str(folder)], standalone_mode=False)
    by_file = CliRunner().invoke(command, [str(folder / "report.json")], standalone_mode=False)
    assert by_folder.return_value == by_file.return_value == 0
    assert by_folder.stdout == by_file.stdout
    assert by_folder.stdout.startswith("SICK  output-collapse at 3.relu")
    assert f"gradscope report {folder}" in by_folder.stdout
    assert by_folder.stderr == ""


def test_json_is_the_file(tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    result = CliRunner().invoke(command, [str(folder), "--format", "json"], standalone_mode=False)
    assert result.stdout == (folder / "report.json").read_text(encoding="utf-8")


def test_the_newest_run_below_is_shown_and_named(tmp_path: Path) -> None:
    run_folder(tmp_path, "c-old", age_s=3600)
    newest = run_folder(tmp_path, "a-new", recipe="other")
    run_folder(tmp_path, "b-older", age_s=60)
    result = CliRunner().invoke(command, [str(tmp_path), "--format", "json"], standalone_mode=False)
    assert json.loads(result.stdout)["recipe"] == "other"
    assert result.stderr == f"gradscope: showing the newest run, {newest}\n"


def watched_folder(folder: Path, *, name: str = "watched", with_report: bool = True, with_trace: bool = True) -> Path:
    """The log_dir of a watched run; without a report it was killed."""
    save_watched_run(reports.WATCHED, folder)
    if with_trace:
        reports.watched_trace(loss=1.0).save(folder / "trace" / "run-0.npz")
    if with_report:
        save_report(getattr(reports, name)(), folder)
    return folder


def test_a_watched_run_is_shown(tmp_path: Path) -> None:
    done = call("report", watched_folder(tmp_path / "logs"))
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("SICK  dead-layer at encoder.blocks.0.relu@model.py:131#2 (origin), from step 0\n")
    assert f"gradscope report {tmp_path / 'logs'}\n" in done.out


def test_a_watched_run_that_was_killed_is_judged(tmp_path: Path) -> None:
    done = call("report", watched_folder(tmp_path / "logs", with_report=False))
    assert (done.code, done.err) == (0, "")
    assert "HEALTHY  no failure found at 8 sites over 4000 steps" in done.out
    assert "interrupted" in done.out


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"steps": -1}', "\x00"])
def test_a_watched_run_without_a_whole_watch_json_is_judged(content: str | None, tmp_path: Path) -> None:
    folder = watched_folder(tmp_path / "logs", with_report=False)
    (folder / "watch.json").unlink() if content is None else (folder / "watch.json").write_text(content)
    done = call("report", folder)
    assert (done.code, done.err) == (0, "")
    assert "HEALTHY" in done.out
    assert "watch.json is missing or damaged" in done.out


@pytest.mark.parametrize("with_report", [False, True])
def test_a_watched_run_that_recorded_nothing_is_undecided(with_report: bool, tmp_path: Path) -> None:
    folder = watched_folder(tmp_path / "logs", name="watched_undecided", with_report=with_report, with_trace=False)
    done = call("report", folder)
    assert (done.code, done.err) == (3, "")
    assert done.out.startswith("UNDECIDED  cannot tell; 0 sites seen")
    above = call("report", tmp_path)
    assert (above.code, above.out) == (3, done.out)


def test_the_newest_of_watched_runs_below_is_shown(tmp_path: Path) -> None:
    run_folder(tmp_path, age_s=7200)
    old, killed = watched_folder(tmp_path / "old"), watched_folder(tmp_path / "killed", with_report=False)
    os.utime(old / "report.json", (time.time() - 3600,) * 2)
    done = call("report", tmp_path)
    assert done.err == f"gradscope: showing the newest run, {killed}\n"
    assert done.out.startswith("HEALTHY")


def test_a_damaged_trace_of_a_watched_run_is_one_line(tmp_path: Path) -> None:
    folder = watched_folder(tmp_path / "logs", with_report=False)
    (folder / "trace" / "run-0.npz").write_bytes(b"PK")
    done = call("report", folder)
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert "run-0.npz: expected a trace file" in done.err


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "found nothing there"),
        (lambda path: path.mkdir(), "found no report.json"),
        (lambda path: (path / "trace").mkdir(parents=True), "found no report.json"),
        (lambda path: [(path / "trace").mkdir(parents=True), (path / "trace" / "control-1.npz").touch()], "recipe of a run"),
        (lambda path: path.write_text("recipe: 1"), "expected a report in JSON"),
        (lambda path: path.write_bytes(b"\xff\xfe\x00"), "expected a report in JSON"),
        (lambda path: path.write_text("[]"), "expected a gradscope report"),
        (lambda path: path.write_text('{"schema": 99}'), "update gradscope"),
        (lambda path: path.write_text('{"schema": 1}'), "damaged"),
    ],
)
def test_bad_runs_are_one_line(make: object, message: str, tmp_path: Path) -> None:
    path = tmp_path / "run"
    make(path)  # type: ignore[operator]
    with pytest.raises(TraceError, match=message) as caught:
        CliRunner().invoke(command, [str(path)], standalone_mode=False, catch_exceptions=False)
    assert "\n" not in str(caught.value)


def test_as_a_process_errors_are_one_line_and_exit_code_2(tmp_path: Path) -> None:
    done = gradscope("report", tmp_path / "none")
    assert done.returncode == 2
    assert done.stdout == b""
    assert done.stderr.count(b"\n") == 1


def test_as_a_process_without_torch_colour_or_terminal(tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    code = (
        "import sys\nfrom gradscope.cli import main\ntry: main()\n"
        "finally: assert not {'torch', 'numpy', 'tensorboard'} & set(sys.modules), 'imported'"
    )
    done = subprocess.run([sys.executable, "-c", code, "report", str(folder)], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\x1b" not in done.stdout


@pytest.mark.parametrize("environment", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C"}, {"PYTHONIOENCODING": "latin-1"}])
@pytest.mark.parametrize("form", ["text", "json"])
def test_every_encoding_of_stdout(environment: dict[str, str], form: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    save_report(reports.odd_names(), folder)
    done = gradscope("report", folder, "--format", form, environment=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    if form == "json":
        assert json.loads(done.stdout) == json.loads((folder / "report.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_reader_that_goes_away_is_no_error(form: str, tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    reader, writer = os.pipe()
    os.close(reader)
    command_line = [sys.executable, "-c", MAIN, "report", str(folder), "--format", form]
    done = subprocess.run(command_line, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def with_traces(folder: Path) -> Path:
    for seed in (1, 2):
        reports.trace("control", seed).save(folder / "trace" / f"control-{seed}.npz")
    return folder


def test_html_is_written_beside_the_report_and_its_path_is_told(tmp_path: Path) -> None:
    folder = with_traces(run_folder(tmp_path))
    result = CliRunner().invoke(command, [str(folder), "--format", "html"], standalone_mode=False)
    assert result.return_value == 0
    assert result.stdout == f"{folder / 'report.html'}\n"
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert '"matrices?member=control-2":' in text


def test_out_names_the_file_of_every_format(tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    for form, begin in (("html", "<!doctype html>"), ("markdown", "# SICK"), ("json", "{"), ("text", "SICK")):
        file = tmp_path / f"made.{form}"
        result = CliRunner().invoke(command, [str(folder), "--format", form, "--out", str(file)], standalone_mode=False)
        assert result.stdout == f"{file}\n"
        assert file.read_text(encoding="utf-8").startswith(begin)
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize("form", ["html", "markdown"])
def test_out_may_be_the_terminal_whatever_its_encoding(form: str, tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    save_report(reports.odd_names(), folder)
    done = gradscope("report", folder, "--format", form, "--out", "-", environment={"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, b"")
    assert "größe" in done.stdout.decode()


def test_html_of_a_file_that_stands_alone_has_the_diagnosis(tmp_path: Path) -> None:
    file = tmp_path / "kept.json"
    file.write_text(reports.sick().to_json())
    result = CliRunner().invoke(command, [str(file), "--format", "html"], standalone_mode=False)
    assert result.stdout == f"{tmp_path / 'report.html'}\n"
    assert "output-collapse" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_html_that_cannot_be_written_or_read_is_one_line(tmp_path: Path) -> None:
    folder = with_traces(run_folder(tmp_path))
    with pytest.raises(WriteError, match="folder.html"):
        command.main([str(folder), "--format", "html", "--out", str(tmp_path / "no" / "folder.html")], standalone_mode=False)
    (folder / "trace" / "control-1.npz").write_bytes(b"half a file")
    with pytest.raises(TraceError, match="control-1.npz"):
        command.main([str(folder), "--format", "html"], standalone_mode=False)


def test_a_sweep_is_written_as_html_and_as_markdown(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(made_sweeps.published().to_json())
    result = CliRunner().invoke(command, [str(tmp_path), "--format", "html"], standalone_mode=False)
    assert result.stdout == f"{tmp_path / 'report.html'}\n"
    result = CliRunner().invoke(command, [str(tmp_path), "--format", "markdown"], standalone_mode=False)
    lines = result.stdout.splitlines()
    assert lines[0] == "# made"
    assert "64 cells, 320 networks" in lines[2]
    assert lines[6] == "| activations of layers 1 and 2 | relu | tanh | sigmoid | selu |"
    (row,) = [line for line in lines if line.startswith("| relu sigmoid |")]
    assert row.split(" | ")[1].endswith("\\*")
