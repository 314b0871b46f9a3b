"""Tensors of several tags as one history."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np

from gradscope.renderers.tensorboard_form import FORM
from gradscope.tensorboard_plugin.event_tags import tagged_series
from gradscope.tensorboard_plugin.event_tensors import Read, Stack, in_steps, joined_sites, joined_units, stacked


def tag(sites: list[str], statistics: list[str], form: int = FORM) -> Any:
    facts = [{"name": name, "units": 4, "is_output": False, "shuts_frac": 1.0, "saturates_frac": 0.0} for name in sites]
    told = {"form": form, "arm": "control", "seed": 1, "metric": "accuracy", "sites": facts, "statistics": statistics}
    return SimpleNamespace(plugin_content=json.dumps(told).encode(), max_step=7)


def units(kept: list[int]) -> Any:
    return SimpleNamespace(
        plugin_content=json.dumps({"form": FORM, "kept": kept, "statistics": ["closed_frac"]}).encode(), max_step=7
    )


def event(step: int, values: Any) -> Any:
    return SimpleNamespace(step=step, numpy=np.asarray(values, np.float32))


def reading(events: dict[str, list[Any]]) -> Read:
    def read(name: str, shape: tuple[int, ...]) -> Stack:
        return stacked(events.get(name, []), shape)

    return read


def test_sites_are_joined_by_their_names() -> None:
    series = tagged_series(
        {"gradscope/sites": tag(["a", "gone"], ["act_rms"]), "gradscope/sites1": tag(["new", "a"], ["grad_rms", "act_rms"])}
    )
    first = [event(0, [[1], [9]]), event(1, [[2], [9]])]
    found = joined_sites(series, reading({"gradscope/sites": first, "gradscope/sites1": [event(1, [[5, 6], [7, 8]])]}))
    assert [site["name"] for site in found.sites] == ["new", "a"]
    assert found.steps.tolist() == [0, 1]
    assert np.array_equal(found.statistics["act_rms"], [[np.nan, 1], [6, 8]], equal_nan=True)
    assert np.array_equal(found.statistics["grad_rms"], [[np.nan, np.nan], [5, 7]], equal_nan=True)


def test_units_are_cut_out_of_the_row() -> None:
    tags = {"gradscope/sites": tag(["a", "b"], ["act_rms"]), "gradscope/units": units([2, 3])}
    found = joined_units(tagged_series(tags), reading({"gradscope/units": [event(4, [[1, 2, 3, 4, 5]])]}), 1)
    assert found.statistics["closed_frac"].tolist() == [[3, 4, 5]]
    assert (found.units.tolist(), found.of, found.steps.tolist()) == ([0, 2, 3], 4, [4])


def test_of_a_step_the_later_event_counts_and_odd_shapes_none() -> None:
    series = tagged_series({"gradscope/sites": tag(["a"], ["act_rms"])})
    events = [event(5, [[1]]), event(6, [[2]]), event(5, [[3]]), event(7, [[1, 2]])]
    found = joined_sites(series, reading({"gradscope/sites": events}))
    assert (found.steps.tolist(), found.statistics["act_rms"].tolist()) == ([5, 6], [[3], [2]])
    assert [one.numpy.item() for one in in_steps(events[:3])] == [3, 2]


def test_nothing_read_yet_is_empty() -> None:
    tags = {"gradscope/sites": tag(["a"], ["act_rms"]), "gradscope/units": units([4])}
    assert joined_sites(tagged_series(tags), reading({})).statistics["act_rms"].shape == (0, 1)
    assert joined_units(tagged_series(tags), reading({}), 0).statistics["closed_frac"].shape == (0, 4)
