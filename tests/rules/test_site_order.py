"""Earlier and later, on the paths that a network has."""

from dataclasses import replace

import numpy as np

from gradscope.diagnosis import diagnose
from gradscope.rules.examples import example
from gradscope.rules.flow import has_way_around
from gradscope.rules.site_order import fed_by, fed_from, leads_to

SHUT = ("closed_frac", "nonpositive_frac")


def joined(*feeds, **changes):
    trace = example(("shuts",) * len(feeds), **changes)
    return replace(trace, sites=tuple(replace(site, feeds=fed) for site, fed in zip(trace.sites, feeds, strict=True)))


def test_without_a_graph_the_order_of_calls_counts():
    trace = example()
    assert leads_to(trace).tolist() == np.triu(np.ones((3, 3), bool), k=1).tolist()
    assert [fed_by(trace, i) for i in range(3)] == [[], [0], [1]]
    assert [fed_from(trace, i) for i in range(3)] == [[1], [2], []]


def test_paths_are_followed_over_several_sites():
    towers = joined((2,), (3,), (4,), (4,), ())
    leads = leads_to(towers)
    assert [np.flatnonzero(row).tolist() for row in leads] == [[2, 4], [3, 4], [4], [4], []]
    assert (fed_by(towers, 4), fed_by(towers, 1), fed_from(towers, 1)) == ([2, 3], [], [3])


def test_a_dead_tower_explains_nothing_in_the_one_beside_it():
    dead = {(name, i): 1.0 for name in SHUT for i in (0, 1, 2)}
    towers = joined((2,), (3,), (3,), (), site=dead)
    found = {f.site: f.role for f in diagnose([towers]).findings if f.rule == "dead-layer"}
    assert found == {"1.shuts": "origin", "2.shuts": "origin", "3.shuts": "victim"}
    in_order = {f.site: f.role for f in diagnose([example(("shuts",) * 4, site=dead)]).findings if f.rule == "dead-layer"}
    assert in_order == {"1.shuts": "origin", "2.shuts": "victim", "3.shuts": "victim"}


def test_a_gradient_that_comes_to_the_tower_beside_is_no_way_around():
    arrives = {("remaining", 0): 0.5, ("remaining", 1): 0.0, ("act_common_mode", 2): np.inf}
    assert has_way_around(example(site=arrives), 1)
    assert not has_way_around(joined((2,), (2,), (), site=arrives), 1)


def test_no_site_at_all_leads_nowhere():
    assert leads_to(example(())).shape == (0, 0)
