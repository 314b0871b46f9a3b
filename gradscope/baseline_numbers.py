"""The numbers of a baseline: a mean over the seeds for each site and statistic, and how far it may move.

A tolerance is how far the mean over as many other seeds would move by chance, from the spread over these: the half-width of
Student's interval for the difference of two means, at a level at which all numbers of a baseline together raise one false
alarm in a hundred checks. The same seeds on the same machine move nothing at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from gradscope.report import Number
from gradscope.rules.flow import remaining
from gradscope.rules.saturation import saturated_share
from gradscope.rules.window import median_common_mode_at_start, window_start
from gradscope.trace import FloatArray, Trace

FALSE_ALARMS = 0.01
"""Share of checks with other seeds in which any number may leave its tolerance."""

# Other processors add in another order, and a training multiplies what that changes. Computed in double precision instead,
# stable trainings end within 0.003 and a factor of 1.001, one that overflows within 0.035 (benchmarks/false_alarms.py).
SHARE_FLOOR, FACTOR_FLOOR = 0.05, 1.5
# From two or three seeds a spread is hardly known. A share that may move by more than a quarter, or a ratio by more than half
# a decade, guards nothing; only where the seeds themselves lie further apart is more allowed, three times their range.
SHARE_CAP, FACTOR_CAP, RANGES = 0.25, 10**0.5, 3.0

SMALLEST = 1e-6  # ratios below count as this: a thousandth of what GS105 calls vanished, nothing is learnt from it
SHARES = ("closed_frac", "saturated_frac", "accuracy", "r2")
NETWORK = "network"

Samples = Mapping[str, Mapping[str, Sequence[float]]]  # site -> statistic -> a value for each seed


class Measured(BaseModel):
    """One number: `tolerance` up or down for shares, `factor` up or down for ratios."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="null")

    value: Number
    tolerance: float | None = Field(default=None, ge=0)
    factor: float | None = Field(default=None, ge=1)

    def is_left_by(self, now: float, widened: float = 1.0) -> bool:
        """Tell whether `now` is further away than chance takes it; `widened` is for fewer seeds than the baseline's."""
        if not (math.isfinite(self.value) and math.isfinite(now)):
            return math.isfinite(self.value) != math.isfinite(now)
        if self.factor is not None:
            return abs(_decades(now) - _decades(self.value)) > widened * math.log10(self.factor) + 1e-9
        return abs(now - self.value) > widened * (self.tolerance or 0.0) + 1e-9


Numbers = dict[str, dict[str, Measured]]


def at_start(traces: Sequence[Trace]) -> Samples:
    """Return what step 0 shows, before anything is trained."""
    if not all(len(trace.steps) and trace.steps[0] == 0 for trace in traces):
        return {}
    first = slice(0, 1)
    found = _sites(traces, first)
    for name, places in _placed(traces).items():
        modes = [None if i is None else median_common_mode_at_start(trace, i) for trace, i in zip(traces, places, strict=True)]
        if any(mode is not None for mode in modes):
            found[name]["common_mode"] = [math.nan if mode is None else mode for mode in modes]
    return found


def at_end(traces: Sequence[Trace]) -> Samples:
    """Return what the last window of samples shows, and how well the network does."""
    found = _sites(traces, None)
    metric = traces[0].task.metric
    if metric and all(len(trace.evaluation_metric) for trace in traces):
        found.setdefault(NETWORK, {})[metric] = [float(trace.evaluation_metric[-1]) for trace in traces]
    return found


def measure(start: Samples, end: Samples, resolutions: Mapping[tuple[str, str], float]) -> tuple[Numbers, Numbers]:
    """Return both with means over the seeds and tolerances.

    Args:
        start: a value for each seed, by site and statistic.
        end: likewise.
        resolutions: the smallest step of a statistic at a site, below which no tolerance makes sense.
    """
    count = sum(len(statistics) for part in (start, end) for statistics in part.values())

    def all_of(part: Samples) -> Numbers:
        return {
            site: {name: _measured(name, values, count, resolutions.get((site, name), 0.0)) for name, values in found.items()}
            for site, found in part.items()
        }

    return all_of(start), all_of(end)


def resolutions_of(traces: Sequence[Trace]) -> dict[tuple[str, str], float]:
    """Return one unit's part of a layer, and one sample's of the test set."""
    found = {
        (name, statistic): 1.0 / max(site.units, 1)
        for name, site in zip(stable_names(traces), traces[0].sites, strict=True)
        for statistic in ("closed_frac", "saturated_frac")
    }
    return found | {(NETWORK, "accuracy"): 1.0 / max(traces[0].task.test_samples, 1)}


