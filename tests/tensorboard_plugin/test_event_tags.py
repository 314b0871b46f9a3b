"""What tags tell of themselves, and which of their events still count."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from gradscope.renderers.tensorboard_form import FORM
from gradscope.tensorboard_plugin.event_tags import evaluation_tags, last_author, loss_tags, tagged_series


def tag(form: int = FORM, last: int | None = 7, **told: int) -> Any:
    about = {"form": form, "arm": "control", "seed": 1, "metric": "accuracy", "sites": [], "statistics": [], **told}
    return SimpleNamespace(plugin_content=json.dumps(about).encode(), max_step=last)


def test_tags_are_in_the_order_of_their_numbers() -> None:
    names = ["gradscope/sites10", "gradscope/sites", "gradscope/sites2", "gradscope/sitesx", "other"]
    found = tagged_series({name: tag() for name in names})
    assert [one.sites_tag for one in found] == ["gradscope/sites", "gradscope/sites2", "gradscope/sites10"]


def test_another_form_is_left_out() -> None:
    assert tagged_series({"gradscope/sites": tag(form=FORM + 1)}) == []
    assert tagged_series({"gradscope/report": tag()}) == []


def test_what_was_written_counts_up_to_the_next_author() -> None:
    tags = {
        "gradscope/sites100": tag(author=100, first=0, last=50),
        "gradscope/loss100": tag(author=100, first=0),
        "gradscope/evaluations100": tag(author=100, first=0),
        "gradscope/sites200": tag(author=200, first=30, last=60),
        "gradscope/sites205": tag(author=200, first=30, last=70),  # with other sites
        "gradscope/loss300": tag(author=300, first=10),  # which has no record yet
    }
    assert [(one.until, one.last_step) for one in tagged_series(tags)] == [(10, 9), (10, 9), (10, 9)]
    assert [(one.tag, one.until) for one in loss_tags(tags)] == [("gradscope/loss100", 10), ("gradscope/loss300", None)]
    assert [one.until for one in evaluation_tags(tags)] == [10]
    assert last_author(tags) == (300, 10)
    del tags["gradscope/loss300"]
    assert [(one.until, one.last_step) for one in tagged_series(tags)] == [(30, 29), (None, 60), (None, 70)]


def test_of_a_tag_whose_events_were_dropped_there_is_no_last_step() -> None:
    (found,) = tagged_series({"gradscope/sites": tag(last=None)})
    assert found.last_step == -1
