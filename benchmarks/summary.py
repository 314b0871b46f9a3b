"""From the times of blocks to what is kept and printed of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.table import Table

Clocks = tuple[float, float]  # wall and processor seconds of a block


def summary(blocks: list[Clocks], bare: list[Clocks], steps: int) -> dict[str, Any]:
    """Return an arm's times as ratios to the bare block of the same round."""
    wall, processor = zip(*blocks, strict=True)
    bare_wall, bare_processor = zip(*bare, strict=True)
    return {
        "ratio": _quantiles(wall, bare_wall),
        "processor_ratio": _quantiles(processor, bare_processor),
        # What is done once in many blocks, such as writing to disk, does not show in a median; it does here.
        "total_ratio": round(sum(wall) / sum(bare_wall), 4),
        "step_ms": round(statistics.median(wall) / steps * 1000, 4),
        "block_s": [round(time, 6) for time in wall],
        "processor_s": [round(time, 6) for time in processor],
    }


def table(result: dict[str, Any]) -> Table:
    """Return what is printed of one network and thread count."""
    blocks = f"{result['threads']} thread(s), {result['rounds']} rounds of {result['steps']} steps"
    title = f"{result['network']} ({'-'.join(map(str, result['widths']))}, batch {result['batch']}), {blocks}"
    legend = "\n".join(f"{name}: {arm['what']}" for name, arm in result["arms"].items())
    shown = Table(box=box.SIMPLE, title=title, caption=legend, title_justify="left", caption_justify="left")
    shown.add_column("arm", no_wrap=True)
    for column in ("ms", "ratio", "quartiles", "range", "total", "cpu"):
        shown.add_column(column, justify="right", no_wrap=True)
    for name, arm in result["arms"].items():
        ratio = arm["ratio"]
        shown.add_row(
            name,
            f"{arm['step_ms']:.3g}",
            f"{ratio['median']:.3f}",
            f"{ratio['q1']:.3f} to {ratio['q3']:.3f}",
            f"{ratio['min']:.2f} to {ratio['max']:.2f}",
            f"{arm['total_ratio']:.3f}",
            f"{arm['processor_ratio']['median']:.3f}",
        )
    return shown


def _quantiles(times: Sequence[float], bare: Sequence[float]) -> dict[str, float]:
    ratios = [time / reference for time, reference in zip(times, bare, strict=True)]
    q1, median, q3 = statistics.quantiles(ratios, method="inclusive") if len(ratios) > 1 else ratios * 3
    values = {"min": min(ratios), "q1": q1, "median": median, "q3": q3, "max": max(ratios)}
    return {name: round(value, 4) for name, value in values.items()}