def mean_of(name: str, values: Sequence[float]) -> float:
    """Return the mean over the seeds, that of the logarithms for ratios; NaN where most of them are not finite."""
    known = [value for value in values if math.isfinite(value)]
    if 2 * len(known) <= len(values):
        return math.nan
    if name in SHARES:
        return float(np.mean(known))
    return float(10 ** np.mean([_decades(value) for value in known]))


def stable_names(traces: Sequence[Trace]) -> list[str]:
    """Return the sites' names without the lines of code that functions are called in, which move with every edit above.

    Those that are the same then are numbered.
    """
    names: list[str] = []
    for site in traces[0].sites if traces else ():
        head, mark, tail = site.name.partition("@")
        name = head + mark + ":".join(part for part in tail.split(":") if not part.partition("#")[0].isdigit())
        again = sum(other == name or other.startswith(f"{name}~") for other in names)
        names.append(f"{name}~{again + 1}" if again else name)
    return names


def _placed(traces: Sequence[Trace]) -> dict[str, list[int | None]]:
    """Return for each site of the first seed where it stands in each seed, which may have found them in another order."""
    orders = [{name: i for i, name in enumerate(stable_names([trace]))} for trace in traces]
    return {name: [order.get(name) for order in orders] for name in stable_names(traces)}


def _sites(traces: Sequence[Trace], records: slice | None) -> dict[str, dict[str, Sequence[float]]]:
    found: dict[str, dict[str, Sequence[float]]] = {}
    kinds: Sequence[tuple[str, Callable[[Trace, int], FloatArray | None]]] = (
        ("closed_frac", _closed),
        ("saturated_frac", _saturated),
        ("remaining", _remaining),
    )
    for name, places in _placed(traces).items():
        found[name] = {}
        for statistic, of in kinds:
            series = [None if i is None else of(trace, i) for trace, i in zip(traces, places, strict=True)]
            values = [
                math.nan if one is None else _median(one[records or slice(window_start(trace), None)])
                for one, trace in zip(series, traces, strict=True)
            ]
            if any(one is not None for one in series):
                found[name][statistic] = values
    return found


def _closed(trace: Trace, i: int) -> FloatArray | None:
    units = trace.sites[i].shuts
    return trace.unit_statistics["closed_frac"][i][:, units].mean(axis=1) if units.any() else None


def _saturated(trace: Trace, i: int) -> FloatArray | None:
    return saturated_share(trace, i) if trace.sites[i].saturates.any() else None


def _remaining(trace: Trace, i: int) -> FloatArray | None:
    return remaining(trace)[:, i]


def _median(values: FloatArray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else math.nan


def _measured(name: str, values: Sequence[float], count: int, resolution: float) -> Measured:
    mean = mean_of(name, values)
    known = [value for value in values if math.isfinite(value)]
    if name in SHARES:
        allowed = _allowed(known, count, max(SHARE_FLOOR, resolution), SHARE_CAP)
        return Measured(value=_rounded(mean, 4), tolerance=_rounded(allowed, 2))
    allowed = _allowed([_decades(v) for v in known], count, math.log10(FACTOR_FLOOR), math.log10(FACTOR_CAP))
    return Measured(value=_rounded(mean, 4), factor=_rounded(10**allowed, 3))


def _allowed(values: Sequence[float], count: int, floor: float, cap: float) -> float:
    if len(values) < 2:
        return cap
    widest = max(cap, RANGES * (max(values) - min(values)))
    error = float(np.std(values, ddof=1)) * math.sqrt(2 / len(values))
    return min(max(floor, student(len(values) - 1, FALSE_ALARMS / max(count, 1)) * error), widest)


def student(freedom: int, level: float) -> float:
    """Return the two-sided quantile of Student's t: beyond it on either side lies `level`.

    By bisection of the finite series for whole degrees of freedom (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4).

    >>> [round(student(freedom, 0.05), 3) for freedom in (1, 4, 9)]
    [12.706, 2.776, 2.262]
    """
    low, high = 0.0, 1.0
    while _inside(high, freedom) < 1 - level:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _inside(middle, freedom) < 1 - level else (low, middle)
    return high


def _inside(t: float, freedom: int) -> float:
    """Return the probability of |T| <= t."""
    angle = math.atan2(t, math.sqrt(freedom))
    cosine = math.cos(angle)
    term, total = (cosine if freedom % 2 else 1.0), 0.0
    for k in range(1 + freedom % 2, freedom, 2):
        total += term
        term *= cosine**2 * k / (k + 1)
    total *= math.sin(angle)
    return (angle + total) * 2 / math.pi if freedom % 2 else total


def _decades(value: float) -> float:
    return math.log10(max(value, SMALLEST))


def _rounded(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")
