"""What came of one cell and seed, as data: a line's content in a sweep's journal. Nothing here needs torch or numpy.

In JSON epochs and statistics are written by columns, each name once, which takes four tenths less; both forms are read.
"""

from __future__ import annotations

from typing import Any

from pydantic import field_serializer, field_validator

from gradscope.report import Number, Severity, Verdict
from gradscope.saved_data import SavedPart

SITES = "sites"
"""The column of a run's statistics that names the sites."""


class Epoch(SavedPart):
    """What stood at the end of one epoch; `step` is the number of updates until then."""

    step: int
    metric: Number
    test_loss: Number
    train_loss: Number
    """Mean over the epoch's steps."""
    nonpositive_weight_frac: list[Number]
    """Share of weights <= 0 of each linear layer, in order."""


class RunFinding(SavedPart):
    """One failure mode at one place."""

    rule: str
    code: str
    site: str | None
    severity: Severity
    first_step: int


class CellRun(SavedPart):
    """One network of a sweep, trained and judged."""

    key: str
    seed: int
    metric: str
    """accuracy | r2"""
    value: Number
    """The metric on the test set at the end, as a share (0.97), not in per cent."""
    chance: Number
    test_samples: int
    steps: int
    verdict: Verdict
    epochs: list[Epoch]
    findings: list[RunFinding]
    start: dict[str, dict[str, Number]]
    """Statistics of step 0, before any update: by site, then by statistic (medians over units where it is one per unit)."""

    @field_serializer("epochs", when_used="json")
    def _epochs_by_column(self, epochs: list[Epoch]) -> dict[str, list[Any]]:
        return {name: [getattr(epoch, name) for epoch in epochs] for name in Epoch.model_fields}

    @field_serializer("start", when_used="json")
    def _start_by_column(self, start: dict[str, dict[str, Number]]) -> dict[str, Any]:
        names = list(dict.fromkeys(name for of_site in start.values() for name in of_site))
        if any(list(of_site) != names for of_site in start.values()):  # no columns of equal length
            return start
        return {SITES: list(start)} | {name: [of_site[name] for of_site in start.values()] for name in names}

    @field_validator("epochs", mode="before")
    @classmethod
    def _epochs_by_row(cls, given: object) -> object:
        if not isinstance(given, dict):
            return given
        return [dict(zip(given, values, strict=True)) for values in zip(*given.values(), strict=True)]

    @field_validator("start", mode="before")
    @classmethod
    def _start_by_row(cls, given: object) -> object:
        if not isinstance(given, dict) or not isinstance(given.get(SITES), list):
            return given
        columns = {name: values for name, values in given.items() if name != SITES}
        return {site: {name: values[i] for name, values in columns.items()} for i, site in enumerate(given[SITES])}
