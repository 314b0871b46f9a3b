"""Bytes, operations and kernels of a population's step on a GPU, counted; docs/gpu-estimate.md says what is left out.

>>> grid = Grid()
>>> grid.member_steps, grid.weights  # of one network: a product each in forward and backward, another for what lies behind
(10800000, 522560)
>>> plain = costs(grid)[0]
>>> plain.name, round(plain.bytes / 1e9, 2), round(plain.flops / 1e9, 2), plain.kernels
('plain', 9.82, 43.34, 51)
>>> plain.bound(H100), round(plain.step_s(H100) * grid.steps)
('memory', 55)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

FLOAT = 4  # bytes
BLOCKS = (8, 16, 32)  # steps


@dataclass(frozen=True)
class Gpu:
    """What a GPU does per second at best, by its data sheet, and what a kernel takes at least, launched one by one."""

    bytes_s: float
    flops_s: Mapping[str, float]
    l2_bytes: float
    launch_s: float
    graph_launch_s: float  # of a kernel inside a CUDA graph, roughly


H100 = Gpu(3.35e12, {"float32": 67e12, "TF32": 495e12, "bf16": 989e12}, 50e6, 4e-6, 1.5e-6)


@dataclass(frozen=True)
class Grid:
    """The published grid: 64 stacks with four activations, nine runs of each, ten epochs."""

    stacks: int = 64
    seeds: int = 9
    widths: tuple[int, ...] = (784, 500, 256, 10)
    batch: int = 32
    steps: int = 18_750
    activations: int = 4

    @property
    def members(self) -> int:
        """Networks, all of them in one population."""
        return self.stacks * self.seeds

    @property
    def member_steps(self) -> int:
        """Training steps of single networks."""
        return self.members * self.steps

    @property
    def layers(self) -> list[tuple[int, int]]:
        """Widths before and behind each linear layer."""
        return list(zip(self.widths, self.widths[1:], strict=False))

    @property
    def weights(self) -> int:
        """Of one network; its biases, a thousandth of them, are left out everywhere."""
        return sum(wide * after for wide, after in self.layers)

    @property
    def weights_bytes(self) -> int:
        """Of all networks; momentum takes as much again."""
        return self.members * self.weights * FLOAT


@dataclass(frozen=True)
class Cost:
    """One step of a population: bytes to and from memory, operations of the matrix products, kernels."""

    name: str
    bytes: float
    flops: float
    kernels: int

    def times_s(self, gpu: Gpu, precision: str = "float32") -> dict[str, float]:
        """Return what each takes if it were alone."""
        memory, products = self.bytes / gpu.bytes_s, self.flops / gpu.flops_s[precision]
        return {"memory": memory, "products": products, "launches": self.kernels * gpu.launch_s}

    def bound(self, gpu: Gpu, precision: str = "float32") -> str:
        """Return which of them takes longest."""
        times = self.times_s(gpu, precision)
        return max(times, key=times.__getitem__)

    def step_s(self, gpu: Gpu, precision: str = "float32") -> float:
        """Return the least time of a step: all of them overlap."""
        return max(self.times_s(gpu, precision).values())

    def turns_s(self, gpu: Gpu, precision: str = "float32") -> float:
        """Return the time of a step in which no product overlaps with traffic; launches overlap with both, or bind."""
        times = self.times_s(gpu, precision)
        return max(times["memory"] + times["products"], times["launches"])


def costs(grid: Grid) -> list[Cost]:
    """Return ways to take a step, from what torch does by itself to the least traffic.

    Counted are floats of one network, weights and what passes between kernels: every kernel reads its arguments from memory
    and writes its result there.
    """
    (inputs, hidden), *_ = grid.layers
    weights, behind = grid.weights, grid.weights - inputs * hidden
    depth, batch = len(grid.layers), grid.batch
    passed = _passed(grid) + weights + behind  # the weights are read in forward, and behind the first layer in backward
    flops = 2 * batch * (2 * weights + behind)
    kernels = 9 + depth * (2 * grid.activations + 5) + depth - 1
    samples = 4 * batch * inputs  # a copy for each network: read, written, read by two products
    return [
        # The gradient is written; the update reads it, weight and momentum, and writes both.
        _cost("plain", grid, passed + 6 * weights + samples, flops, kernels + 1),
        # The gradient's product adds to the momentum; the update reads both and writes the weight.
        _cost("folded", grid, passed + 5 * weights, flops, kernels + 4 * depth),
        # One kernel makes the product and writes momentum and weight.
        _cost("one kernel", grid, passed + 4 * weights, flops, kernels - depth),
        *(_blocked(grid, block, flops, kernels + 4 * depth) for block in BLOCKS),
    ]


def _blocked(grid: Grid, block: int, flops: float, kernels: int) -> Cost:
    """Return the cost of a step, on average over a block of steps in which the first layer's weights stay as they are."""
    (inputs, hidden), *_ = grid.layers
    first, behind, z = inputs * hidden, grid.weights - inputs * hidden, grid.batch * hidden
    earlier = z * (block - 1) / 2  # gradients at z of the block's steps so far, on average: read to correct z
    # The first layer's weights are read once in a block, and once more folded with its momentum, both read and written; z is
    # written and read once more, and two scaled copies of its gradient are made and read.
    floats = _passed(grid) + 7 * behind + 5 * first / block + earlier + 6 * z
    return _cost(f"blocks of {block}", grid, floats, flops + 2 * grid.batch * (earlier + first), kernels)


def _passed(grid: Grid) -> float:
    """Return the floats that pass between kernels beside weights and samples.

    z, its activation, and both their gradients: each written once, read by one to three kernels, and put together once more
    from the groups of networks with one activation. Behind the first layer, the input is read twice and its gradient made.
    """
    every = sum(12 * after for _, after in grid.layers)
    return grid.batch * (every + sum(3 * wide + after for wide, after in grid.layers[1:]))


def _cost(name: str, grid: Grid, floats: float, flops: float, kernels: int) -> Cost:
    return Cost(name, grid.members * floats * FLOAT, grid.members * flops, kernels)
