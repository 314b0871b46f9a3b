"""The estimate for a GPU: its formulas against a list of kernels, and the document against its numbers."""

import doctest
from importlib import import_module

import pytest
from command_line import ROOT


@pytest.fixture
def estimate(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    return import_module("benchmarks.gpu_estimate")


@pytest.fixture
def costs(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    return import_module("benchmarks.gpu_cost")


def kernels(widths, batch, groups, *, folded):
    """Yield the floats that each kernel of a step moves, for one network: the step written out."""
    layers = list(zip(widths, widths[1:], strict=False))
    samples = 0 if folded else batch * widths[0]
    yield 2 * samples
    yield 0  # the labels
    for i, (wide, after) in enumerate(layers):
        x = batch * wide if i else samples
        yield x + wide * after + batch * after
        yield from [2 * batch * after / groups] * groups
        yield 2 * batch * after
    yield from [0] * 7  # the loss and its gradient, on ten numbers a sample
    for i, (wide, after) in reversed(list(enumerate(layers))):
        x, weight, z = batch * wide if i else samples, wide * after, batch * after
        yield 2 * z
        yield from [3 * z / groups] * groups
        if i:
            yield z + weight + batch * wide
        yield x + z + (2 * weight if folded else weight)
        yield z  # the bias
        if folded:
            yield 3 * weight
            yield from [0] * 3
    if not folded:
        yield sum(5 * wide * after for wide, after in layers)


@pytest.mark.parametrize("widths", [(784, 500, 256, 10), (64, 32, 10), (7, 5, 4, 3, 2)])
@pytest.mark.parametrize(("name", "folded"), [("plain", False), ("folded", True)])
def test_bytes_and_kernels_are_those_of_the_step_written_out(costs, widths, name, folded):
    grid = costs.Grid(stacks=3, seeds=2, widths=widths, batch=16, activations=4)
    cost = next(cost for cost in costs.costs(grid) if cost.name == name)
    listed = list(kernels(widths, 16, 4, folded=folded))
    assert cost.kernels == len(listed)
    assert cost.bytes == pytest.approx(6 * 4 * sum(listed))


def test_operations_are_those_of_the_products(costs):
    (a, b, c), batch = (7, 5, 3), 4
    grid = costs.Grid(stacks=1, seeds=1, widths=(a, b, c), batch=batch)
    plain, folded, _, of_8, *_ = costs.costs(grid)
    products = [(batch, a, b), (batch, b, c), (a, batch, b), (b, batch, c), (batch, c, b)]
    assert plain.flops == folded.flops == sum(2 * rows * inner * columns for rows, inner, columns in products)
    correction = sum(2 * batch * (t * batch) * b for t in range(8)) / 8  # at step t, with the gradients of t steps before
    assert of_8.flops == plain.flops + correction + 2 * batch * a * b


def test_the_documents_tables_are_the_scripts(estimate):
    text = (ROOT / "docs" / "gpu-estimate.md").read_text(encoding="utf-8")
    for table in estimate.tables(estimate.Grid(), estimate.H100):
        assert table in text


def test_the_documents_other_numbers_are_the_scripts(costs):
    text = " ".join((ROOT / "docs" / "gpu-estimate.md").read_text(encoding="utf-8").split())
    grid, gpu = costs.Grid(), costs.H100
    plain, folded, *_ = costs.costs(grid)
    per_pass_ms = grid.weights_bytes / gpu.bytes_s * 1e3
    without_products_ms = folded.turns_s(gpu) * 1e3 - folded.turns_s(gpu, "TF32") * 1e3
    for said in (
        f"{folded.step_s(gpu) * grid.steps:.0f} s if nothing but the memory's bandwidth",
        f"{grid.weights:,} weights",
        f"takes {plain.flops / grid.members / 1e6:.1f} million operations",
        f"{grid.weights_bytes / 1e9:.1f} GB, {grid.weights_bytes / gpu.l2_bytes:.0f} times the L2 cache",
        f"each pass over the weights that is saved is {per_pass_ms:.2f} ms",
        f"TF32 takes {without_products_ms:.2f} ms off a folded step of {folded.turns_s(gpu) * 1e3:.2f} ms",
        f"instead of {plain.step_s(gpu) * 1e3:.2f} ms for a plain step",
        f"there are ({folded.kernels}?)",
    ):
        assert said in text


def test_its_examples_hold(costs):
    found = doctest.testmod(costs)
    assert found.attempted > 0
    assert found.failed == 0
