"""How fast a sweep trains: member-steps per second, beside scripts that train one network after another.

    python -m benchmarks.sweep

README.md, beside this file, says what is measured and how to read it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress

from benchmarks import digit_files, environment
from benchmarks.overhead import RESULTS, write
from benchmarks.sweep_cases import CASES, MAIN, QUICK, Case
from benchmarks.sweep_lineup import ALONE, EACH_CORE
from benchmarks.sweep_measure import Machine, Plan, measure
from benchmarks.sweep_processes import Crew
from benchmarks.sweep_summary import case_table, growth_table, headline, unrest
from gradscope.processes import cores

ALL = {case.name: case for case in (*CASES, QUICK)}
PLANS = {MAIN: Plan(48, 1.0, 8), QUICK.name: Plan(2, 0.02, 1)}
OTHER_PLAN = Plan(12, 1.0, 2)
IMAGES, QUICK_IMAGES = 60_000, 6_000


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--cases", default="", metavar="NAMES", help=f"Some of {', '.join(ALL)}.  [default: all but {QUICK.name}]")
@click.option("--quick", is_flag=True, help="Whether it runs at all: one tiny case, two rounds, seconds.")
@click.option("--rounds", type=click.IntRange(1), help="Blocks of each contender.  [default: 48 main, 12 others]")
@click.option("--population", type=click.IntRange(1), help="Most networks in lock-step.  [default: as gradscope sweep]")
@click.option("--device", type=click.Choice(("cpu", "cuda")), default="cpu", show_default=True)
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where MNIST lies.  [default: GRADSCOPE_DATA, or ./data]")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="[default: results/sweep-<date>.json here]")
def main(
    cases: str,
    quick: bool,
    rounds: int | None,
    population: int | None,
    device: str,
    data_dir: Path | None,
    out: Path | None,
) -> None:
    """Time gradscope's populations against the published script, the best plain loop, and the matrix products alone."""
    chosen, file = _chosen(cases, quick), out or RESULTS / f"sweep-{datetime.now(UTC):%Y-%m-%d}.json"
    console = Console()
    results: list[dict[str, Any]] = []
    with ExitStack() as stack:
        source, folder = stack.enter_context(_images(data_dir, QUICK_IMAGES if quick else IMAGES))
        console.print(f"data: {source}")
        crews = {name: stack.enter_context(crew) for name, crew in _crews(folder, device).items()}
        kept = {**_described(device, crews), "data": source, "results": results}
        for case in chosen:
            plan = PLANS.get(case.name, OTHER_PLAN)
            plan = plan._replace(rounds=rounds or plan.rounds)
            results.append(_measured(case, plan, Machine(crews, device == "cuda", population)))
            console.print(case_table(results[-1]))
            kept["environment"]["load_average_at_end"] = environment.load_average()
            write(file, kept)
    if len(results) > 1:
        console.print(growth_table(results))
    for line in (*headline(results[0]), *filter(None, map(unrest, results))):
        console.print(line, soft_wrap=True)
    console.print(f"written: {file}", soft_wrap=True)


def _measured(case: Case, plan: Plan, machine: Machine) -> dict[str, Any]:
    """Measure a case while a bar on stderr says how far it is."""
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task(f"{case.name}: first steps", total=None)
        name = f"{case.name}: rounds"
        return measure(
            case, plan, machine, lambda done: progress.update(bar, description=name, total=plan.rounds, completed=done)
        )


def _chosen(cases: str, quick: bool) -> list[Case]:
    names = cases.replace(",", " ").split() or ([QUICK.name] if quick else [case.name for case in CASES])
    for name in names:
        if name not in ALL:
            raise click.BadParameter(f"--cases: expected some of {', '.join(ALL)}, got {name!r}")
    return [ALL[name] for name in names]


@contextmanager
def _images(data_dir: Path | None, images: int) -> Iterator[tuple[str, Path]]:
    """Yield what the images are, and the folder that they lie in: MNIST, or random ones that are gone after the block."""
    if found := digit_files.find(data_dir):
        yield "MNIST", found
    elif data_dir:
        raise click.BadParameter(f"--data-dir: expected a folder with {digit_files.FOLDER}/*-ubyte, got {data_dir}")
    else:
        with tempfile.TemporaryDirectory(prefix="gradscope-benchmark-") as folder:
            digit_files.write_random(Path(folder), images)
            yield f"{images} random images of MNIST's shape, since MNIST was not found (see --data-dir)", Path(folder)


def _crews(folder: Path, device: str) -> dict[str, Crew]:
    """Start the processes: one as a script's is, and those with one thread each; a GPU is shared by few."""
    if device == "cuda" and not _has_cuda():
        raise click.BadParameter("--device: expected a device of this machine, got cuda")
    count = 1 if device == "cuda" else cores()
    return {ALONE: Crew(1, folder, device, one_thread=False), EACH_CORE: Crew(count, folder, device, one_thread=True)}


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def _described(device: str, crews: Mapping[str, Crew]) -> dict[str, Any]:
    """Return where is measured; of the crews, what tells one from the other."""
    told = {name: crew.call("describe", [()])[0] for name, crew in crews.items()}
    own = ("threads", "thread_settings")
    return {
        "environment": {key: value for key, value in told[ALONE].items() if key not in own},
        "device": device,
        "crews": {name: {"processes": len(crew), **{key: told[name][key] for key in own}} for name, crew in crews.items()},
    }


if __name__ == "__main__":
    main()
