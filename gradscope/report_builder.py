"""From the traces of a run to its report. Works without torch, on a run that was killed as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gradscope import __version__
from gradscope.diagnosis import Diagnosis
from gradscope.effects import CONTROL, RESEED, RESEED_SUMMARY, arm_of, control_of, outcome, recommended
from gradscope.errors import CannotJudge, RecipeError, TraceError
from gradscope.fixes import FIXES
from gradscope.interval import METHOD
from gradscope.recipe import Recipe
from gradscope.recipe_fields import HEALTHY
from gradscope.recipe_file import load_recipe
from gradscope.report import Expectation, Report, Setting, Timing
from gradscope.trace import Trace

TRACES, RECIPE = "trace", "recipe.yaml"


@dataclass(frozen=True)
class Circumstances:
    """What the traces do not hold: timing, costs and the setting. A killed run has none of it."""

    timing: Timing = Timing(train_s=0.0, recording_frac=0.0)
    costs: Mapping[str, float] = field(default_factory=dict)
    device: str = ""
    data: str = ""
    parameters: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)
    summaries: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    options: Sequence[str] = ()  # of the command line, without which the run's recipes would not find data or code
    interrupted: bool = False


def build_report(recipe: Recipe, traces: Sequence[Trace], around: Circumstances | None = None) -> Report:
    """Return the report of a run.

    Args:
        recipe: as resolved; its order of fixes is the report's.
        traces: one per arm and seed; the control's first.
        around: what is known of the run beside its traces.

    Raises:
        CannotJudge: there is no trace of the control.
    """
    around = around or Circumstances()
    by_arm: dict[str, list[Trace]] = {}
    for trace in traces:
        by_arm.setdefault(trace.arm, []).append(trace)
    if CONTROL not in by_arm:
        raise CannotJudge("nothing was recorded of the control; train for at least one step")
    arms = {name: arm_of(name, found) for name, found in by_arm.items()}
    control, like = arms[CONTROL], by_arm[CONTROL][0]
    summaries = {fix.slug: fix.summary for fix in FIXES} | {RESEED: RESEED_SUMMARY} | dict(around.summaries)
    outcomes = [
        outcome(control, arms[name], chance=like.task.chance, summary=summaries.get(name, ""), cost=around.costs.get(name))
        for name in (*recipe.fix_names, RESEED)
        if name in arms and _progress(by_arm[name]) == _progress(by_arm[CONTROL])  # an arm cut short has no pairs
    ]
    diagnosis = control.diagnosis
    return Report(
        gradscope=__version__,
        recipe=recipe.name,
        verdict=diagnosis.verdict,
        control=control_of(control, like),
        findings=diagnosis.findings,
        fixes=outcomes,
        recommended=recommended(outcomes, {name: arm.values for name, arm in arms.items()}),
        coverage=diagnosis.coverage.model_copy(update={"notes": [*around.notes, *diagnosis.coverage.notes]}),
        timing=around.timing,
        undecided=diagnosis.undecided,
        hypotheses=diagnosis.hypotheses,
        waterfalls=diagnosis.waterfalls,
        expectation=expectation(recipe, diagnosis),
        setting=_setting(recipe, like, around),
        interrupted=around.interrupted,
    )


def _progress(traces: Sequence[Trace]) -> list[float]:
    """Return which share of its training each network has behind it."""
    return [len(trace.loss) / max(trace.task.planned_steps, 1) for trace in traces]


def expectation(recipe: Recipe, diagnosis: Diagnosis) -> Expectation:
    """Return whether the diagnosis is what the recipe expects: every rule named has a finding above a note, or none has."""
    expected = list(recipe.expected)
    if not expected:
        return Expectation(expected=[], met=None)
    found = {finding.rule for finding in diagnosis.findings if finding.severity != "note"}
    met: bool | None = set(expected) <= found
    if expected == [HEALTHY]:
        met = None if diagnosis.verdict == "undecided" else not found
    return Expectation(expected=expected, met=met)


def report_of_killed_run(run: Path) -> Report:
    """Return what can be said of a run that was killed before its report: its traces up to the last flush are judged.

    Raises:
        TraceError: its recipe or its traces cannot be read.
    """
    try:
        recipe = load_recipe(run / RECIPE)
    except RecipeError as error:
        raise TraceError(f"{run}: expected the recipe of a run: {error}") from error
    traces = [Trace.load(path) for path in sorted((run / TRACES).glob("*.npz"))]
    if not traces:
        raise TraceError(f"{run}: expected traces in {TRACES}/, found none: the run was killed before its first flush")
    order = {name: i for i, name in enumerate((CONTROL, *recipe.fix_names, RESEED))}
    traces.sort(key=lambda trace: (order.get(trace.arm, len(order)), recipe_place(recipe, trace.seed)))
    return build_report(recipe, traces, Circumstances(interrupted=True))


def recipe_place(recipe: Recipe, seed: int) -> int:
    """Return the position of a seed among the recipe's, so that arms stay paired; other seeds follow in order."""
    seeds = recipe.seed_list
    return seeds.index(seed) if seed in seeds else len(seeds) + seed


def _setting(recipe: Recipe, like: Trace, around: Circumstances) -> Setting:
    return Setting(
        data=around.data or (recipe.data if isinstance(recipe.data, str) else recipe.data.path),
        device=around.device,
        train_samples=like.task.train_samples,
        test_samples=like.task.test_samples,
        steps=len(like.loss),
        planned_steps=like.task.planned_steps,
        parameters=around.parameters,
        seeds=list(recipe.seed_list),
        versions=dict(around.versions),
        options=list(around.options),
        interval_method=METHOD,
    )
