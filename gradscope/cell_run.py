"""What came of one cell and seed, as data: a line's content in a sweep's journal. Nothing here needs torch or numpy."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from gradscope.report import Number, Severity, Verdict


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="null")


class Epoch(_Part):
    """What stood at the end of one epoch; `step` is the number of updates until then."""

    step: int
    metric: Number
    test_loss: Number
    train_loss: Number
    """Mean over the epoch's steps."""
    nonpositive_weight_frac: list[Number]
    """Share of weights <= 0 of each linear layer, in order."""


class RunFinding(_Part):
    """One failure mode at one place."""

    rule: str
    code: str
    site: str | None
    severity: Severity
    first_step: int


class CellRun(_Part):
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
