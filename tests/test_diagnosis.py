"""From traces to findings: over seeds, with rules that crash, with nothing to judge."""

from dataclasses import replace

import numpy as np
import pytest
from reports import watched_trace

from gradscope.diagnosis import coverage, diagnose
from gradscope.rules import RULES, CannotTell, Rule
from gradscope.rules.dead_units import DeadUnits
from gradscope.rules.examples import example

SHUT = ("closed_frac", "nonpositive_frac")


def shut(units, site=2, **changes):
    values = [1.0] * units + [0.5] * (10 - units)
    return example(site={(name, site): values for name in SHUT}, **changes)


class Crash(Rule):
    """Fails on some traces."""

    slug, code, flow = "crash", "GS999", "network"
    seeds: tuple[int, ...] = (1, 2, 3)

    def judge(self, trace):
        if trace.seed in self.seeds:
            raise ZeroDivisionError("division by\nzero")
        return []

    @classmethod
    def cases(cls):
        return []


class CrashOnce(Crash):
    """Fails on one seed only."""

    seeds = (2,)


class Silent(Crash):
    """Cannot tell."""

    def judge(self, trace):
        return CannotTell(f"nothing of seed {trace.seed}")


class Optional(Crash):
    """Cannot tell what only the user's loop could."""

    def judge(self, trace):
        return CannotTell("log it", optional=True)


class OptionalOnce(Crash):
    """Lacks data of one seed and an optional metric of the others."""

    def judge(self, trace):
        return CannotTell(f"seed {trace.seed}", optional=trace.seed != 2)


def seeds(make, count=3):
    return [replace(make(i), seed=i + 1) for i in range(count)]


def test_an_ordinary_network_is_healthy():
    found = diagnose(seeds(lambda i: example()))
    assert (found.verdict, found.findings, found.undecided, found.errors) == ("healthy", [], [], {})
    assert found.coverage.sites_seen == 3
    assert len(found.waterfalls) == 20
    assert len(found.hypotheses) == 2


def test_one_finding_for_all_seeds_of_a_place():
    found = diagnose(seeds(lambda i: shut((4, 0, 6)[i])))
    (finding,) = found.findings
    assert (found.verdict, finding.rule, finding.code, finding.site) == ("sick", "output-collapse", "GS103", "3.shuts")
    assert finding.seeds == [1, 3]
    assert finding.evidence["dead_units"] == 4  # a number that was seen
    assert finding.evidence["total"] is False
    assert found.errors == {"output-collapse": [1, 3]}


def test_of_seeds_that_differ_the_worst_severity_and_the_earliest_step():
    late = np.ones((20, 10))
    late[:4] = 0.5
    traces = seeds(
        lambda i: shut((5, 9, 5)[i], site=0) if i else example(site={(n, 0): late * ([1] * 5 + [0.9] * 5) for n in SHUT})
    )
    (finding,) = diagnose(traces, [DeadUnits]).findings
    assert finding.severity == "error"
    assert finding.first_step == 0
    assert finding.text.startswith("9 of 10 units")
    assert finding.text.endswith("(seed 2)")


def test_a_role_is_that_of_most_seeds():
    def trace(i):
        dead_first = i == 0
        return example(site={(name, site): 1.0 for name in SHUT for site in ((0, 1) if dead_first else (1,))})

    roles = {f.site: f.role for f in diagnose(seeds(trace)).findings}
    assert roles == {"1.shuts": "origin", "2.shuts": "origin"}


def test_notes_and_warnings_are_not_sick():
    assert diagnose([shut(2, site=0)]).findings[0].severity == "note"
    assert diagnose([shut(2, site=0)]).verdict == "healthy"
    assert diagnose([shut(5, site=0)]).findings[0].severity == "warning"
    assert diagnose([shut(5, site=0)]).verdict == "healthy"
    assert diagnose([shut(9, site=0)]).verdict == "sick"


def test_origins_stand_before_victims_and_the_worse_before_the_slighter():
    trace = example(site={(name, i): 1.0 for name in SHUT for i in range(3)}, metric=0.1)
    findings = diagnose([trace]).findings
    assert [f.rule for f in findings] == ["dead-layer", "dead-layer", "output-collapse", "stuck-at-chance"]
    assert [f.role for f in findings] == ["origin", "victim", "victim", "victim"]


def test_a_rule_that_crashes_is_reported_and_the_others_go_on():
    found = diagnose(seeds(lambda i: shut(6)), [Crash, *RULES])
    (undecided,) = found.undecided
    assert (undecided.rule, undecided.code, undecided.crashed) == ("crash", "GS999", True)
    assert "ZeroDivisionError" in undecided.reason
    assert [f.rule for f in found.findings] == ["output-collapse"]
    assert found.verdict == "sick"


