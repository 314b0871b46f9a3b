"""The statistics of sites, against plain NumPy, and how they are described."""

from __future__ import annotations

import numpy as np
import reports

from gradscope.renderers.view_statistics import OF_RULE, STATISTICS, described, site_statistics
from gradscope.rules import RULES
from gradscope.trace import SITE_STATISTICS, UNIT_STATISTICS

NAN, INF = np.nan, np.inf


def test_statistics_of_units_are_told_by_one_number() -> None:
    trace = reports.trace()
    found = site_statistics(trace)
    closed = np.stack([values.astype(np.float64).mean(1) for values in trace.unit_statistics["closed_frac"]], axis=1)
    assert np.allclose(found["closed_frac"], closed)
    common = np.stack([np.median(values, axis=1) for values in trace.unit_statistics["common_mode"]], axis=1)
    assert np.allclose(found["common_mode"], common)
    assert found["dead_frac"][:, 2].tolist() == [0.0, 0.5, 0.5, 0.5, 0.5, 0.5]
    assert all(values.shape == (6, 3) for values in found.values())


def test_units_that_are_not_known_count_for_nothing() -> None:
    trace = reports.trace()
    closed, common = trace.unit_statistics["closed_frac"][0], trace.unit_statistics["common_mode"][0]
    closed[0], closed[1] = [1, 1, NAN, 0], NAN
    common[0], common[1], common[2] = [NAN, 2, 4, 9], NAN, [INF, INF, INF, 1]
    found = site_statistics(trace)
    assert np.isclose(found["dead_frac"][0, 0], 2 / 3)
    assert np.isnan(found["dead_frac"][1, 0])
    assert np.isnan(found["closed_frac"][1, 0])
    assert (found["common_mode"][0, 0], found["common_mode"][2, 0]) == (4, INF)
    assert np.isnan(found["common_mode"][1, 0])


def test_later_records_are_those_of_the_whole() -> None:
    trace = reports.trace()
    whole, later = site_statistics(trace), site_statistics(trace, 4)
    assert whole.keys() == later.keys()
    assert all(np.array_equal(later[name], whole[name][4:], equal_nan=True) for name in whole)


def test_every_statistic_of_a_trace_is_described() -> None:
    known = {statistic.name for statistic in STATISTICS}
    assert known >= {*SITE_STATISTICS, *UNIT_STATISTICS, "dead_frac"}
    assert len(known) == len(STATISTICS)
    assert all(statistic.text.endswith(".") for statistic in STATISTICS)
    assert set(OF_RULE.values()) <= known


def test_every_rule_about_sites_has_a_statistic_to_show() -> None:
    assert {rule.slug for rule in RULES} <= set(OF_RULE)


def test_statistics_are_offered_in_one_order_and_unknown_ones_last() -> None:
    names = [statistic["name"] for statistic in described(["act_rms", "luck_frac", "remaining", "act_rms"])]
    assert names == ["remaining", "act_rms", "luck_frac"]
    assert described(["luck_frac"])[0]["title"] == "luck frac"
