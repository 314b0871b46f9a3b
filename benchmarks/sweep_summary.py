"""What is kept and printed of the sweep benchmark: times per member-step, and how many times faster gradscope is."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from benchmarks.summary import Clocks, summary
from benchmarks.sweep_cases import MAIN
from benchmarks.sweep_lineup import GRADSCOPE, PLAIN_ALONE, PLAIN_EACH, PRODUCTS, PUBLISHED, WHAT, Entrant
from benchmarks.sweep_processes import Block

SCALE = 1000  # times are kept per so many member-steps, as numbers that survive rounding
UNREST, LEAST_BLOCKS = 1.3, 4  # quartiles of so many blocks that lie so far apart; groups of networks differ by 1.05 or so
WANTED = {"the best plain loop with all threads": 2.5, "the published script": 7.0}


def summarised(entrants: Sequence[Entrant], blocks: Mapping[str, Sequence[Block]]) -> dict[str, Any]:
    """Return each contender's times; a ratio is its time over gradscope's of the same round: how many times faster that is."""
    clocks = {label: [_clocks(block) for block in of_label] for label, of_label in blocks.items()}
    return {
        entrant.label: {
            "what": entrant.what,
            "processes": entrant.processes,
            "block_member_steps": statistics.median(block.member_steps for block in blocks[entrant.label]),
            **summary(clocks[entrant.label], clocks[GRADSCOPE], SCALE),
        }
        for entrant in sorted(entrants, key=lambda entrant: list(WHAT).index(entrant.label))
    }


def member_step_ms(blocks: Sequence[Block]) -> float:
    """Return the median of milliseconds per member-step."""
    return round(statistics.median(wall for wall, _ in map(_clocks, blocks)) / SCALE * 1000, 4)


def _clocks(block: Block) -> Clocks:
    return tuple(seconds / block.member_steps * SCALE for seconds in (block.wall_s, block.processor_s))  # type: ignore[return-value]


def case_table(result: Mapping[str, Any]) -> Table:
    """Return what is printed of one case."""
    sizes = " to ".join(map(str, dict.fromkeys((result["population"][0], result["population"][-1]))))
    title = f"{result['case']}: {result['members']} x {shape(result['widths'])}, in populations of {sizes}"
    told = [f"{label}: {found['what']}" for label, found in result["contenders"].items()]
    told.append(f"faster: the rate of {GRADSCOPE} over theirs. All steps are of single networks.")
    told.append(f"{GRADSCOPE}'s first steps of a population, with its start: {result['first_steps_ms']:.3g} ms")
    legend = "\n".join(told)
    shown = Table(box=box.SIMPLE, title=title, caption=legend, title_justify="left", caption_justify="left")
    shown.add_column("contender", no_wrap=True)
    for column in ("ms", "steps/s", "faster", "quartiles", "cpu"):
        shown.add_column(column, justify="right", no_wrap=True)
    for label, found in result["contenders"].items():
        ratio, ms = found["ratio"], found["step_ms"]
        shown.add_row(
            label,
            f"{ms:.3g}",
            f"{1000 / ms:,.0f}",
            f"{ratio['median']:.3g}",
            f"{ratio['q1']:.3g} to {ratio['q3']:.3g}",
            f"{found['processor_ratio']['median']:.3g}",
        )
    return shown


def growth_table(results: Sequence[Mapping[str, Any]]) -> Table:
    """Return how the cost grows from case to case."""
    title = f"ms per member-step, and how many times faster {GRADSCOPE} is; Gop/s: of its products"
    shown = Table(box=box.SIMPLE, title=title, title_justify="left")
    shown.add_column("case", no_wrap=True)
    for column in ("published", "plain", "products", GRADSCOPE, "Gop/s"):
        shown.add_column(column, justify="right", no_wrap=True)
    for result in results:
        found = result["contenders"]
        others = (found[label] for label in (PUBLISHED, best_plain(result), PRODUCTS))
        ms = found[GRADSCOPE]["step_ms"]
        cells = (f"{other['step_ms']:.3g} / {other['ratio']['median']:.2f}" for other in others)
        shown.add_row(result["case"], *cells, f"{ms:.3g}", f"{result['product_flops'] / ms / 1e6:.0f}")
    return shown


def headline(result: Mapping[str, Any]) -> list[str]:
    """Return a case's measure in words, a line per contender that gradscope is compared with."""
    names = {
        "the best plain loop with all threads": PLAIN_ALONE,
        "that loop in a process of one thread for each core": PLAIN_EACH,
        "the published script": PUBLISHED,
        "the products alone": PRODUCTS,
    }
    lines = []
    for name, label in names.items():
        if label not in result["contenders"]:  # on a GPU each contender has one process
            continue
        ratio = result["contenders"][label]["ratio"]
        wanted = f"; at least {WANTED[name]:g} is wanted" if name in WANTED and result["case"] == MAIN else ""
        spread = f"quartiles {ratio['q1']:.2f} to {ratio['q3']:.2f}"
        lines.append(f"{result['case']}: {ratio['median']:.2f} times as fast as {name} ({spread}){wanted}")
    return lines


def unrest(result: Mapping[str, Any]) -> str:
    """Return a warning if the blocks of a contender differ so much that others must have computed meanwhile, or nothing."""
    spreads = {}
    for label, found in result["contenders"].items():
        if len(found["block_s"]) >= LEAST_BLOCKS:
            low, _, high = statistics.quantiles(found["block_s"], method="inclusive")
            spreads[label] = high / low
    worst = max(spreads, key=spreads.__getitem__, default="")
    if not worst or spreads[worst] < UNREST:
        return ""
    apart = f"quartiles of {worst}'s blocks lie a factor of {spreads[worst]:.1f} apart, as where other programs compute"
    return f"{result['case']}: not to be relied on: {apart}; measure again on an idle machine"


def best_plain(result: Mapping[str, Any]) -> str:
    """Return the label of the plain loop with the most steps per second."""
    labels = [label for label in (PLAIN_ALONE, PLAIN_EACH) if label in result["contenders"]]
    return min(labels, key=lambda label: float(result["contenders"][label]["step_ms"]))


def shape(widths: Sequence[int]) -> str:
    """Return widths in a few characters.

    >>> shape([784, 500, 256, 10]), shape([784, 500, *[256] * 8, 10])
    ('784-500-256-10', '784-500-256x8-10')
    """
    runs: list[tuple[int, int]] = []
    for width in widths:
        count = runs.pop()[1] if runs and runs[-1][0] == width else 0
        runs.append((width, count + 1))
    return "-".join(str(width) + (f"x{count}" if count > 1 else "") for width, count in runs)
