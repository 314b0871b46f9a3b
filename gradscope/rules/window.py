"""Dead is a property over a window of samples: which units have been shut for all of them, and since when.

Ordinary relu layers are 50 to 90 % zeros and healthy; a unit is dead only when it was shut for every sample of a window.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradscope.trace import IntArray, Trace

# Rule of three (Hanley and Lippman-Hand 1983): an event that 300 samples did not show has, with 95 % confidence, a share of at
# most 3 / 300. So a unit shut for 300 samples is open for at most one sample in a hundred.
WINDOW_SAMPLES = 300
# A single batch never makes a unit dead, however large it is.
WINDOW_RECORDS = 3


def too_short(trace: Trace) -> str | None:
    """Return why the trace is too short to call a unit dead; None where it is long enough."""
    seen, records = int(trace.samples.sum()), len(trace.samples)
    if _is_enough(trace.samples):
        return None
    needed = f"{WINDOW_SAMPLES} in at least {WINDOW_RECORDS} steps are needed to call a unit dead; train longer"
    return f"closed_frac was seen for {seen} samples in {records} steps, {needed}"


def window_start(trace: Trace) -> int:
    """Return the first record of the last window that holds enough samples."""
    return _start(trace.samples)


def _is_enough(samples: IntArray) -> bool:
    return int(samples.sum()) >= WINDOW_SAMPLES and len(samples) >= WINDOW_RECORDS


def _start(samples: IntArray) -> int:
    records = int(np.searchsorted(np.cumsum(samples[::-1]), WINDOW_SAMPLES)) + 1
    return max(0, len(samples) - max(records, WINDOW_RECORDS))


def shut_since(trace: Trace, site: int) -> NDArray[np.int64]:
    """Return for each unit of a shutting site the step since which it has been shut for every sample, -1 if it is not dead.

    A unit that is dead was shut for every sample of the last window; its first step is that of the unbroken run up to the end.
    Records in which the site was not passed do not count; where too few are left no unit is called dead.
    """
    closed, below = (trace.unit_statistics[name][site] for name in ("closed_frac", "nonpositive_frac"))  # [record, unit]
    passed = ~np.isnan(closed).all(axis=1)
    steps, samples = trace.steps[passed], trace.samples[passed]
    if not _is_enough(samples):
        return np.full(closed.shape[1], -1, np.int64)
    shut = ((closed == 1) & (below == 1) & trace.sites[site].shuts)[passed]
    broken = np.where(shut, -1, np.arange(len(shut))[:, None]).max(axis=0, initial=-1)  # last record that was not shut
    dead = broken < _start(samples)
    first = steps[np.minimum(broken + 1, len(steps) - 1)]
    return np.where(dead, first, -1).astype(np.int64)


def median_common_mode_at_start(trace: Trace, site: int) -> float | None:
    """Return the median common mode over the shutting units at step 0, None where step 0 was not recorded."""
    units = trace.sites[site].shuts
    if not len(trace.steps) or trace.steps[0] != 0 or not units.any():
        return None
    value = float(np.median(trace.unit_statistics["common_mode"][site][0][units]))
    return None if np.isnan(value) else value
