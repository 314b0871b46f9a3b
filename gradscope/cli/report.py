"""`gradscope report`: show a saved run again, without torch."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gradscope.errors import TraceError, WriteError
from gradscope.renderers import FORMATS, load_renderer

if TYPE_CHECKING:
    from gradscope.report import Report

MAKES_ONE = "`gradscope diagnose RECIPE` makes one, or gradscope.watch(model, optimizer, log_dir); name a sweep itself"
FILES = ("report.json", "watch.json")
HTML, HTML_NAME = "html", "report.html"
DEPTHS = ("*", "*/*")  # where runs lie below a folder of runs: runs/<recipe>/<run>


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice([*FORMATS, HTML]), default="text", show_default=True,
              help="text, json and markdown are printed; html is one file to open in a browser, RUN/report.html.")  # fmt: skip
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path), help="Write it there; - stands for the terminal.")
def report(run: Path, form: str, out: Path | None) -> int:
    """Show the diagnosis of RUN again, or the table of a sweep.

    RUN is a run's folder, the log_dir of a gradscope.watch, a report.json, or a folder above runs: then the newest of them is
    shown. Of a sweep it is the folder, or its results.json.
    """
    from gradscope.cli import EXIT_CANNOT_JUDGE, EXIT_DONE

    if _is_sweep(run):
        _put_sweep(run, form, out)
        return EXIT_DONE
    found = _run_of(run)
    if found not in (run, run.parent):
        click.echo(f"gradscope: showing the newest run, {found}", err=True)
    saved = _report_of(found)
    if form == HTML:
        from gradscope.renderers.html_report import html_of_run, traces_in

        folder = found if found.is_dir() else found.parent
        _deliver(lambda: html_of_run(saved, traces_in(folder)), out or folder / HTML_NAME)
    else:
        _deliver(lambda: _text_of(saved, form, found), out)
    return EXIT_CANNOT_JUDGE if saved.verdict == "undecided" else EXIT_DONE


def _is_sweep(path: Path) -> bool:
    """Tell whether a path means a sweep: its folder or its results, finished or not."""
    from gradscope.sweep_report import FILE_NAME

    return path.name == FILE_NAME if path.is_file() else (path / FILE_NAME).is_file() and not _is_run(path)


def _put_sweep(path: Path, form: str, out: Path | None) -> None:
    from gradscope.sweep_report import load_result

    folder = path if path.is_dir() else path.parent
    result = load_result(path)
    if form == HTML:
        from gradscope.renderers.html_report import html_of_sweep

        _deliver(lambda: html_of_sweep(result), out or folder / HTML_NAME)
        return
    if form == "markdown":
        from gradscope.renderers.sweep_markdown import sweep_markdown

        _deliver(lambda: sweep_markdown(result), out)
        return
    from gradscope.cli.sweep_table import table_of

    _deliver(table_of(result, form, folder), out)


def _deliver(make: Callable[[], str], out: Path | None) -> None:
    """Print a text, or write it to a file and print its path.

    Raises:
        WriteError: it cannot be written.
    """
    if out is None or str(out) == "-":
        put(make)
        return
    from gradscope.run_folder import write_text

    write_text(out, make())
    put(lambda: f"{out}\n")


def show(report: Report, form: str, run_folder: Path | None) -> None:
    """Print a report on stdout in one of `FORMATS`."""
    put(lambda: _text_of(report, form, run_folder))


def put(make: Callable[[], str]) -> None:
    """Print a text on stdout, where there is one; a reader that goes away (`| head`) ends it quietly.

    Raises:
        WriteError: stdout is a file that cannot be written.
    """
    if sys.stdout is None:  # closed by who started us
        return
    try:
        _write(make())
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter's last flush fails loudly
        if not isinstance(error, BrokenPipeError):
            raise WriteError(f"standard output: cannot be written: {error.strerror}") from error


def _write(text: str) -> None:
    """Write a text on stdout; what its encoding does not have (Markdown, HTML) goes out in UTF-8 as a whole."""
    try:
        sys.stdout.write(text)
    except UnicodeEncodeError:
        sys.stdout.buffer.write(text.encode())


def _text_of(report: Report, form: str, run_folder: Path | None) -> str:
    """Return the report as it suits stdout: its width, its colours, its encoding."""
    if form == "json" and not (sys.stdout.encoding or "utf-8").lower().startswith("utf"):
        from gradscope.renderers.json import JsonRenderer

        return JsonRenderer(ascii_only=True).render(report)
    if form != "text":
        return load_renderer(form)().render(report)
    from gradscope.renderers.console import print_report, stdout_console, trimmed

    console = stdout_console()
    with console.capture() as captured:
        print_report(report, console=console, run_folder=run_folder)
    return trimmed(captured.get())


def _run_of(path: Path) -> Path:
    """Return the run folder that `path` means: itself, the parent of a report.json, or the newest run below.

    Raises:
        TraceError: there is no run there.
    """
    if not path.exists():
        raise TraceError(f"{path}: expected a run's folder, found nothing there; {MAKES_ONE}")
    if path.is_file():
        return path.parent if path.name == "report.json" else path
    if _is_run(path):
        return path
    below = [folder for depth in DEPTHS for folder in path.glob(depth) if _is_run(folder)]
    if not below:
        raise TraceError(f"{path}: expected a run or runs below, found no report.json; {MAKES_ONE}")
    return max(below, key=lambda folder: (_written(folder), folder.name))


def _is_run(folder: Path) -> bool:
    return any((folder / name).is_file() for name in FILES) or _traces(folder) > 0


def _traces(folder: Path) -> int:
    return sum(1 for _ in (folder / "trace").glob("*.npz"))


def _written(folder: Path) -> float:
    """Return when the run was last written to: its report, else its trace, else what a watch wrote at its start."""
    places = [folder / name for name in ("report.json", "trace", "watch.json")]
    return next(place for place in places if place.exists()).stat().st_mtime


def _report_of(run: Path) -> Report:
    """Return the report of a run folder, or of a report's file.

    Raises:
        TraceError: the file is damaged, or those that a killed run has left.
    """
    from gradscope.report import load_report

    if run.is_dir() and not (run / "report.json").exists():
        from gradscope.watch_report import is_watched, report_of_killed_watch

        if is_watched(run):
            return report_of_killed_watch(run)
        from gradscope.report_builder import report_of_killed_run

        return report_of_killed_run(run)
    return load_report(run)
