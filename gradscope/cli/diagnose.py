"""`gradscope diagnose RECIPE`: the main job."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--data", metavar="D", help="Other data: digits, mnist, fashion-mnist, cifar10, a file.npz.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where data sets lie (default: GRADSCOPE_DATA, else ./data).")
@click.option("--download", is_flag=True, help="Download a data set that is absent.")
@click.option("--device", metavar="D", help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--seeds", metavar="N", type=int, help="Number of seeds.")
@click.option("--most-seeds", metavar="N", type=int, help="Go on to so many seeds with fixes whose verdict is open.")
@click.option("--epochs", metavar="N", type=int, help="Number of epochs.")
@click.option("--steps", metavar="N", type=click.IntRange(min=1), help="At most so many training steps, also to find causes.")
@click.option("--fixes", metavar="LIST", help="Fixes to try, comma-separated, or auto, or none.")
@click.option("--causes/--no-causes", default=True, show_default=True,
              help="Find causes by intervention: train again with one thing changed at a time.")  # fmt: skip
@click.option("--out", metavar="DIR", type=click.Path(path_type=Path), default=Path("runs"), show_default=True,
              help="Folder for runs; each makes a folder of its own below.")  # fmt: skip
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to print.")
@click.option("--allow-code", is_flag=True, help="Run code of your own that the recipe names.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar; print the verdict's line only.")
def diagnose(
    recipe: Path, data: str | None, data_dir: Path | None, download: bool, device: str | None, seeds: int | None,
    most_seeds: int | None, epochs: int | None, steps: int | None, fixes: str | None, causes: bool, out: Path, form: str,
    allow_code: bool, quiet: bool,
) -> int:  # fmt: skip
    """Train RECIPE under the recorder, say where and why its gradient dies, and prove which fix works.

    Exit code 0: done, whatever was found; 2: wrong use or a bad recipe; 3: could not judge; 130: interrupted.
    """
    from gradscope.cli import EXIT_CANNOT_JUDGE, EXIT_DONE, EXIT_INTERRUPTED, EXIT_WRONG_USE
    from gradscope.cli.interrupt import stop_on_interrupt
    from gradscope.cli.machine import share_the_machine
    from gradscope.cli.report import put, show
    from gradscope.errors import CodeError, WriteError
    from gradscope.recipe import replace
    from gradscope.recipe_file import load_single
    from gradscope.report import Report

    chosen = replace(
        load_single(recipe), data=data, seeds=seeds, most_seeds=most_seeds, epochs=epochs, device=device, fixes=_fix_list(fixes)
    )
    if chosen.needs_code and not allow_code:
        named, where = chosen.needs_code[0]
        raise CodeError(f"{where}: '{named}' runs code of its own; read it, then add --allow-code")

    share_the_machine()
    from gradscope.data import load_recipe_data
    from gradscope.device import choose_device
    from gradscope.progress import training_progress
    from gradscope.run_folder import discard, make_run_folder
    from gradscope.trained_arms import check_fit
    from gradscope.trial import Conditions, planned_steps, run_trial

    place = choose_device(chosen)
    samples = load_recipe_data(chosen, data_dir=data_dir, download=download, allow_code=allow_code)
    check_fit(chosen, samples)
    total = planned_steps(chosen, samples, Conditions(place, steps=steps, allow_code=allow_code))
    folder = make_run_folder(out, chosen.name)
    failure: WriteError | None = None
    with stop_on_interrupt() as stop, training_progress(total, enabled=False if quiet else None) as advance:
        options = (*(["--data-dir", str(data_dir)] if data_dir else []), *(["--allow-code"] if allow_code else []))
        conditions = Conditions(
            place, folder, steps, allow_code, lambda n: advance(n), lambda: stop[0], causes, options,
            more_planned=lambda n: advance(0, more=n), doing=lambda text: advance(0, text),
        )  # fmt: skip
        try:
            report = run_trial(chosen, samples, conditions)
        except WriteError as error:
            if not isinstance(error.report, Report):
                raise
            failure, report = error, error.report
        except BaseException:
            discard(folder)
            raise
    if quiet and form == "text":
        from gradscope.renderers.verdict import headline

        put(lambda: f"{report.verdict.upper()} {headline(report)}\n")
    else:
        show(report, form, folder)
    if failure:
        click.echo(f"gradscope: {failure}", err=True)
        return EXIT_WRONG_USE
    if report.interrupted:
        return EXIT_INTERRUPTED
    return EXIT_CANNOT_JUDGE if report.verdict == "undecided" else EXIT_DONE


def _fix_list(text: str | None) -> list[str] | str | None:
    if text is None or text.strip() == "auto":
        return text and text.strip()
    return [] if text.strip() == "none" else [name.strip() for name in text.split(",") if name.strip()]
