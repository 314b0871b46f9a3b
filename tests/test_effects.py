"""What is said of a fix: the table of verdicts, the recommended one, and how often a placebo is called a cure."""

import numpy as np
import pytest

from gradscope.diagnosis import Diagnosis
from gradscope.effects import RESEED, Arm, arm_of, outcome, recommended, verdict_of
from gradscope.interval import bounded
from gradscope.report import Coverage, Finding
from gradscope.rules.examples import example

CHANCE = 0.1
SICK = [0.3, 0.25, 0.4, 0.2, 0.35]
CURED = [0.95, 0.96, 0.94, 0.97, 0.95]


def arm(name, values, sick=()):
    """An arm in which `output-collapse` stands at these positions of its seeds."""
    findings = [
        Finding(
            rule="output-collapse", code="GS103", site="3.relu", role="origin", first_step=0, seeds=list(sick),
            severity="error", evidence={}, cause="", text="",
        )
    ] * bool(sick)  # fmt: skip
    verdict = "sick" if findings else "healthy"
    return Arm(
        name,
        tuple(values),
        Diagnosis(verdict, findings, [], [], [], Coverage(sites_seen=3), {f.rule: f.seeds for f in findings}),
    )


def judged(control, fix, *, sick=(1, 2, 3, 4, 5), still=()):
    return outcome(arm("control", control, sick), arm("some-fix", fix, still), chance=CHANCE)


def test_a_cure_works():
    found = judged(SICK, CURED)
    assert found.verdict == "works"
    assert found.cleared == ["output-collapse"]
    assert found.remaining == []
    assert found.effect == pytest.approx(np.mean(CURED) - np.mean(SICK))
    assert found.interval[0] > 0
    assert (found.values, found.confidence) == (CURED, 0.95)
    assert found.std == pytest.approx(np.std(CURED, ddof=1))


@pytest.mark.parametrize(
    ("control", "fix", "sick", "still", "verdict"),
    [
        (SICK, CURED, (1, 2, 3, 4, 5), (), "works"),
        (SICK, CURED, (), (), "works"),  # nothing had to be cleared
        (SICK, CURED, (1, 2, 3, 4, 5), (1,), "inconclusive"),  # better, and the finding stands in one seed
        (SICK, CURED, (1, 2), (), "works"),  # it stood in too few seeds to have to be cleared: the metric decides
        (SICK, CURED, (1, 2, 3), (), "works"),
        (CURED, SICK, (), (1, 2, 3, 4, 5), "harms"),
        (SICK, SICK, (1, 2, 3, 4, 5), (1, 2, 3, 4, 5), "no effect"),
        (CURED, CURED, (), (), "no effect"),
        (SICK, [v + 0.005 for v in SICK], (1, 2, 3, 4, 5), (1, 2, 3, 4, 5), "no effect"),  # less than anyone would notice
        (SICK, SICK, (1, 2, 3, 4, 5), (), "inconclusive"),  # cleared, and the metric does not move
        (SICK, [0.5, 0.5, 0.3, 0.5, 0.5], (1, 2, 3, 4, 5), (1, 2, 3, 4, 5), "inconclusive"),
        ([0.1] * 5, [0.9, 0.9, 0.1, 0.1, 0.1], (1, 2, 3, 4, 5), (3, 4, 5), "inconclusive"),  # helps in two of five seeds
        ([0.9, 0.1, 0.5, 0.5, 0.5], [0.1, 0.9, 0.5, 0.5, 0.5], (), (), "inconclusive"),  # helps in one as it harms in another
        (SICK, [v + 0.03 for v in SICK], (1, 2, 3, 4, 5), (1, 2, 3, 4, 5), "inconclusive"),  # three points, in every seed
        (SICK, [SICK[0] + 0.05, *SICK[1:]], (1, 2, 3, 4, 5), (1, 2, 3, 4, 5), "no effect"),  # one point on average
    ],
)
def test_verdicts(control, fix, sick, still, verdict):
    assert judged(control, fix, sick=sick, still=still).verdict == verdict


