"""`gradscope check PATHS`: are the recipes still what they are expected to be?"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from gradscope.check_options import CheckOptions
    from gradscope.check_result import CheckResult

FORMATS = ("text", "json", "github", "junit", "sarif")


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--fast", is_flag=True, help="Look at step 0 only, without training: what can be told before it.")
@click.option("--update", is_flag=True, help="Write the baselines, baselines/NAME.json beside each recipe.")
@click.option("--strict", is_flag=True, help="A recipe without a baseline fails.")
@click.option("--format", "form", type=click.Choice(FORMATS), help="How to print (default: text; github under GitHub Actions).")
@click.option(
    "--out", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Write it to a file; text is printed."
)
@click.option("--jobs", metavar="N", type=click.IntRange(min=1), help="Recipes at a time, a process each (default: cores).")
@click.option("--seeds", metavar="N", type=int, help="Number of seeds (default: the recipe's).")
@click.option("--share", metavar="S", type=click.FloatRange(0, 1, min_open=True), default=0.6, show_default=True,
              help="Share of the seeds in which a finding must stand to count.")  # fmt: skip
@click.option("--steps", metavar="N", type=click.IntRange(min=1), help="Training steps (default: what the rules need).")
@click.option("--device", metavar="D", help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where data sets lie (default: GRADSCOPE_DATA, else ./data).")
@click.option("--download", is_flag=True, help="Download a data set that is absent.")
@click.option("--allow-code", is_flag=True, help="Run code of your own that a recipe names.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
def check(
    paths: tuple[Path, ...], fast: bool, update: bool, strict: bool, form: str | None, out: Path | None, jobs: int | None,
    seeds: int | None, share: float, steps: int | None, device: str | None, data_dir: Path | None, download: bool,
    allow_code: bool, quiet: bool,
) -> int:  # fmt: skip
    """Check recipes against what they expect and against their baselines; PATHS are files, folders or patterns.

    Each is trained as long as its rules need, without fixes. `expect: [rules]` asks that these findings stand in the share of
    the seeds, `expect: healthy` that no error does.

    Exit code 0: as expected; 1: not; 2: wrong use or a bad recipe; 3: could not judge; 130: interrupted.
    """
    if fast and (update or steps):
        raise click.UsageError(f"--fast looks at step 0 only; leave --{'update' if update else 'steps'} out")
    if out is not None and not out.absolute().parent.is_dir():  # told before the training, not after it
        raise click.UsageError(f"{out}: cannot be written: expected a folder that exists; name another file with --out")
    from gradscope.check_options import CheckOptions
    from gradscope.check_workers import check_all
    from gradscope.cli import EXIT_INTERRUPTED
    from gradscope.cli.machine import share_the_machine
    from gradscope.processes import cores
    from gradscope.progress import recipes_progress

    options = CheckOptions(
        fast=fast, seeds=seeds, share=share, steps=steps, update=update, strict=strict, device=device, data_dir=data_dir,
        download=download, allow_code=allow_code,
    )  # fmt: skip
    files, results = _recipes(paths)
    order = {str(file): i for i, file in enumerate(files)}
    files = [file for file in files if _is_sound(file, options, results)]
    interrupted = False
    if files:
        share_the_machine()
        with recipes_progress(len(files), enabled=not quiet) as advance, _interruptible():

            def told(result: CheckResult) -> None:
                results.append(result)
                advance(result.recipe)

            try:
                check_all(files, options, jobs=jobs or cores(), told=told)
            except KeyboardInterrupt:
                interrupted = True
    results.sort(key=lambda result: order.get(result.recipe, -1))
    for left in _left_baselines(paths):
        click.echo(f"gradscope: {left}: a baseline without a recipe; rename it with its recipe, or delete it", err=True)
    _show(results, form or ("github" if os.environ.get("GITHUB_ACTIONS") == "true" else "text"), out)
    if interrupted:
        click.echo(f"gradscope: interrupted; {len(results)} of {len(order)} recipes were checked", err=True)
        return EXIT_INTERRUPTED
    return _exit_code(results)


def _recipes(paths: Sequence[Path]) -> tuple[list[Path], list[CheckResult]]:
    """Return the files that the paths mean, each once, and a result for each path that means none.

    Sweeps that a folder or a pattern stands for are left out, which is told; one that is named is a bad recipe.
    """
    from gradscope.check_result import CheckResult
    from gradscope.errors import RecipeError
    from gradscope.recipe_folders import singles_and_sweeps

    files: dict[Path, Path] = {}
    left: dict[Path, Path] = {}
    results: list[CheckResult] = []
    for path in paths:
        try:
            singles, sweeps = singles_and_sweeps(path)
        except RecipeError as error:
            results.append(CheckResult(recipe=str(path), outcome="bad recipe", message=str(error)))
            continue
        for file in singles:
            files.setdefault(file.absolute(), file)
        left |= {file.absolute(): file for file in sweeps}
    if untold := [str(file) for key, file in left.items() if key not in files]:
        names = untold[0] + (f" and {len(untold) - 1} more" if untold[1:] else "")
        click.echo(f"gradscope: not checked: {names}: grids of networks, which `gradscope sweep` runs", err=True)
    return list(files.values()), results


def _left_baselines(paths: Sequence[Path]) -> list[Path]:
    """Return the baselines in the checked folders that no recipe has any more: one that was renamed is compared with none."""
    from gradscope.baseline import FOLDER
    from gradscope.recipe_file import SUFFIXES

    found = (file for path in paths if path.is_dir() for file in path.rglob(f"{FOLDER}/*.json"))
    return sorted(f for f in found if not any((f.parent.parent / f"{f.stem}{suffix}").exists() for suffix in SUFFIXES))


def _is_sound(file: Path, options: CheckOptions, results: list[CheckResult]) -> bool:
    """Tell whether a file is a recipe, before torch is loaded; else add what is wrong with it to the results.

    Raises:
        RecipeError: it is the options that are wrong.
    """
    from gradscope.check_result import CheckResult
    from gradscope.errors import RecipeError
    from gradscope.recipe import replace
    from gradscope.recipe_file import load_single

    try:
        recipe = load_single(file)
    except RecipeError as error:
        results.append(CheckResult(recipe=str(file), name=file.stem, outcome="bad recipe", message=str(error)))
        return False
    replace(recipe, seeds=options.seeds, device=options.device)
    return True


def _exit_code(results: Sequence[CheckResult]) -> int:
    from gradscope.cli import EXIT_CANNOT_JUDGE, EXIT_DONE, EXIT_NOT_EXPECTED, EXIT_WRONG_USE

    codes = {"bad recipe": EXIT_WRONG_USE, "not as expected": EXIT_NOT_EXPECTED, "could not judge": EXIT_CANNOT_JUDGE}
    outcomes = {result.outcome for result in results}
    return next((code for outcome, code in codes.items() if outcome in outcomes), EXIT_DONE)


def _show(results: Sequence[CheckResult], form: str, out: Path | None) -> None:
    """Print the results, or write them to a file and print them as text.

    Raises:
        WriteError: the file cannot be written.
    """
    from gradscope.cli.report import put
    from gradscope.run_folder import write_text

    is_judged = any(result.outcome in ("as expected", "not as expected") for result in results)
    if not is_judged or (form != "text" and out is None):
        for message in dict.fromkeys(result.message for result in results if result.message):
            click.echo(message, err=True)
    if out is not None:
        write_text(out, _rendered(results, form, is_file=True))
    if form == "github":
        _add_summary(results)
    printed = "text" if out is not None else form
    if is_judged or printed != "text":
        put(lambda: _rendered(results, printed))


def _rendered(results: Sequence[CheckResult], form: str, *, is_file: bool = False) -> str:
    """Return the results in a format, in what stdout (or a file in UTF-8) can hold."""
    from gradscope.renderers import check_github, check_json, check_junit, check_sarif, check_text
    from gradscope.renderers.console import stdout_console

    encoding = "utf-8" if is_file else sys.stdout.encoding or "utf-8"
    console = stdout_console()
    renderers: dict[str, Callable[[], str]] = {
        "text": lambda: check_text.render(
            results,
            color=not is_file and console.color_system is not None,
            ascii=not encoding.lower().startswith("utf"),
            width=console.width,
        ),
        "json": lambda: check_json.render(results),
        "github": lambda: check_github.render(results, _root()),
        "junit": lambda: check_junit.render(results),
        "sarif": lambda: check_sarif.render(results, _root()),
    }
    text = renderers[form]()
    if form == "github" and not is_file:  # the commands become annotations, and what is above them the log
        text = check_text.render(results) + "\n" + text
    return text.encode(encoding, "replace").decode(encoding)


def _add_summary(results: Sequence[CheckResult]) -> None:
    """Append the table to the summary of the workflow's step, where there is one.

    Raises:
        WriteError: it cannot be written.
    """
    from gradscope.errors import WriteError
    from gradscope.renderers.check_github import summary

    if not (name := os.environ.get("GITHUB_STEP_SUMMARY")):
        return
    try:
        with Path(name).open("a", encoding="utf-8") as file:
            file.write(summary(results) + "\n")
    except OSError as error:
        raise WriteError(f"{name}: cannot be written: {error.strerror}; GITHUB_STEP_SUMMARY names it") from error


def _root() -> Path:
    """Return the repository's folder: the nearest with .git, else the workflow's workspace, else this one."""
    here = Path.cwd()
    near = next((folder for folder in (here, *here.parents) if (folder / ".git").exists()), None)
    return near or Path(os.environ.get("GITHUB_WORKSPACE") or here)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Turn SIGTERM into what Ctrl-C is."""
    import signal

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