def test_with_a_crashed_rule_nothing_is_called_healthy():
    assert diagnose([example()], [Crash, *RULES]).verdict == "undecided"


def test_a_rule_that_crashes_in_one_seed_only_is_not_hidden():
    found = diagnose(seeds(lambda i: example()), [CrashOnce, *RULES])
    assert [item.rule for item in found.undecided] == ["crash"]
    assert found.undecided[0].crashed


def test_a_rule_that_cannot_judge_any_seed_says_why():
    found = diagnose(seeds(lambda i: example()), [Silent, *RULES])
    assert [(item.rule, item.crashed, item.reason) for item in found.undecided] == [("crash", False, "nothing of seed 1")]
    assert found.verdict == "undecided"


def test_what_only_the_user_s_loop_could_tell_makes_no_verdict_undecided():
    found = diagnose(seeds(lambda i: example()), [Optional, *RULES])
    assert found.verdict == "healthy"
    assert [(item.rule, item.reason) for item in found.undecided] == [("crash", "log it")]
    both = diagnose(seeds(lambda i: example()), [Optional, Silent, *RULES])
    assert both.verdict == "undecided"
    assert [item.reason for item in both.undecided] == ["nothing of seed 1", "log it"]  # what the verdict lacks comes first


def test_a_rule_that_lacks_more_than_what_is_optional_counts():
    found = diagnose(seeds(lambda i: example()), [OptionalOnce, *RULES])
    assert (found.verdict, found.undecided[0].reason) == ("undecided", "seed 2")


@pytest.mark.parametrize("rules", [[], [Optional], [Optional, Optional]])
def test_without_a_rule_that_judged_nothing_is_called_healthy(rules):
    assert diagnose([example()], rules).verdict == "undecided"


def test_a_watched_loop_without_loss_and_metric_can_be_healthy():
    for loss in (None, 1.0):
        found = diagnose([watched_trace(loss=loss)])
        assert found.verdict == "healthy"
        assert [item.rule for item in found.undecided] == ["stuck-at-chance", *(["diverging-loss"] if loss is None else [])]


def test_a_schedule_that_leaves_out_step_0_lets_the_others_judge():
    found = diagnose([example(first_step=5)])
    assert (found.verdict, [item.rule for item in found.undecided]) == ("healthy", ["common-mode"])


@pytest.mark.parametrize("missing", ["gate", "gradient"])
def test_a_watched_loop_whose_sites_were_not_seen_whole_is_undecided(missing):
    trace = watched_trace(records=3) if missing == "gate" else watched_trace()
    if missing == "gradient":
        trace.output_grad_norm[:] = np.nan
        trace.site_statistics["remaining"][:] = np.nan
    found = diagnose([trace])
    assert found.verdict == "undecided"
    assert [item.rule for item in found.undecided[-2:]] == ["stuck-at-chance", "diverging-loss"]


@pytest.mark.parametrize(
    "traces",
    [
        [],
        [example(records=0)],
        [example(())],
        [example((), records=0), example((), records=0)],
    ],
    ids=["no trace", "no record", "no site", "neither"],
)
def test_nothing_seen_is_never_healthy(traces):
    found = diagnose(traces)
    assert found.verdict == "undecided"
    assert found.coverage.sites_seen == 0
    assert any("no non-linearity was seen" in note for note in found.coverage.notes)


def test_coverage_says_why_there_is_no_site():
    assert coverage([]).notes == ["no step was recorded, so no non-linearity was seen"]
    assert "runs them without gradients" in coverage([example(())]).notes[0]
    opaque = replace(example(()), unseen=("rnn (lstm)",))
    assert "only in what cannot be looked into" in coverage([opaque]).notes[0]


def test_coverage_is_over_all_traces_and_says_each_thing_once():
    one = replace(example(), unseen=("rnn (LSTM)",), notes=("a", "b"))
    two = replace(example(), unseen=("rnn (LSTM)", "attention"), notes=("b",))
    found = coverage([one, two])
    assert (found.sites_seen, found.sites_unseen, found.notes) == (3, ["rnn (LSTM)", "attention"], ["a", "b"])


def test_nan_everywhere_is_no_crash_and_not_healthy():
    nan = float("nan")
    names = [
        "nonpositive_frac",
        "saturated_frac",
        "closed_frac",
        "common_mode",
        "act_rms",
        "gate_transmission",
        "weight_transmission",
    ]
    trace = example(("shuts", "saturates", "both"), loss=nan, metric=nan, site={(n, i): nan for n in names for i in range(3)})
    found = diagnose([trace])
    assert found.verdict == "sick"
    assert not [item for item in found.undecided if item.crashed]
    assert found.errors["non-finite"] == [1]
