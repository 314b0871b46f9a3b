"""From the traces of a run to its report. Works without torch, on a run that was killed as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gradscope import __version__
from gradscope.diagnosis import Diagnosis
from gradscope.effects import CONTROL, PLACEBO, RESEED, RESEED_SUMMARY, Arm, arm_of, control_of, outcome, recommended
from gradscope.errors import CannotJudge, RecipeError, TraceError
from gradscope.family import Family
from gradscope.fixes import FIXES, Placebo
from gradscope.interval import METHOD, bounded
from gradscope.looks import looks_of
from gradscope.recipe import Recipe
from gradscope.recipe_fields import HEALTHY
from gradscope.recipe_file import load_recipe
from gradscope.report import Expectation, FixOutcome, Report, Setting, Timing
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
    sizes: Mapping[str, int] = field(default_factory=dict)  # of changes
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
    by_arm = comparable(recipe, traces)
    if CONTROL not in by_arm:
        raise CannotJudge("nothing was recorded of the control; train for at least one step")
    arms = {name: arm_of(name, found) for name, found in by_arm.items()}
    control, like = arms[CONTROL], by_arm[CONTROL][0]
    tried = family_of(recipe, arms, like.task.chance)
    summaries = {fix.slug: fix.summary for fix in FIXES} | {RESEED: RESEED_SUMMARY, PLACEBO: Placebo.summary}
    summaries |= around.summaries
    outcomes = tried.outcomes(summaries, around.costs)
    beside = {name: _beside(tried, arms.get(name), summaries, around.costs) for name in (RESEED, PLACEBO)}
    sizes = {fix.slug: fix.size for fix in FIXES} | dict(around.sizes)
    diagnosis = control.diagnosis
    return Report(
        gradscope=__version__,
        recipe=recipe.name,
        verdict=diagnosis.verdict,
        control=control_of(control, like),
        findings=diagnosis.findings,
        fixes=[*outcomes, *filter(None, [beside[RESEED]])],
        placebo=beside[PLACEBO],
        recommended=recommended(
            outcomes,
            {name: bounded(arm.values, tried.chance) for name, arm in arms.items()},
            sizes,
            is_shaky=bool(diagnosis.errors) and not control.standing,
        ),
        coverage=diagnosis.coverage.model_copy(update={"notes": [*around.notes, *diagnosis.coverage.notes]}),
        timing=around.timing,
        undecided=diagnosis.undecided,
        hypotheses=diagnosis.hypotheses,
        waterfalls=diagnosis.waterfalls,
        expectation=expectation(recipe, diagnosis),
        setting=_setting(recipe, tried, like, around),
        interrupted=around.interrupted,
    )


def comparable(recipe: Recipe, traces: Sequence[Trace]) -> dict[str, list[Trace]]:
    """Return the traces by arm, without what has no pairs: arms cut short, further seeds that were not trained to the end."""
    by_arm: dict[str, list[Trace]] = {}
    for trace in traces:
        by_arm.setdefault(trace.arm, []).append(trace)
    own = set(recipe.seed_list)
    if CONTROL not in by_arm:
        return by_arm
    (whole, *_) = _progress(by_arm[CONTROL])
    for name in by_arm.keys() - {RESEED}:
        by_arm[name] = [t for t in by_arm[name] if t.seed in own or _progress([t]) == [whole]]
    first = _progress([trace for trace in by_arm[CONTROL] if trace.seed in own] or by_arm[CONTROL])
    return {
        name: found for name, found in by_arm.items() if name == CONTROL or _progress(found)[: len(recipe.seed_list)] == first
    }


def family_of(recipe: Recipe, arms: Mapping[str, Arm], chance: float) -> Family:
    """Return the fixes that are judged together, in the recipe's order."""
    return Family(
        control=arms[CONTROL],
        fixes=[arms[name] for name in recipe.fix_names if name in arms],
        looks=looks_of(len(recipe.seed_list), recipe.most_seeds),
        chance=chance,
        others=arms[RESEED].values if RESEED in arms else (),
    )


def _beside(tried: Family, arm: Arm | None, summaries: Mapping[str, str], costs: Mapping[str, float]) -> FixOutcome | None:
    """Return what became of an arm that is no fix: it stands by itself, with 95 %."""
    if arm is None:
        return None
    return outcome(tried.control, arm, chance=tried.chance, summary=summaries[arm.name], cost=costs.get(arm.name))


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
    order = {name: i for i, name in enumerate((CONTROL, *recipe.fix_names, RESEED, PLACEBO))}
    traces.sort(key=lambda trace: (order.get(trace.arm, len(order)), recipe_place(recipe, trace.seed)))
    return build_report(recipe, traces, Circumstances(interrupted=True))


def recipe_place(recipe: Recipe, seed: int) -> int:
    """Return the position of a seed among the recipe's, so that arms stay paired; other seeds follow in order."""
    seeds = recipe.seed_list
    return seeds.index(seed) if seed in seeds else len(seeds) + seed


def method_of(recipe: Recipe, fixes: int) -> str:
    """Return how the intervals are made, and what they are corrected for."""
    looks = looks_of(len(recipe.seed_list), recipe.most_seeds)
    parts = [METHOD]
    if fixes:
        parts.append("effects told from zero by them, or by each mean's bound and an exact permutation test together")
    if fixes > 1:
        parts.append(f"{'both' if fixes == 2 else f'all {fixes}'} fixes at once with 95 %, by Bonferroni's and Holm's methods")
    if len(looks) > 1:
        spent = " and ".join(f"{look.alpha:.3f} after {look.seeds} seeds" for look in looks)
        parts.append(f"error spent over two looks: {spent}")
    return "; ".join(parts)


def _setting(recipe: Recipe, tried: Family, like: Trace, around: Circumstances) -> Setting:
    return Setting(
        data=around.data or (recipe.data if isinstance(recipe.data, str) else recipe.data.path),
        device=around.device,
        train_samples=like.task.train_samples,
        test_samples=like.task.test_samples,
        steps=len(like.loss),
        planned_steps=like.task.planned_steps,
        parameters=around.parameters,
        seeds=[*recipe.seed_list, *(seed for seed in tried.control.seeds if seed not in recipe.seed_list)],
        versions=dict(around.versions),
        options=list(around.options),
        interval_method=method_of(recipe, len(tried.fixes)),
    )
