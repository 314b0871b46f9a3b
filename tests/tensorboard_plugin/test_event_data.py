"""How TensorBoard's names of runs make up runs of gradscope's, on every system."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from tensorboard.context import RequestContext
from tensorboard.data.provider import DataProvider

from gradscope.renderers.tensorboard_form import FORM, VERDICT, Author
from gradscope.tensorboard_plugin.event_data import EventData
from gradscope.tensorboard_plugin.kept import Kept


class Provider(DataProvider):  # type: ignore[misc]
    """TensorBoard's data of one run with one member, under their names; no other answers are asked of it here."""

    def __init__(self, run: str, member: str) -> None:
        sites = {"sites": [], "statistics": ["act_rms"], **Author("control", 1, "accuracy", 0).about}
        self.listed = {
            run: {VERDICT: series({"form": FORM})},
            member: {"gradscope/sites7": series(sites)},
        }

    def list_tensors(self, *_: Any, **__: Any) -> Any:
        return self.listed

    def read_tensors(self, *_: Any, run_tag_filter: Any, **__: Any) -> Any:
        told = SimpleNamespace(item=lambda: json.dumps({"title": None, "verdict": "sick"}).encode())
        return {run: {VERDICT: [SimpleNamespace(numpy=told)]} for run in run_tag_filter.runs}


Provider.__abstractmethods__ = frozenset()  # what is not asked for here need not be answered


def series(told: dict[str, object]) -> Any:
    return SimpleNamespace(plugin_content=json.dumps(told).encode(), max_step=None, max_wall_time=None)


@pytest.mark.parametrize(
    ("run", "member", "title"),
    [
        (".", "control-1", "this run"),
        ("a/tensorboard", "a/tensorboard/control-1", "a"),
        ("a\\b\\tensorboard", "a\\b\\tensorboard\\control-1", "a\\b"),
        ("tensorboard", "tensorboard/control-1", "tensorboard"),
        ("of/mine", "of/mine/control-1", "of/mine"),
    ],
)
def test_a_member_belongs_to_the_run_in_whose_folder_it_is(run: str, member: str, title: str) -> None:
    (entry,) = EventData(Provider(run, member), RequestContext(), "", Kept()).runs()
    assert (entry["run"], entry["members"], entry["title"], entry["verdict"]) == (run, [member], title, "sick")


def test_a_tag_whose_events_are_all_dropped_has_no_last_step() -> None:
    """As TensorBoard lists a tag of a training that was begun anew."""
    (entry,) = EventData(Provider(".", "control-1"), RequestContext(), "", Kept()).runs()
    assert entry["last_step"] == 0
