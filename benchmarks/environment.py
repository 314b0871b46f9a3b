"""Where timings were taken: versions, processor, threads, load. Does not import torch before it must: see `calm_threads`."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

# Both are read once, when torch and numpy are imported.
# GNU OpenMP's threads spin before they sleep, by default for milliseconds: where another process wants the core, each
# parallel operation then waits for a thread that is not running.
# numpy's own threads would run, and spin, beside torch's, whose number is what is varied; TensorBoard's histograms use them.
CALM = {"GOMP_SPINCOUNT": "1000", "OPENBLAS_NUM_THREADS": "1"}
PACKAGES = ("torch", "numpy", "tensorboard")
THREAD_SETTINGS = re.compile(r"(OMP|GOMP|KMP|MKL|OPENBLAS)_\w+")
ROOT = Path(__file__).parents[1]


def calm_threads() -> None:
    """Let idle OpenMP threads go to sleep soon, and numpy have one thread; what the caller has set is kept.

    Raises:
        RuntimeError: torch or numpy was imported before, so that the settings would come too late.
    """
    if early := {"torch", "numpy"} & sys.modules.keys():
        raise RuntimeError(f"expected a process of its own, in which {', '.join(sorted(early))} is not imported yet")
    for name, value in CALM.items():
        os.environ.setdefault(name, value)


def describe() -> dict[str, Any]:
    """Return what a reader needs to judge timings; nothing in it names the machine or its folders."""
    import torch

    import gradscope

    return {
        "gradscope": gradscope.__version__,
        "commit": _commit(),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_model(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cores": _usable_cores(),
        "thread_settings": {name: value for name, value in sorted(os.environ.items()) if THREAD_SETTINGS.fullmatch(name)},
        "load_average": load_average(),
    }


def load_average() -> float | None:
    """Return how many processes wanted to run in the last minute, ours included; None where the system does not tell."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _usable_cores() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def _commit() -> str | None:
    """Return the commit, with a plus sign if tracked files differ from it; None outside a clone."""
    try:
        commit, changes = (
            subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
            for arguments in (["rev-parse", "--short=10", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + "+" * bool(changes)
