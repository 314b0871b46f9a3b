"""How long a check trains."""

from dataclasses import replace

import pytest

from gradscope import schedule
from gradscope.check_budget import reliable, steps_for
from gradscope.rules import RULES
from gradscope.rules.examples import example
from gradscope.rules.window import too_short

BY_SLUG = {rule.slug: rule for rule in RULES}


def steps(*slugs, planned=10_000, batch=32, look=schedule.default):
    return steps_for([BY_SLUG[slug] for slug in slugs], planned, batch, look)


def test_the_rule_that_needs_most_decides():
    assert steps("common-mode") == 1
    assert steps("common-mode", "output-collapse") == 200
    assert steps("common-mode", "output-collapse", "dead-units") == 500
    assert steps("output-collapse", "stuck-at-chance") == 10_000


def test_never_more_than_is_planned():
    assert steps("output-collapse", planned=45) == 45
    assert steps("common-mode", planned=45) == 1
    assert steps(planned=45) == 45


@pytest.mark.parametrize(
    ("batch", "look"), [(1, schedule.default), (4, schedule.default), (32, schedule.every(50)), (1000, schedule.every(90))]
)
def test_small_batches_and_seldom_looks_take_longer(batch, look):
    """So that a unit can be called dead at all: 300 samples in 3 records."""
    needed = steps("output-collapse", batch=batch, look=look, planned=100_000)
    records = [step for step in range(needed) if look(step)]
    assert needed >= 200
    assert len(records) >= 3
    assert len(records) * batch >= 300
    if needed > 200:
        assert too_short_with(records[:-1], batch)


def too_short_with(records, batch):
    trace = example(records=len(records))
    trace.samples[:] = batch
    return too_short(trace) is not None


def test_a_rule_is_relied_on_after_what_it_needs_or_the_whole_training():
    assert [rule.slug for rule in reliable(RULES, 1, 900)] == ["common-mode"]
    assert "stuck-at-chance" not in [rule.slug for rule in reliable(RULES, 899, 900)]
    assert reliable(RULES, 40, 40) == list(RULES)
    assert "dead-units" not in [rule.slug for rule in reliable(RULES, 200, 900)]


def test_step_0_alone_suffices_for_a_rule_that_says_so():
    """What a rule says after its steps it says of the same trace when it is longer, too."""
    for rule in RULES:
        if rule.steps_needed == 1:
            for case in rule.cases():
                whole = rule().judge(case.trace())
                assert isinstance(whole, list) or case.severity == "undecided"
                if case.severity not in (None, "undecided"):
                    assert all(observation.first_step == 0 for observation in whole)


def test_each_rule_says_what_it_needs():
    assert [rule.slug for rule in RULES if "steps_needed" not in vars(rule)] == []


def test_a_finding_that_is_final_stays_in_a_longer_trace():
    """Of each sick example, cut after the step in which it was first seen."""
    for rule in (rule for rule in RULES if rule.is_final):
        for case in (case for case in rule.cases() if case.severity not in (None, "undecided")):
            trace = case.trace()
            seen = min(observation.first_step for observation in rule().judge(trace))
            assert rule().judge(cut(trace, seen + 1)), (rule.slug, case.name)


def cut(trace, steps):
    kept = trace.steps < steps
    return replace(
        trace,
        steps=trace.steps[kept],
        samples=trace.samples[kept],
        unit_statistics={name: tuple(v[kept] for v in values) for name, values in trace.unit_statistics.items()},
        site_statistics={name: values[kept] for name, values in trace.site_statistics.items()},
        parameter_statistics={name: values[kept] for name, values in trace.parameter_statistics.items()},
        output_grad_norm=trace.output_grad_norm[kept],
        loss=trace.loss[:steps] if trace.loss_steps is None else trace.loss[trace.loss_steps < steps],
        loss_steps=None if trace.loss_steps is None else trace.loss_steps[trace.loss_steps < steps],
    )
