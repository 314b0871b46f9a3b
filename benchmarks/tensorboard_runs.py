"""Runs for the benchmark of the tab: made numbers, written as a training writes them. Needs no torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gradscope.renderers.tensorboard import TensorBoardLog
from gradscope.report import Control, Coverage, Finding, Report, Setting, Timing
from gradscope.trace import Site, Task, Trace

UNITS = 16  # of each site
SITE_STATISTICS = ("remaining", "gate_transmission", "weight_transmission", "grad_rms", "act_rms", "act_common_mode")
UNIT_STATISTICS = ("closed_frac", "saturated_frac", "common_mode", "nonpositive_frac")
EPOCHS = 20


def write_runs(folder: Path, runs: int, sites: int, steps: int) -> int:
    """Write one trial's folder with so many seeds of its control, each a run to TensorBoard; return its bytes."""
    log = TensorBoardLog(folder / "trial" / "tensorboard")
    for seed in range(1, runs + 1):
        log.update([made_trace(seed, sites, steps)])
    log.finish(made_report(runs, sites))
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def made_trace(seed: int, sites: int, steps: int) -> Trace:
    """Return a trace that was recorded at every step, of values between 0 and 1."""
    rng = np.random.default_rng(seed)
    names = [f"blocks.{i}.mlp.relu" for i in range(sites)]
    shuts, never = np.full(UNITS, True), np.full(UNITS, False)
    evaluations = np.linspace(0, steps - 1, EPOCHS).astype(np.int64)
    return Trace(
        arm="control",
        seed=seed,
        sites=tuple(Site(name, shuts, never, is_output=False) for name in names),
        parameters=(),
        steps=np.arange(steps),
        samples=np.full(steps, 32),
        unit_statistics={name: tuple(rng.random((steps, UNITS), dtype=np.float32) for _ in names) for name in UNIT_STATISTICS},
        site_statistics={name: rng.random((steps, sites), dtype=np.float32) for name in SITE_STATISTICS},
        parameter_statistics={},
        output_grad_norm=rng.random(steps, dtype=np.float32),
        loss=rng.random(steps, dtype=np.float32),
        evaluation_steps=evaluations,
        evaluation_metric=rng.random(EPOCHS, dtype=np.float32),
        evaluation_loss=rng.random(EPOCHS, dtype=np.float32),
        task=Task(chance=0.1, planned_steps=steps),
    )


def made_report(runs: int, sites: int) -> Report:
    """Return a report that finds a failure at every tenth site."""
    seeds = list(range(1, runs + 1))
    found = [
        Finding(
            rule="dead-units", code="GS101", site=f"blocks.{i}.mlp.relu", role="origin" if i == 0 else "victim", first_step=i,
            seeds=seeds, severity="error", evidence={"dead_frac": 0.9}, cause="none is known", text="units are shut",
        )
        for i in range(0, sites, 10)
    ]  # fmt: skip
    return Report(
        gradscope="made",
        recipe="made",
        verdict="sick",
        control=Control(metric="accuracy", mean=0.1, std=0.0, values=[0.1] * runs, chance=0.1),
        findings=found,
        fixes=[],
        recommended=None,
        coverage=Coverage(sites_seen=sites),
        timing=Timing(train_s=1.0, recording_frac=0.0),
        setting=Setting(seeds=seeds),
    )
