"""The statistics of a site as the tab and the HTML report show them: what they mean, their unit and scale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from gradscope.trace import FloatArray, Trace

UNITS_SHOWN = ("closed_frac", "saturated_frac", "common_mode")  # statistics of which each unit's history is kept to be seen
WHOLE = (0.0, 1.0)

Worse = Literal["high", "low"] | None


@dataclass(frozen=True)
class ViewStatistic:
    """One statistic: its name in a trace and how it is drawn; `worse` is the end that is sick."""

    name: str
    title: str
    text: str
    unit: Literal["share", "ratio", "number"] = "number"
    scale: Literal["linear", "log"] = "log"
    domain: tuple[float, float] | None = None
    worse: Worse = None
    per: Literal["site", "unit"] = "site"


def _share(name: str, title: str, worse: Worse, per: Literal["site", "unit"], text: str) -> ViewStatistic:
    return ViewStatistic(name, title, text, "share", "linear", WHOLE, worse, per)


def _ratio(name: str, title: str, worse: Worse, per: Literal["site", "unit"], text: str) -> ViewStatistic:
    return ViewStatistic(name, title, text, "ratio", worse=worse, per=per)


STATISTICS = (
    _ratio("remaining", "Gradient left", "low", "site",
           "Norm of the gradient behind the site's gate over that at the network's output."),
    _share("dead_frac", "Shut units", "high", "site",
           "Share of units whose slope is exactly 0 for every sample of the batch."),
    _share("closed_frac", "Closed", "high", "unit",
           "Share of samples with slope exactly 0; in the map the mean over units."),
    _share("saturated_frac", "Saturated", "high", "unit",
           "Share of samples on the flat part of a bounded function; in the map the mean over units."),
    _ratio("common_mode", "Common mode", "high", "unit",
           "|mean of z| over its spread: how much of z is the same for every sample; in the map the median unit."),
    _ratio("gate_transmission", "Gate lets through", "low", "site",
           "Norm of the gradient behind the gate over that before it."),
    _ratio("weight_transmission", "Weights let through", "low", "site",
           "Norm of the gradient at the site's output over that at the next site's pre-activation."),
    ViewStatistic("grad_rms", "Gradient", "Root mean square of the loss gradient at the site's pre-activation."),
    ViewStatistic("act_rms", "Output", "Root mean square of the site's output."),
    _ratio("act_common_mode", "Output in common", "high", "site",
           "Norm of the part of the output that is the same for every sample over that of what varies."),
    _share("nonpositive_frac", "z <= 0", None, "unit", "Share of samples with z <= 0; in the map the mean over units."),
    _share("identical_frac", "Identical units", "high", "site", "Share of units that do the same as another unit."),
)  # fmt: skip
"""In the order in which they are offered."""

OF_RULE = {
    "dead-units": "dead_frac",
    "dead-layer": "dead_frac",
    "output-collapse": "dead_frac",
    "saturation": "saturated_frac",
    "vanishing-gradient": "remaining",
    "exploding-gradient": "remaining",
    "non-finite": "grad_rms",
    "common-mode": "common_mode",
    "identical-units": "identical_frac",
    "unscaled-input": "common_mode",
    "frozen-weights": "remaining",
    "stuck-at-chance": "remaining",
    "oversized-updates": "grad_rms",
    "diverging-loss": "grad_rms",
}
"""The statistic that shows best what a rule has found."""


def described(names: list[str]) -> list[dict[str, object]]:
    """Return the statistics of these names for a document, in the order of `STATISTICS`; unknown ones last, plainly."""
    known = {statistic.name: statistic for statistic in STATISTICS}
    chosen = [s for s in STATISTICS if s.name in names]
    others = [ViewStatistic(name, name.replace("_", " "), "") for name in dict.fromkeys(names) if name not in known]
    return [{**asdict(s), "domain": s.domain and list(s.domain)} for s in (*chosen, *others)]


def site_statistics(trace: Trace, first: int = 0) -> dict[str, FloatArray]:
    """Return the statistics of all sites from record `first` on, each [record, site]; of one number per unit a summary."""
    found = {name: values[first:] for name, values in trace.site_statistics.items()}
    return found | dict(_of_units(trace, first))


def _of_units(trace: Trace, first: int) -> Iterator[tuple[str, FloatArray]]:
    for name, per_site in trace.unit_statistics.items():
        later = [values[first:] for values in per_site]
        summary = _median if name == "common_mode" else _mean
        yield name, _by_site([summary(values) for values in later], trace, first)
        if name == "closed_frac":
            yield "dead_frac", _by_site([_mean(np.where(np.isnan(v), np.nan, v == 1)) for v in later], trace, first)


def _by_site(columns: list[FloatArray], trace: Trace, first: int) -> FloatArray:
    return np.stack(columns, axis=1).astype(np.float32) if columns else np.empty((len(trace.steps[first:]), 0), np.float32)


def _mean(values: FloatArray) -> FloatArray:
    """Return the mean over the units of what is not NaN; NaN where nothing is left."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0.0).sum(1, dtype=np.float64)
    return np.where(known.any(1), total / np.maximum(known.sum(1), 1), np.nan)


def _median(values: FloatArray) -> FloatArray:
    """Return the median unit, infinities included; NaN where no unit is known."""
    found = np.full(len(values), np.nan)
    some = ~np.isnan(values).all(1)
    if some.any():
        with np.errstate(invalid="ignore"):  # between two infinities
            found[some] = np.nanmedian(values[some], axis=1)
    return found
