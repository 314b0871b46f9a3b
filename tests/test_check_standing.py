"""A finding stands in the share of seeds, as severe as it is there."""

from dataclasses import replace

import pytest

from gradscope.check_standing import SHARE, seeds_needed, stand
from gradscope.rules import RULES
from gradscope.rules.examples import UNITS, example

SHUT = ("closed_frac", "nonpositive_frac")


def dead(units, site=0):
    return example(site={(name, site): [1.0] * units + [0.6] * (UNITS - units) for name in SHUT})


def of(*traces):
    return stand([replace(trace, seed=seed) for seed, trace in enumerate(traces, 1)], RULES)


def told(standing):
    return [(finding.rule, finding.site, finding.severity) for finding in standing.findings]


def test_two_seeds_of_five_are_luck_and_three_are_not():
    assert of(*[dead(9)] * 2, *[example()] * 3).verdict == "healthy"
    standing = of(*[dead(9)] * 3, *[example()] * 2)
    assert standing.verdict == "sick"
    assert told(standing) == [("dead-units", "1.shuts", "error")]
    assert standing.count("dead-units", at_least="error") == 3
    assert standing.findings[0].seeds == [1, 2, 3]


def test_a_finding_is_as_severe_as_it_is_in_the_share_of_seeds():
    standing = of(dead(9), dead(9), dead(5), dead(2), example())
    assert told(standing) == [("dead-units", "1.shuts", "warning")]
    assert standing.verdict == "healthy"
    assert standing.by_site()["dead-units", "1.shuts"] == {"error": 2, "warning": 3, "note": 4}


def test_a_rule_stands_though_each_seed_has_it_at_another_site():
    standing = of(dead(9, 0), dead(9, 1), dead(9, 0), example(), example())
    assert standing.stands("dead-units", at_least="error")
    assert told(standing) == [("dead-units", "1.shuts", "error")]


def test_victims_are_told_from_origins():
    both = example(site={(name, site): 1.0 for name in SHUT for site in (0, 1)})
    standing = of(both, both)
    assert standing.count("dead-layer", at_least="error") == 2
    assert standing.findings[0].role == "origin"
    assert standing.findings[1].role == "victim"


def test_what_could_not_be_judged_in_the_share_of_seeds_is_undecided():
    short = example(records=2)
    assert of(short, short, short, example(), example()).verdict == "undecided"
    assert of(short, short, example(), example(), example()).verdict == "healthy"
    assert of(short, dead(9), dead(9), example(), example()).verdict == "undecided", "with the one, an error might stand"
    assert of(short, dead(9), example(), example(), example()).verdict == "healthy"
    assert len(of(short, example()).undecided("dead-units")) == 1


@pytest.mark.parametrize(("share", "seeds", "needed"), [(0.5, 4, 2), (1.0, 5, 5), (0.01, 5, 1), (0.6, 1000, 600)])
def test_the_share_is_rounded_up(share, seeds, needed):
    assert seeds_needed(share, seeds) == needed


def test_the_share_is_a_majority_and_the_smallest_of_few_seeds():
    assert all(2 * seeds_needed(SHARE, seeds) > seeds for seeds in range(1, 100))
    assert all(2 * (seeds_needed(SHARE, seeds) - 1) <= seeds for seeds in range(1, 7))


def test_the_share_makes_both_mistakes_as_rare_as_its_docstring_says():
    from math import comb

    wrong = sum(comb(5, k) * 0.05**k * 0.95 ** (5 - k) for k in range(seeds_needed(SHARE, 5), 6))
    assert round(1 / wrong, -1) == 860
