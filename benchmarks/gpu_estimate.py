"""What one H100 should take for the published grid, on paper.

    python -m benchmarks.gpu_estimate

prints the tables of docs/gpu-estimate.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from benchmarks.gpu_cost import FLOAT, H100, Cost, Gpu, Grid, costs

PRECISIONS = ("float32", "TF32")
WORKING_FRAC = 0.7  # of a peak: a guess of what kernels reach
TEST_SAMPLES, EVALUATIONS = 10_000, 11  # before the first step and after each of ten epochs


def tables(grid: Grid, gpu: Gpu) -> Iterator[str]:
    """Yield the tables of docs/gpu-estimate.md."""
    yield _table(
        ("way", "GB", "Gop", "kernels", "memory", "products, float32", "products, TF32", "launches", "binds"),
        [
            (
                cost.name,
                f"{cost.bytes / 1e9:.2f}",
                f"{cost.flops / 1e9:.1f}",
                str(cost.kernels),
                f"{cost.times_s(gpu)['memory'] * 1e3:.2f} ms",
                *(f"{cost.times_s(gpu, precision)['products'] * 1e3:.2f} ms" for precision in PRECISIONS),
                f"{cost.times_s(gpu)['launches'] * 1e3:.2f} ms",
                " or ".join(dict.fromkeys(cost.bound(gpu, precision) for precision in PRECISIONS)),
            )
            for cost in costs(grid)
        ],
    )
    rows = []
    for cost in costs(grid):
        turns = [cost.turns_s(gpu, precision) * grid.steps for precision in PRECISIONS]
        shown = [f"{each / frac:.0f} s" for each in turns for frac in (1, WORKING_FRAC)]
        rate = grid.member_steps * WORKING_FRAC / turns[0]
        rows.append((cost.name, f"{cost.step_s(gpu) * grid.steps:.0f} s", *shown, f"{rate:,.0f}"))
    heads = [f"{precision}, {what}" for precision in PRECISIONS for what in ("in turn", f"at {WORKING_FRAC:.0%}")]
    yield _table(("way", "bound", *heads, "member-steps/s, float32"), rows)
    yield _table(("what", "how much"), list(_facts(grid, gpu)))


def _facts(grid: Grid, gpu: Gpu) -> Iterator[tuple[str, str]]:
    plain, folded = costs(grid)[:2]
    yield "weights, momentum and gradients of all networks", f"{3 * grid.weights_bytes / 1e9:.1f} GB"
    launched = folded.kernels * gpu.launch_s / (folded.times_s(gpu)["memory"] / grid.members)
    yield "networks below which launches bind, not memory (folded)", f"{launched:.0f}"
    fitting = int(gpu.l2_bytes / (2 * grid.weights * FLOAT))
    yield "networks whose weights and momentum fit into the L2 cache", str(fitting)
    for how, launch_s in (("launched one by one", gpu.launch_s), ("in CUDA graphs", gpu.graph_launch_s)):
        step_s = max(folded.kernels * launch_s, folded.flops / grid.members * fitting / gpu.flops_s["float32"])
        total_s = step_s * grid.steps * math.ceil(grid.members / fitting)
        yield f"the grid in populations of that size, one after another, {how}", f"{total_s:.0f} s"
    evaluations = 2 * grid.weights * TEST_SAMPLES * EVALUATIONS * grid.members
    yield "all evaluations on the test set, products in float32", f"{evaluations / gpu.flops_s['float32']:.1f} s"
    yield (
        "memory of a plain step with bf16 copies of the weights",
        f"{_with_bf16_copies(grid, plain) / gpu.bytes_s * 1e3:.2f} ms",
    )


def _with_bf16_copies(grid: Grid, plain: Cost) -> float:
    """Return the bytes of a plain step whose products are in bf16 while weights and update stay in float32."""
    behind = grid.weights - grid.layers[0][0] * grid.layers[0][1]
    copy = 4 + 2 + 2 - 4  # each weight read, its copy written, and read instead of it
    gradient = 2 + 2 + 4 - 4  # written in bf16, read, and written in float32 instead of at once
    return plain.bytes + grid.members * (grid.weights * (copy + gradient) - behind * 2)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    print(*tables(Grid(), H100), sep="\n\n")
