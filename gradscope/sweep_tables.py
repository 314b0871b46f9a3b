"""A sweep's tables as CSV: one row per cell, and one per cell, seed and epoch. Same result, same bytes; no timings."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence

from gradscope.sweep_report import CellFinding, CellRow, SweepResult, numbered_sites

RESULTS_FILE, EPOCHS_FILE = "results.csv", "epochs.csv"
SUMMARY = (
    "seeds",
    "missing",
    "metric",
    "chance",
    "mean",
    "std",
    "low",
    "high",
    "distinct",
    "collapsed",
    "first_step",
    "findings",
)
EPOCH = ("seed", "epoch", "step", "metric", "test_loss", "train_loss")


def results_csv(result: SweepResult, command: str = "") -> str:
    """Return results.csv: the factors, what the seeds came to, each seed's value, and the statistics of step 0 by layer.

    Metrics are shares (0.97). `seeds` counts the trained ones, `missing` those still to come; low and high are the interval of
    the mean, where a run without a finite metric counts as at `chance` and an R2 below 0 as 0; such a run itself is `nan`.
    `collapsed` is a share of the trained seeds; a finding is written as rule@site:seeds/trained. Empty is what is not known.
    """
    runs = max((len(row.seeds) + len(row.missing) for row in result.rows), default=0)
    statistics = _start_columns(result.rows)
    final = max((len(row.epochs[-1].nonpositive_weight_frac[0]) for row in result.rows if row.epochs), default=0)
    weights = [f"nonpositive_weight_frac_{layer + 1}" for layer in range(final)]
    names = result.factor_names
    header = [*names, *SUMMARY, *(f"run{i + 1}" for i in range(runs)), *statistics, *weights]
    lines = [
        [
            *(row.factors.get(name, "") for name in names),
            *_summary(row),
            *_values(row, runs),
            *_start_values(row, statistics),
            *_final_weights(row, final),
        ]
        for row in result.rows
    ]
    return _text(_title(result, command), header, lines)


def epochs_csv(result: SweepResult, command: str = "") -> str:
    """Return epochs.csv: metric, losses and share of weights <= 0 of each linear layer at the end of every epoch.

    `step` counts the updates until then; `train_loss` is the mean over the epoch's steps; what is not finite is nan or inf.
    """
    layers = max((len(e.nonpositive_weight_frac[0]) for row in result.rows for e in row.epochs), default=0)
    header = [*result.factor_names, *EPOCH, *(f"nonpositive_weight_frac_{layer + 1}" for layer in range(layers))]
    lines: list[list[str]] = []
    for row in result.rows:
        factors = [row.factors.get(name, "") for name in result.factor_names]
        for i, seed in enumerate(row.seeds):
            for number, epoch in enumerate(row.epochs, start=1):
                shares = [share(value) for value in epoch.nonpositive_weight_frac[i]]
                numbers = [f"{epoch.metric[i]:.6f}", f"{epoch.test_loss[i]:.6g}", f"{epoch.train_loss[i]:.6g}"]
                weights = [*shares, *[""] * (layers - len(shares))]
                lines.append([*factors, str(seed), str(number), str(epoch.step), *numbers, *weights])
    return _text(_title(result, command), header, lines)


def share(value: float | None) -> str:
    """Return a share with six digits, nothing for what is not known.

    >>> share(0.97), share(None), share(float("nan"))
    ('0.970000', '', '')
    """
    return "" if value is None or math.isnan(value) else f"{value:.6f}"


def figure(value: float | None) -> str:
    """Return a number with six significant digits, nothing for what is not known.

    >>> figure(2.30258509), figure(float("inf"))
    ('2.30259', 'inf')
    """
    return "" if value is None or math.isnan(value) else f"{value:.6g}"


def finding_text(finding: CellFinding, seeds: int) -> str:
    """Return a finding in one word, with the number of seeds that it stands in.

    >>> found = CellFinding(rule="dead-units", code="GS101", site="1.relu", severity="note", seeds=[1, 4], first_step=0)
    >>> finding_text(found, 5)
    'dead-units@1.relu:2/5'
    """
    return f"{finding.rule}{f'@{finding.site}' if finding.site else ''}:{len(finding.seeds)}/{seeds}"


def _summary(row: CellRow) -> list[str]:
    if not row.seeds:
        return ["0", str(len(row.missing)), *[""] * (len(SUMMARY) - 2)]
    low, high = row.interval or (None, None)
    return [
        str(len(row.seeds)),
        str(len(row.missing)),
        row.metric,
        *(share(value) for value in (row.chance, row.mean, row.std, low, high)),
        str(row.distinct),
        share(row.collapsed_frac),
        figure(row.first_flagged_step),
        " ".join(finding_text(finding, len(row.seeds)) for finding in row.findings),
    ]


def _values(row: CellRow, runs: int) -> list[str]:
    """Return the value of each seed of the sweep, in the order of seeds; nothing for one that is not trained yet."""
    known = {seed: f"{value:.6f}" for seed, value in zip(row.seeds, row.values, strict=True)}
    values = [known.get(seed, "") for seed in sorted([*row.seeds, *row.missing])]
    return [*values, *[""] * (runs - len(values))]


def _start_columns(rows: Iterable[CellRow]) -> list[str]:
    """Return one column for each statistic and layer, the layers of one statistic side by side."""
    layers: dict[str, dict[str, None]] = {}
    for row in rows:
        for layer, statistics in numbered_sites(row):
            for name in statistics:
                layers.setdefault(name, {})[layer] = None
    return [f"{name}_{layer}" for name, of_name in layers.items() for layer in sorted(of_name, key=_natural)]


def _natural(layer: str) -> tuple[int, str]:
    return (int(layer), "") if layer.isdigit() else (0, layer)


def _start_values(row: CellRow, columns: Sequence[str]) -> list[str]:
    known = {f"{name}_{layer}": value for layer, found in numbered_sites(row) for name, value in found.items()}
    return [figure(known.get(column)) for column in columns]


def _final_weights(row: CellRow, layers: int) -> list[str]:
    """Return the mean over the seeds of each layer's share of weights <= 0 at the end."""
    shares = row.epochs[-1].nonpositive_weight_frac if row.epochs else []
    means = [share(sum(layer) / len(layer)) for layer in zip(*shares, strict=True)]
    return [*means, *[""] * (layers - len(means))]


def _title(result: SweepResult, command: str) -> list[str]:
    made = [f"made by: {command}"] if command else []
    return [
        *made,
        f"{result.metric or 'metric'} on the test samples as a share; {100 * result.confidence:g} % interval of the mean",
    ]


def _text(title: Iterable[str], header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    stream = io.StringIO()
    for line in title:
        stream.write(f"# {' '.join(line.split())}\n")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines)
    return stream.getvalue()
