"""`gradscope sweep RECIPE`: train a grid of networks, and say what came of each cell."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gradscope.cli.limits import Limits, OutOfPatience, finite_hours

if TYPE_CHECKING:
    import torch

    from gradscope.cell import Precision
    from gradscope.recipe import Recipe
    from gradscope.sweep_engine import Engine
    from gradscope.sweep_loop import Ended
    from gradscope.sweep_report import SweepResult

SWEEPS = Path("runs/sweeps")


def _known_engine(ctx: click.Context, param: click.Parameter, value: str) -> str:
    if value != "processes" and value.partition(":")[0] != "ray":
        raise click.BadParameter(f"expected processes, ray or ray:ADDRESS, got '{value}'", ctx, param)
    return value


class _NamedFolder(click.Path):
    """A folder; an empty name, as an unset variable of a shell gives it, is none, where click takes it for this folder."""

    def convert(
        self, value: str | PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | PathLike[str]:
        if value == "":
            self.fail("expected a folder, got an empty name; leave --out out for the default", param, ctx)
        return super().convert(value, param, ctx)


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--out", metavar="DIR", type=_NamedFolder(path_type=Path, file_okay=False),
              help=f"The sweep's folder (default: {SWEEPS}/NAME); what stands in it is not trained again.")  # fmt: skip
@click.option("--data", metavar="D", help="Other data: digits, mnist, fashion-mnist, cifar10, a file.npz.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where data sets lie (default: GRADSCOPE_DATA, else ./data).")
@click.option("--download", is_flag=True, help="Download a data set that is absent.")
@click.option("--device", metavar="D", help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--seeds", metavar="N", type=int, help="Number of seeds.")
@click.option("--epochs", metavar="N", type=int, help="Number of epochs.")
@click.option("--steps", metavar="N", type=click.IntRange(min=1), help="At most so many training steps of each network.")
@click.option("--jobs", metavar="N", type=click.IntRange(min=1), help="Processes (default: one per core; one for a GPU).")
@click.option("--engine", metavar="E", default="processes", show_default=True, callback=_known_engine,
              help="Where to train: processes of this machine, or ray[:ADDRESS], a Ray cluster.")  # fmt: skip
@click.option("--precision", type=click.Choice(["float32", "bf16"]), default="float32", show_default=True,
              help="Of the matrix products.")  # fmt: skip
@click.option("--max-hours", metavar="H", type=float, callback=finite_hours, help="End after so many hours.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to print.")
@click.option("--allow-code", is_flag=True, help="Run code of your own that the recipe names.")
@click.option("-q", "--quiet", is_flag=True, help="No progress; print one line only.")
def sweep(
    recipe: Path, out: Path | None, data: str | None, data_dir: Path | None, download: bool, device: str | None,
    seeds: int | None, epochs: int | None, steps: int | None, jobs: int | None, engine: str, precision: Precision,
    max_hours: float | None, form: str, allow_code: bool, quiet: bool,
) -> int:  # fmt: skip
    """Train every cell of RECIPE's grid from every seed, and say what came of each.

    Networks that fit together train in lock-step, in a process for each core. Whatever ends the sweep, the same command goes
    on where it was, and comes to the same results.

    Exit code 0: done, or the time is over; 2: wrong use or a bad recipe; 3: some cells could not be trained; 130: interrupted.
    """
    limits = Limits(max_hours)
    from gradscope.cli.interrupt import stop_on_interrupt
    from gradscope.cli.machine import share_the_machine
    from gradscope.errors import CodeError
    from gradscope.grid import cells_of
    from gradscope.journal import NAME as JOURNAL
    from gradscope.recipe import replace
    from gradscope.recipe_file import load_recipe

    chosen = replace(load_recipe(recipe), data=data, seeds=seeds, epochs=epochs, device=device)
    cells = cells_of(chosen)
    code = [named for cell in cells for named in cell.recipe.needs_code]
    if code and not allow_code:
        raise CodeError(f"{code[0][1]}: '{code[0][0]}' runs code of its own; read it, then add --allow-code")

    share_the_machine()
    folder = out or SWEEPS / chosen.name
    with ExitStack() as held:
        is_fresh = not (folder / JOURNAL).exists()
        networks = sum(len(cell.recipe.seed_list) for cell in cells) if is_fresh else 0
        start, place = _engine(engine, chosen, jobs, networks, held)
        from gradscope.progress import sweep_progress
        from gradscope.sweep import prepared
        from gradscope.sweep_loop import Watched
        from gradscope.sweep_results import save_results, sweep_result
        from gradscope.sweep_samples import Sweeping

        how = Sweeping(folder, place, steps, precision, allow_code, data_dir, download, look=limits.look)
        limits.stop = held.enter_context(stop_on_interrupt())
        try:
            ready = held.enter_context(prepared(chosen, cells, how))
        except OutOfPatience:
            return _ended_before_training(limits)
        if damaged := ready.journal.found.damaged:
            lines = ", ".join(map(str, damaged))
            click.echo(f"gradscope: {ready.journal.path}: damaged lines are left out, their cells run again: {lines}", err=True)
        if ready.replaces:
            text = f"the tables of another sweep are replaced (other {', '.join(ready.replaces)}); the journal keeps both"
            click.echo(f"gradscope: {folder}: {text}; name another folder with --out to keep the tables", err=True)
        for line in ready.others():
            click.echo(f"gradscope: {ready.journal.path}: {line}; name another folder with --out to train all here", err=True)
        extent = ready.extent()
        if not quiet:
            click.echo(_told_extent(*extent), err=True)
        with sweep_progress(*extent, enabled=not quiet) as told:
            watched = Watched(told, lambda: limits.interrupted, ready.work_of, limits.left_s())
            ended = ready.train(start(len(ready.left)), watched)
        result = sweep_result(cells, ready.runs(), recipe=chosen.name).model_copy(update={"made": ready.made()})
        rounded = precision if precision != "float32" else None
        options = {
            "data": data,
            "seeds": seeds,
            "epochs": epochs,
            "steps": steps,
            "precision": rounded,
            "allow-code": allow_code,
        }
        save_results(result, folder, command=_command(recipe, options))
    _show(result, form, folder, quiet=quiet)
    return _exit_code(result, ended)


def _told_extent(networks: int, steps: int, done: int, done_steps: int) -> str:
    """Return what there is to train: on paper a grid is larger than it looks."""
    rest = f"; {done:,} are trained already" if done else ""
    return f"gradscope: {networks - done:,} networks to train, {max(steps - done_steps, 0):,} steps of single networks{rest}"


def _ended_before_training(limits: Limits) -> int:
    from gradscope.cli import EXIT_DONE, EXIT_INTERRUPTED

    why = "interrupted" if limits.interrupted else "the time is over"
    then = "the same command goes on" if limits.interrupted else "give it more --max-hours, or a smaller grid"
    click.echo(f"gradscope: {why} before anything was trained, and the tables are as they were; {then}", err=True)
    return EXIT_INTERRUPTED if limits.interrupted else EXIT_DONE


def _command(recipe: Path, options: Mapping[str, object]) -> str:
    """Return the command that makes the tables, for their first lines; what only says where and how fast is left out."""
    given = [(f"--{name}",) if value is True else (f"--{name}", str(value)) for name, value in options.items() if value]
    return shlex.join(["gradscope", "sweep", str(recipe), *(part for parts in given for part in parts)])


def _engine(
    name: str, recipe: Recipe, jobs: int | None, networks: int, held: ExitStack
) -> tuple[Callable[[int], Engine], torch.device]:
    """Return what gives the engine of this name for so many populations, and the device that it trains on.

    Processes take seconds to load torch. Those that so many `networks`, all of them to be trained, need in any case start now.
    """
    if name != "processes":
        from gradscope.sweep_ray import RayEngine

        engine = held.enter_context(closing(RayEngine(name.partition(":")[2] or None, jobs=jobs)))
        return lambda populations: engine, engine.device(recipe)
    from gradscope.processes import cores
    from gradscope.sweep_plan import fewest_populations
    from gradscope.sweep_workers import ProcessEngine

    processes = held.enter_context(closing(ProcessEngine(min(1, networks))))  # one in any case, whatever the device
    from gradscope.device import choose_device  # loads torch, while the process does

    place = choose_device(recipe)
    is_gpu = place.type != "cpu"
    most = jobs or (1 if is_gpu else cores())

    def grown(populations: int) -> ProcessEngine:
        processes.grow(min(most, populations))
        return processes

    if networks:
        grown(fewest_populations(networks, is_gpu=is_gpu))
    return grown, place


def _show(result: SweepResult, form: str, folder: Path, *, quiet: bool) -> None:
    from gradscope.cli.report import put
    from gradscope.cli.sweep_table import table_of

    if quiet and form != "json":
        put(lambda: f"{_finished(result)} of {len(result.rows)} cells are done: {folder / 'results.csv'}\n")
        return
    put(table_of(result, form, folder))


def _exit_code(result: SweepResult, ended: Ended) -> int:
    """Say on stderr what is not done, and why; return the exit code for it."""
    from gradscope.cli import EXIT_CANNOT_JUDGE, EXIT_DONE, EXIT_INTERRUPTED

    for line in ended.given_up:
        click.echo(f"gradscope: could not be trained: {line}", err=True)
    if ended.interrupted or ended.out_of_time:
        why = "interrupted" if ended.interrupted else "the time is over"
        then = "the same command goes on"
        if ended.out_of_time and not ended.runs:
            then = "no population came to its end in it, and what is begun is not kept: give it more --max-hours"
        click.echo(f"gradscope: {why}: {_finished(result)} of {len(result.rows)} cells are done; {then}", err=True)
    if ended.interrupted:
        return EXIT_INTERRUPTED
    return EXIT_CANNOT_JUDGE if ended.given_up else EXIT_DONE


def _finished(result: SweepResult) -> int:
    return sum(bool(row.seeds) and not row.missing for row in result.rows)