@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_seeds_are_inconclusive_whatever_they_show(seeds):
    found = judged(SICK[:seeds], CURED[:seeds], sick=(1, 2)[:seeds])
    assert (found.interval, found.verdict) == (None, "inconclusive")
    assert judged(CURED[:seeds], SICK[:seeds]).verdict == "inconclusive"


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_metric_that_is_not_finite_counts_as_chance(bad):
    found, as_chance = judged([bad, *SICK[1:]], CURED), judged([CHANCE, *SICK[1:]], CURED)
    assert (found.interval, found.verdict) == (as_chance.interval, "works")


def test_r2_below_zero_counts_as_zero():
    wild = outcome(arm("control", [-900.0, -3.0, -0.5, 0.0, -20.0]), arm("fix", [0.8, 0.7, 0.8, 0.75, 0.8], ()), chance=0.0)
    assert wild.effect == pytest.approx(0.77)
    assert 0 < wild.interval[0] < 0.77 < wild.interval[1] <= 1


def test_a_cure_of_less_than_half_of_the_seeds_works_where_the_interval_says_so():
    control = [0.1] * 11 + [0.95] * 12
    found = judged(control, [0.96] * 23, sick=range(1, 12))
    assert found.interval[0] > 0
    assert found.verdict == "works"


@pytest.mark.parametrize(("noise", "least"), [(0.0, 1.0), (0.005, 1.0), (0.02, 0.85), (0.05, 0.0), (0.3, 0.0)])
def test_a_fix_that_is_noise_is_never_said_to_work_and_where_the_noise_is_small_to_have_no_effect(noise, least):
    rng = np.random.default_rng(1)
    verdicts = []
    for _ in range(60):
        level = rng.uniform(0.2, 0.9, size=5)
        fix = np.clip(level + rng.normal(0, noise, size=5), 0, 1)
        verdicts.append(judged(level.tolist(), fix.tolist(), still=(1, 2, 3, 4, 5)).verdict)
    assert "works" not in verdicts
    assert "harms" not in verdicts
    assert verdicts.count("no effect") >= least * len(verdicts)
    assert noise < 0.3 or verdicts.count("inconclusive") >= 0.85 * len(verdicts), "so much noise hides any effect"


# With three seeds every run of one arm beats every run of the other in 1 of 20 trials by luck alone; 0.09 is that share plus
# three standard errors of 300 trials.
@pytest.mark.parametrize(("seeds", "most"), [(3, 0.09), (5, 0.05), (9, 0.05)])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, None])
def test_a_placebo_is_said_to_work_in_at_most_one_trial_of_twenty(share, seeds, most):
    """Control and placebo from one distribution: a share of runs collapses, or the metric is uniform (None)."""
    rng = np.random.default_rng(seeds)
    works = harms = 0
    for _ in range(300):
        if share is None:
            values = rng.uniform(CHANCE, 1.0, size=(2, seeds))
            collapsed = values < 0.4
        else:
            collapsed = rng.random((2, seeds)) < share
            values = np.where(collapsed, CHANCE, 0.97) + rng.uniform(-0.02, 0.02, size=(2, seeds))
        marks = [(1 + np.flatnonzero(row)).tolist() for row in collapsed]
        verdict = judged(values[0].tolist(), values[1].tolist(), sick=marks[0], still=marks[1]).verdict
        works += verdict == "works"
        harms += verdict == "harms"
    assert works <= most * 300
    assert harms <= most * 300


def test_fixes_that_cure_nearly_always_are_found_out():
    """The counterpart of the placebo: a verdict that never says `works` would pass that test."""
    rng = np.random.default_rng(2)
    works = 0
    for _ in range(100):
        control = np.where(rng.random(5) < 0.9, CHANCE, 0.5) + rng.uniform(0, 0.02, size=5)
        fix = 0.95 + rng.uniform(-0.02, 0.02, size=5)
        works += judged(control.tolist(), fix.tolist()).verdict == "works"
    assert works >= 95


