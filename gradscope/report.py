"""What a diagnosis says, as data: the content of a run's report.json.

The names of the fields are the file's interface: more may come, none changes its meaning. Nothing here needs torch or numpy.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from gradscope.errors import TraceError, WriteError
from gradscope.saved_data import SavedPart, read_part

SCHEMA = 1
FILE_NAME = "report.json"

Verdict = Literal["sick", "healthy", "undecided"]
Role = Literal["origin", "victim"]
Severity = Literal["error", "warning", "note"]
FixVerdict = Literal["works", "no effect", "harms", "inconclusive"]


def _number(value: object) -> object:
    """Accept null for a number that was not finite when it was written (JSON has no NaN)."""
    return float("nan") if value is None else value


Number = Annotated[float, BeforeValidator(_number)]
Evidence = dict[str, int | float | str | bool | list[int] | list[float] | list[str] | None]


class Control(SavedPart):
    """The untouched arm's task metric on the test set, one value per seed, beside what guessing gives."""

    metric: str
    mean: Number
    std: Number
    values: list[Number]
    chance: Number


class Intervention(SavedPart):
    """One change tried at a failure, beside the placebo: what became of the gradient and then of the loss, per seed.

    `reached` is the share of the place that the gradient reaches, `loss` the training loss at the end (empty where the gradient
    did not come back, so that the change was not followed up), `p` that of the paired test that the loss is lower than the
    placebo's, corrected for all that were followed up; `works` where both came back, or the loss where no gradient was lost.
    """

    kind: str
    sites: list[str] = []
    reached: list[Number] = []
    loss: list[Number] = []
    lower_in: int = 0
    p: Number = float("nan")
    brings_gradient: bool = False
    brings_loss: bool = False
    works: bool = False


class CauseFound(SavedPart):
    """The cause by intervention, null where it is not established for the reason given; `suspected` is the rule's own guess."""

    cause: str | None
    reason: str = ""
    site: str = ""
    begin: int = 0
    steps: int = 0
    seeds: list[int] = []
    interventions: list[Intervention] = []
    suspected: str = ""
    placebo_is_control: bool | None = None


class Finding(SavedPart):
    """One failure mode at one place: evidence in numbers, and whether it starts there or follows from elsewhere."""

    rule: str
    code: str
    site: str | None
    role: Role
    first_step: int
    seeds: list[int]
    severity: Severity
    evidence: Evidence
    cause: str
    text: str
    tested: CauseFound | None = None


class Undecided(SavedPart):
    """A rule that could not judge, or crashed, with the reason."""

    rule: str
    code: str
    reason: str
    crashed: bool = False


class FixOutcome(SavedPart):
    """One arm of the trial against the control: effect on the metric with its interval over paired seeds.

    `confidence` is that of this interval by itself; the intervals of a trial's fixes hold all at once with 95 %. `p` is that
    of "no effect", corrected for all fixes by Holm's method. `control_mean` is the control's over the seeds that the fix had,
    and `better_in` says in how many of them the fix scored more. `differs` says that its runs and the control's are further
    apart than luck puts them (an exact permutation test, corrected as `p` is), and nothing of runs that were not seen:
    `failed` of its runs were no better than chance, up to the share `failed_up_to` is not ruled out (at `confidence`), and
    with the share `undone_by` it would gain nothing on average (null where it gains nothing as it is).
    """

    fix: str
    summary: str = ""
    mean: Number
    std: Number = float("nan")
    effect: Number
    interval: tuple[Number, Number] | None
    confidence: float
    values: list[Number]
    control_mean: float | None = None
    better_in: int | None = None
    p: float | None = None
    differs: bool | None = None
    failed: int | None = None
    failed_up_to: float | None = None
    undone_by: float | None = None
    cleared: list[str]
    remaining: list[str] = []
    verdict: FixVerdict
    cost: float | None = None


class Stage(SavedPart):
    """One step of the gradient's way from the loss to the input.

    `transmission` is the ratio of gradient norms across it, `remaining` the ratio to the norm at the network's output;
    both are medians over the control's seeds, null where no gradient arrived.
    """

    name: str
    kind: Literal["gate", "weight"]
    transmission: float | None
    remaining: float | None


class Waterfall(SavedPart):
    """The gradient waterfall at one recorded step, ordered from the loss to the input."""

    step: int
    stages: list[Stage]


class Hypothesis(SavedPart):
    """A published explanation of the failure, tested on this network; `holds` is null where it cannot be told."""

    name: str
    holds: bool | None
    evidence: Evidence
    text: str


class Coverage(SavedPart):
    """What the recorder saw and what it could not see."""

    sites_seen: int
    sites_unseen: list[str] = []
    notes: list[str] = []


class Timing(SavedPart):
    """Seconds of training, and the share of them that recording took."""

    train_s: float
    recording_frac: float


class Expectation(SavedPart):
    """What the recipe expected and whether it came true; null where the recipe expects nothing."""

    expected: list[str]
    met: bool | None


class Setting(SavedPart):
    """The conditions of the run, for the reader of the report."""

    data: str = ""
    device: str = ""
    train_samples: int = 0
    test_samples: int = 0
    steps: int = 0
    planned_steps: int = 0
    parameters: int = 0
    seeds: list[int] = []
    versions: dict[str, str] = {}
    options: list[str] = []
    interval_method: str = ""


class Report(SavedPart):
    """A whole diagnosis.

    `placebo` is what the trial finds of a change that changes nothing; `hint` are the lines of code that do what is
    recommended, for a model of the user's own.
    """

    schema_: int = Field(default=SCHEMA, alias="schema")
    gradscope: str
    recipe: str
    verdict: Verdict
    control: Control | None
    findings: list[Finding]
    fixes: list[FixOutcome]
    placebo: FixOutcome | None = None
    recommended: str | None
    hint: str = ""
    coverage: Coverage
    timing: Timing
    undecided: list[Undecided] = []
    hypotheses: list[Hypothesis] = []
    waterfalls: list[Waterfall] = []
    expectation: Expectation = Expectation(expected=[], met=None)
    setting: Setting = Setting()
    interrupted: bool = False

    def to_json(self) -> str:
        """Return the text of report.json: indented, numbers that are not finite as null."""
        return self.model_dump_json(by_alias=True, indent=2)


def save_report(report: Report, folder: Path) -> Path:
    """Write report.json into `folder`, replacing an older one in one step.

    Raises:
        WriteError: the folder cannot be written.
    """
    path = folder / FILE_NAME
    part = path.with_suffix(".json.part")
    try:
        part.write_text(report.to_json() + "\n", encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        raise WriteError(f"{path}: cannot be written: {error.strerror}; free some space or choose another folder") from error
    return path


def load_report(path: Path) -> Report:
    """Read report.json from a run folder, or from the file itself.

    Raises:
        TraceError: there is none, it is not JSON, not a report, or of a newer schema.
    """
    file = path / FILE_NAME if path.is_dir() else path
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise TraceError(f"{file}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise TraceError(f"{file}: expected a report in JSON, got something else: {error}") from error
    found = data.get("schema") if isinstance(data, dict) else None
    if not isinstance(found, int):
        raise TraceError(f"{file}: expected a gradscope report (key 'schema'), got another JSON file")
    return read_part(Report, data, file, schema=found, newest=SCHEMA)
