"""What a sweep came to, as data: the content of its results.json.

The names of the fields are the file's interface: more may come, none changes its meaning. Nothing here needs torch or numpy.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from gradscope.errors import TraceError
from gradscope.factor_report import Factors, Mixing
from gradscope.report import Number, Severity
from gradscope.saved_data import SavedPart, read_part

SCHEMA = 1
FILE_NAME = "results.json"
DIVERGED_RULE = "non-finite"


class CellFinding(SavedPart):
    """One failure mode at one place of a cell's network: in which seeds it stands, and its earliest step among them."""

    rule: str
    code: str
    site: str | None
    severity: Severity
    """The worst among the seeds."""
    seeds: list[int]
    first_step: int


class EpochRow(SavedPart):
    """What stood at the end of one epoch, one value per seed in the order of the row's `seeds`."""

    step: int
    metric: list[Number]
    test_loss: list[Number]
    train_loss: list[Number]
    """Mean over the epoch's steps."""
    nonpositive_weight_frac: list[list[Number]]
    """Share of weights <= 0: [seed][linear layer]."""


class CellRow(SavedPart):
    """One cell: its factors and what its seeds came to. Without seeds it is not trained yet."""

    factors: dict[str, str]
    seeds: list[int]
    missing: list[int] = []
    """Seeds of the sweep that are not trained yet."""
    metric: str = ""
    chance: Number = float("nan")
    test_samples: int = 0
    values: list[Number] = []
    """The metric on the test samples at the end, as a share, by seed; null where it is not finite."""
    mean: Number = float("nan")
    """Of the seeds, as are deviation and interval; a seed without a finite metric counts as at chance, an R2 below 0 as 0."""
    std: Number = float("nan")
    """Of the sample (divided by n - 1)."""
    interval: tuple[Number, Number] | None = None
    """Of the mean, at the result's confidence; null under three seeds."""
    distinct: int = 0
    """How many different values the seeds have: fewer than seeds where runs repeat or die at the same score."""
    collapsed: list[int] = []
    """The seeds that collapsed: output-collapse, dead-layer or non-finite stands in them, or their metric is not finite."""
    findings: list[CellFinding] = []
    first_flagged_step: float | None = None
    """Over the seeds with an error finding: the median of their first step with one."""
    start: dict[str, dict[str, Number]] = {}
    """Statistics of step 0, before any update, by site and statistic: medians over the seeds."""
    epochs: list[EpochRow] = []

    @property
    def collapsed_frac(self) -> float:
        """Share of the trained seeds that collapsed; NaN without seeds."""
        return len(self.collapsed) / len(self.seeds) if self.seeds else float("nan")

    @property
    def diverged(self) -> list[int]:
        """The seeds whose numbers are not finite: by the finding, or by their metric."""
        found = {seed for finding in self.findings if finding.rule == DIVERGED_RULE for seed in finding.seeds}
        values = zip(self.seeds, self.values, strict=True)
        return sorted(found | {seed for seed, value in values if not math.isfinite(value)})


class SweepResult(SavedPart):
    """A whole sweep, finished or not: one row per cell, in the grid's order."""

    schema_: int = Field(default=SCHEMA, alias="schema")
    gradscope: str
    made: dict[str, str] = {}
    """What its networks were trained by and on: versions, device, precision, limit of steps; all of it where they differ."""
    recipe: str
    metric: str
    """accuracy | r2; both, joined by a comma, where the cells differ"""
    confidence: float
    interval_method: str
    rows: list[CellRow]
    factors: Factors | None = None
    mixing: Mixing | None = None

    @property
    def unfinished(self) -> int:
        """The number of networks that are not trained yet."""
        return sum(len(row.missing) for row in self.rows)

    @property
    def factor_names(self) -> list[str]:
        """The factors' names, in the order of the columns."""
        return list(dict.fromkeys(name for row in self.rows for name in row.factors))

    def to_json(self) -> str:
        """Return the text of results.json: one line for each row, numbers that are not finite as null."""
        head = self.model_dump_json(by_alias=True, exclude={"rows"}, indent=2).removesuffix("\n}")
        rows = ",\n".join(f"    {row.model_dump_json()}" for row in self.rows)
        return f'{head},\n  "rows": [\n{rows}\n  ]\n}}\n'


def load_result(path: Path) -> SweepResult:
    """Read results.json from a sweep's folder, or from the file itself.

    Raises:
        TraceError: there is none, it is not JSON, not a sweep's result, or of a newer schema.
    """
    file = path / FILE_NAME if path.is_dir() else path
    data = _json_of(file)
    found = data.get("schema") if isinstance(data, dict) and "rows" in data else None
    if not isinstance(found, int):
        raise TraceError(f"{file}: expected a sweep's results (keys 'schema' and 'rows'), got another JSON file")
    return read_part(SweepResult, data, file, schema=found, newest=SCHEMA)


def _json_of(file: Path) -> object:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise TraceError(f"{file}: cannot be read: {error.strerror}; `gradscope sweep RECIPE` writes one") from error
    except ValueError as error:
        raise TraceError(f"{file}: expected a sweep's results in JSON, got something else: {error}") from error


def numbered_sites(row: CellRow) -> Iterator[tuple[str, dict[str, Number]]]:
    """Yield the layer's number and the statistics of step 0 of each site, in order.

    >>> row = CellRow(factors={}, seeds=[1], start={"1.relu": {"act_rms": 0.5}, "2.tanh": {"act_rms": 0.4}})
    >>> [number for number, _ in numbered_sites(row)]
    ['1', '2']
    """
    for name, statistics in row.start.items():
        yield name.partition(".")[0], statistics