def choice(*fixes, seeds=5):
    """Recommend among fixes given as (name, values, verdict)."""
    control = arm("control", SICK[:seeds], range(1, 6))
    values, outcomes = {}, []
    for name, found, verdict in fixes:
        values[name] = found
        outcomes.append(outcome(control, arm(name, found), chance=CHANCE).model_copy(update={"verdict": verdict}))
    return recommended(outcomes, values)


def test_recommended_is_the_smallest_change_that_is_not_worse_than_the_best():
    slightly = [value + 0.005 for value in CURED]
    much = [0.99, 0.99, 0.99, 0.99, 0.99]
    half = [0.6, 0.62, 0.6, 0.61, 0.6]
    assert choice(("small", CURED, "works"), ("large", slightly, "works")) == "small"
    assert choice(("small", half, "works"), ("large", much, "works")) == "large"
    assert choice(("small", CURED, "inconclusive"), ("large", much, "works")) == "large"
    assert choice(("small", CURED, "works"), ("large", half, "works")) == "small"
    assert choice(("small", half, "works"), ("middle", CURED, "works"), ("large", slightly, "works")) == "middle"


def test_a_run_without_a_finite_metric_counts_as_failed_in_the_choice_as_well():
    control = arm("control", SICK, range(1, 6))
    values = {"small": [*CURED[:4], float("nan")], "large": CURED}
    outcomes = [outcome(control, arm(name, found), chance=CHANCE).model_copy(update={"verdict": "works"})
                for name, found in values.items()]  # fmt: skip
    assert recommended(outcomes, {name: bounded(found, CHANCE) for name, found in values.items()}) == "large"


def promising(name="small", **changes):
    told = {"verdict": "inconclusive", "differs": True, "better_in": 5, "cleared": ["output-collapse"], "remaining": []}
    found = outcome(arm("control", SICK, range(1, 6)), arm(name, CURED), chance=CHANCE)
    return found.model_copy(update=told | changes)


def test_where_nothing_is_proved_what_is_better_in_each_run_is_recommended_all_the_same():
    values = {"small": CURED, "large": CURED}
    assert recommended([promising()], values) == "small"
    assert recommended([promising(), promising("large", verdict="works")], values) == "large"


@pytest.mark.parametrize(
    "lack",
    [{"differs": False}, {"differs": None}, {"better_in": 4}, {"cleared": []}, {"remaining": ["dead-layer"]}, {"effect": -0.1}],
)
def test_nothing_that_lacks_anything_is_promising(lack):
    assert recommended([promising(**lack)], {"small": CURED}) is None


def test_where_errors_stand_in_few_seeds_only_there_is_none_to_clear():
    assert recommended([promising(cleared=[])], {"small": CURED}, is_shaky=True) == "small"
    assert recommended([promising(cleared=[], remaining=["saturation"])], {"small": CURED}, is_shaky=True) is None
    assert recommended([promising(cleared=[], better_in=4)], {"small": CURED}, is_shaky=True) is None


def test_nothing_that_works_nothing_recommended_and_never_luck():
    assert choice(("small", SICK, "no effect"), ("large", CURED, "inconclusive")) is None
    assert choice((RESEED, CURED, "works")) is None
    assert choice() is None


def test_an_arm_takes_the_last_evaluation():
    rising = np.linspace(0, 0.9, 11)
    found = arm_of("control", [example(metric=rising), example(metric=rising / 2)])
    assert found.values == pytest.approx((0.9, 0.45))
    assert found.mean == pytest.approx(0.675)
    assert found.std == pytest.approx(np.std([0.9, 0.45], ddof=1))
    assert found.standing == []


def test_one_seed_has_no_spread_and_no_seed_no_mean():
    assert arm("control", [0.5]).std == 0.0
    assert np.isnan(arm("control", []).mean)


def test_what_stands_in_fewer_than_half_of_the_seeds_may_be_luck():
    assert arm("control", SICK, (1, 2)).standing == []
    assert arm("control", SICK, (1, 2, 3)).standing == ["output-collapse"]


def test_the_verdict_needs_an_interval():
    assert verdict_of(arm("a", SICK), arm("b", CURED), None, cleared=True, was_sick=True) == "inconclusive"
