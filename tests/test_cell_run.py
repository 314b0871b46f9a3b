"""What a journal keeps of a network: small, and read again as it was, in the form of older journals too."""

from __future__ import annotations

import json
import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from made_sweeps import finding, run

from gradscope.cell_run import CellRun, Epoch

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


def by_rows(of: CellRun) -> dict[str, Any]:
    """The form of older journals."""
    return of.model_dump(mode="python")


@given(
    start=st.dictionaries(
        st.text(max_size=9), st.dictionaries(st.sampled_from(["act_rms", "common_mode"]), NUMBERS), max_size=3
    ),
    epochs=st.integers(0, 3),
)
def test_what_is_written_is_read_again(start: dict[str, dict[str, float]], epochs: int) -> None:
    """Also where sites have no names, or not the same statistics."""
    ends = [
        Epoch(step=i, metric=i / 3, test_loss=0.1, train_loss=1e-9, nonpositive_weight_frac=[0.5, i]) for i in range(epochs)
    ]
    made = run(findings=[finding()], start=start, epochs=ends)
    assert CellRun.model_validate_json(made.model_dump_json()) == made


def test_older_journals_are_read() -> None:
    assert CellRun.model_validate_json(json.dumps(by_rows(run()))) == run()


def test_each_name_is_written_once() -> None:
    ends = [Epoch(step=i, metric=0.5, test_loss=0.1, train_loss=0.1, nonpositive_weight_frac=[0.5]) for i in range(10)]
    text = run(epochs=ends).model_dump_json()
    assert [text.count(name) for name in ("test_loss", "gate_transmission", "2.sigmoid")] == [1, 1, 1]


def test_what_json_does_not_have_comes_back_as_nan() -> None:
    end = Epoch(step=1, metric=math.inf, test_loss=math.nan, train_loss=1.0, nonpositive_weight_frac=[math.nan])
    text = run(epochs=[end], start={"1.relu": {"act_rms": math.nan}}).model_dump_json()
    assert "NaN" not in text
    back = CellRun.model_validate_json(text)
    assert math.isnan(back.epochs[0].metric)
    assert math.isnan(back.epochs[0].nonpositive_weight_frac[0])
    assert math.isnan(back.start["1.relu"]["act_rms"])
