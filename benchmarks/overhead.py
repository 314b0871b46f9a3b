"""What watching costs: the time of a training step under gradscope, and under what people use instead, over a bare step.

    python -m benchmarks.overhead

README.md, beside this file, says what is measured and how to read it.
"""

from __future__ import annotations

import cProfile
import gc
import json
import random
import re
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import Progress

from benchmarks import environment
from benchmarks.plan import Plan
from benchmarks.profiling import tables
from benchmarks.summary import Clocks, summary, table

if TYPE_CHECKING:
    from benchmarks.arms import Bare, Data

RESULTS = Path(__file__).parent / "results"
BASELINE = "bare"
ARM_NAMES = ("bare", "bare-again", "watch", "watch-every", "item-hooks", "histograms")
START = 200  # step from which on the default schedule looks at every hundredth
WARMUP_STEPS, LEAD_IN_STEPS = 101, 3  # a scope writes after 10, 30 and 100 steps, then every so many seconds
ROUNDS = {"small": 200, "large": 30}  # half a minute of each arm at least, so that a scope writes several times
STEPS = {"small": 100, "large": 100}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rounds", type=click.IntRange(1), help="Blocks per arm.  [default: 200 small, 30 large]")
@click.option("--steps", type=click.IntRange(1), help="Timed steps per block.  [default: 100]")
@click.option("--only", type=click.Choice(tuple(ROUNDS)), help="One of the two networks.")
@click.option("--arm", "arm_names", multiple=True, type=click.Choice(ARM_NAMES[1:]), help="Some of the arms; repeatable.")
@click.option("--threads", default="1,2", show_default=True, help="Counts for torch.set_num_threads, one after the other.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="[default: results/overhead-<date>.json here]")
@click.option("--profile", type=click.Choice(ARM_NAMES), help="Print where this arm's time goes instead; writes no file.")
def main(
    rounds: int | None,
    steps: int | None,
    only: str | None,
    arm_names: tuple[str, ...],
    threads: str,
    out: Path | None,
    profile: str | None,
) -> None:
    """Time a training step under gradscope, and under what people use instead, against a bare one."""
    environment.calm_threads()
    counts, networks = _thread_counts(threads), [only] if only else list(ROUNDS)
    plans = {network: _plan(network, rounds, steps) for network in networks}
    from benchmarks.arms import Data

    console, data = Console(), Data()
    if profile:
        for network, plan in plans.items():
            console.rule(f"{profile}, {network}, {counts[0]} thread(s)")
            print_profile(network, profile, data, plan, counts[0], console)
        return
    names = [name for name in ARM_NAMES if name == BASELINE or not arm_names or name in arm_names]
    file = out or RESULTS / f"overhead-{datetime.now(UTC):%Y-%m-%d}.json"
    described, results = environment.describe(), []
    for count in counts:
        for network, plan in plans.items():
            results.append(measure(network, names, data, plan, count))
            console.print(table(results[-1]))
            described["load_average_at_end"] = environment.load_average()
            write(file, {"environment": described, "results": results})
    console.print(f"written: {file}", soft_wrap=True)


def write(file: Path, content: dict[str, Any]) -> None:
    """Write what there is so far: an interrupted run leaves the networks that were finished."""
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {"taken": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", **content}
    text = re.sub(r"\[[^][{}]*\]", lambda numbers: " ".join(numbers[0].split()), json.dumps(content, indent=1))
    file.write_text(text + "\n", encoding="utf-8")


def measure(network: str, names: list[str], data: Data, plan: Plan, threads: int) -> dict[str, Any]:
    """Time blocks of all arms in turns, in a new order each round."""
    import torch

    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory(prefix="gradscope-benchmark-") as folder:
        arms = {name: _ready(network, name, data, plan, Path(folder) / name) for name in names}
        order = random.Random(0)
        clocks: dict[str, list[Clocks]] = {name: [] for name in names}
        try:
            with Progress(console=Console(stderr=True), transient=True) as progress:
                for _ in progress.track(range(plan.rounds), description=f"{network}, {threads} thread(s)"):
                    for name in order.sample(names, len(names)):
                        clocks[name].append(time_block(arms[name], plan))
        finally:
            for arm in arms.values():
                arm.close()
        bare = list(arms[BASELINE].model.parameters())
        described = {
            name: {
                "what": arm.what,
                **summary(clocks[name], clocks[BASELINE], plan.steps),
                "same_weights": all(torch.equal(p, q) for p, q in zip(arm.model.parameters(), bare, strict=True)),
                "files_bytes": sum(file.stat().st_size for file in (Path(folder) / name).rglob("*") if file.is_file()),
            }
            for name, arm in arms.items()
        }
    size = arms[BASELINE].size
    return {
        "network": network,
        "widths": size.widths,
        "batch": size.batch,
        "threads": threads,
        "rounds": plan.rounds,
        "steps": plan.steps,
        "start": plan.start,
        "arms": described,
    }


def time_block(arm: Bare, plan: Plan) -> Clocks:
    """Return wall and processor seconds of one block; what other arms left to the garbage collector is not its burden."""
    gc.collect()
    arm.run(plan.lead_in)
    wall, processor = time.perf_counter(), time.process_time()
    arm.run(plan.steps)
    times = time.perf_counter() - wall, time.process_time() - processor
    _check_no_mode_is_on(arm)
    return times


def print_profile(network: str, name: str, data: Data, plan: Plan, threads: int, console: Console) -> None:
    """Print which functions an arm's timed steps spend their time in, per step."""
    import torch

    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory(prefix="gradscope-benchmark-") as folder:
        arm = _ready(network, name, data, plan, Path(folder))
        profiler = cProfile.Profile()
        try:
            for _ in range(plan.rounds):
                arm.run(plan.lead_in)
                profiler.runcall(arm.run, plan.steps)
        finally:
            arm.close()
    for shown in tables(profiler, plan.steps * plan.rounds):
        console.print(shown)


def _plan(network: str, rounds: int | None, steps: int | None) -> Plan:
    plan = Plan(WARMUP_STEPS, LEAD_IN_STEPS, steps or STEPS[network], START, rounds or ROUNDS[network])
    if steps is None:
        plan = replace(plan, steps=max(plan.steps, plan.spacing))
    if plan.steps % plan.spacing:
        raise click.UsageError(f"--steps: expected whole periods of the schedule, of {plan.spacing} steps, got {steps}")
    return plan


def _ready(network: str, name: str, data: Data, plan: Plan, folder: Path) -> Bare:
    """Return an arm after its warm-up; the next one is built only then, since this one looks at each step of it."""
    from benchmarks.arms import ARMS, SIZES

    arm = next(arm for arm in ARMS if arm.name == name)(SIZES[network], data, plan, folder)
    arm.run(plan.warmup)
    _check_no_mode_is_on(arm)
    return arm


def _check_no_mode_is_on(arm: Bare) -> None:
    """A mode that an arm leaves on would see, and slow, the operations of the others."""
    from torch.overrides import _get_current_function_mode_stack
    from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

    left = [*_get_current_function_mode_stack(), *_get_current_dispatch_mode_stack()]
    if left:
        raise RuntimeError(f"expected no torch mode to be on after a block of {arm.name}, found {left}")


def _thread_counts(text: str) -> list[int]:
    try:
        counts = [int(part) for part in text.replace(",", " ").split()]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1:
        raise click.BadParameter(f"--threads: expected counts such as 1,2, got {text!r}")
    return counts


if __name__ == "__main__":
    main()
