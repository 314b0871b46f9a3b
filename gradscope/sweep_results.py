"""From the networks that a sweep trained to its result: one row per cell, and the files that hold it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gradscope import __version__
from gradscope.cell import Cell
from gradscope.cell_run import CellRun, RunFinding
from gradscope.factors import factors_of
from gradscope.interval import CONFIDENCE, MEAN_METHOD, bounded, mean_interval
from gradscope.mixing import mixing_of
from gradscope.renderers.sweep_picture import PICTURE_FILE, sweep_picture
from gradscope.report import Number, Severity
from gradscope.run_folder import write_text
from gradscope.sweep_report import DIVERGED_RULE, FILE_NAME, CellFinding, CellRow, EpochRow, SweepResult, load_result
from gradscope.sweep_tables import EPOCHS_FILE, RESULTS_FILE, epochs_csv, results_csv

__all__ = ["COLLAPSE_RULES", "SweepResult", "load_result", "save_results", "sweep_result"]

COLLAPSE_RULES = ("output-collapse", "dead-layer", DIVERGED_RULE)
"""A network in which one of these stands has collapsed: units of its output, or a whole layer, are shut for every sample, or
its numbers are not finite."""
WORST_FIRST: tuple[Severity, ...] = ("error", "warning", "note")


def sweep_result(cells: Sequence[Cell], runs: Sequence[Sequence[CellRun]], *, recipe: str = "") -> SweepResult:
    """Return the result of a sweep, finished or not.

    Args:
        cells: the grid, in order.
        runs: what came of each cell's seeds, in any order; cells[i] has runs[i]. Seeds that are absent are marked as missing.
        recipe: the sweep's name; that of the first cell's recipe where it is empty.

    Raises:
        ValueError: there are not as many entries in `runs` as cells.
    """
    rows = [_row(cell, of_cell) for cell, of_cell in zip(cells, runs, strict=True)]
    return SweepResult(
        gradscope=__version__,
        recipe=recipe or (cells[0].recipe.name if cells else ""),
        metric=", ".join(dict.fromkeys(row.metric for row in rows if row.metric)),
        confidence=CONFIDENCE,
        interval_method=MEAN_METHOD,
        rows=rows,
        factors=factors_of(rows),
        mixing=mixing_of(rows),
    )


def save_results(result: SweepResult, folder: Path, *, command: str = "") -> None:
    """Write results.json, results.csv, epochs.csv and heatmap.svg into `folder`, each replaced in one step.

    The same result and command give the same bytes. The run for TensorBoard beside them, in a folder of its own, has the time
    of its writing in it.

    Args:
        result: what `sweep_result` returned.
        folder: the sweep's; it exists.
        command: what made it, for the tables' first lines.

    Raises:
        WriteError: the folder cannot be written.
    """
    write_text(folder / FILE_NAME, result.to_json())
    write_text(folder / RESULTS_FILE, results_csv(result, command))
    write_text(folder / EPOCHS_FILE, epochs_csv(result, command))
    write_text(folder / PICTURE_FILE, sweep_picture(result))
    from gradscope.renderers.sweep_tensorboard import FOLDER, write_sweep_run  # loads TensorBoard

    write_sweep_run(result, folder / FOLDER)


def _row(cell: Cell, runs: Sequence[CellRun]) -> CellRow:
    ordered = sorted(runs, key=lambda run: run.seed)
    done = [run.seed for run in ordered]
    factors = dict(cell.factors)
    missing = [seed for seed in cell.recipe.seed_list if seed not in done]
    if not ordered:
        return CellRow(factors=factors, seeds=[], missing=missing)
    first = ordered[0]
    values = [run.value for run in ordered]
    counted = bounded(values, first.chance)
    return CellRow(
        factors=factors,
        seeds=done,
        missing=missing,
        metric=first.metric,
        chance=first.chance,
        test_samples=first.test_samples,
        values=values,
        mean=float(np.mean(counted)),
        std=float(np.std(counted, ddof=1)) if len(counted) > 1 else float("nan"),
        interval=mean_interval(counted, floor=first.chance),
        distinct=len(set(map(repr, values))),  # as texts: NaN equals itself there
        collapsed=[run.seed for run in ordered if _has_collapsed(run)],
        findings=_findings(ordered),
        first_flagged_step=_first_flagged_step(ordered),
        start=_start(ordered),
        epochs=_epochs(ordered),
    )


def _has_collapsed(run: CellRun) -> bool:
    return not np.isfinite(run.value) or any(finding.rule in COLLAPSE_RULES for finding in run.findings)


def _findings(runs: Sequence[CellRun]) -> list[CellFinding]:
    """Return what was found, by rule and site; worst first, then in the most seeds."""
    places: dict[tuple[str, str | None], list[tuple[int, RunFinding]]] = {}
    for run in runs:
        for finding in run.findings:
            places.setdefault((finding.rule, finding.site), []).append((run.seed, finding))
    found = [
        CellFinding(
            rule=rule,
            code=all_[0][1].code,
            site=site,
            severity=min((f.severity for _, f in all_), key=WORST_FIRST.index),
            seeds=[seed for seed, _ in all_],
            first_step=min(f.first_step for _, f in all_),
        )
        for (rule, site), all_ in places.items()
    ]
    return sorted(found, key=lambda f: (WORST_FIRST.index(f.severity), -len(f.seeds), f.code, f.site or ""))


def _first_flagged_step(runs: Sequence[CellRun]) -> float | None:
    firsts = [[f.first_step for f in run.findings if f.severity == "error"] for run in runs]
    steps = [min(of_run) for of_run in firsts if of_run]
    return float(np.median(steps)) if steps else None


def _start(runs: Sequence[CellRun]) -> dict[str, dict[str, Number]]:
    """Return the medians over the runs of the statistics of step 0; those that are NaN in a run are left out of it."""
    sites = dict.fromkeys(site for run in runs for site in run.start)
    return {
        site: {
            name: _median([run.start[site][name] for run in runs if name in run.start.get(site, {})])
            for name in dict.fromkeys(name for run in runs for name in run.start.get(site, {}))
        }
        for site in sites
    }


def _median(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(f"{np.median(known):.5g}") if known else float("nan")


def _epochs(runs: Sequence[CellRun]) -> list[EpochRow]:
    """Return the epochs that all of the runs have; the seeds of a cell are trained alike, so that these are all."""
    return [
        EpochRow(
            step=of_runs[0].step,
            metric=[epoch.metric for epoch in of_runs],
            test_loss=[epoch.test_loss for epoch in of_runs],
            train_loss=[epoch.train_loss for epoch in of_runs],
            nonpositive_weight_frac=[epoch.nonpositive_weight_frac for epoch in of_runs],
        )
        for of_runs in zip(*(run.epochs for run in runs), strict=False)
    ]
