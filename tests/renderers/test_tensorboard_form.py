"""The report and the verdict for the Gradscope tab, as they are in event files."""

from __future__ import annotations

import json
from pathlib import Path

import reports
from event_files import read, told

from gradscope.renderers.tensorboard import TensorBoardLog
from gradscope.renderers.tensorboard_form import FORM, REPORT, VERDICT, Author


def test_the_report_is_one_text(tmp_path: Path) -> None:
    log = TensorBoardLog(tmp_path)
    log.finish(reports.sick())
    (event,) = read(tmp_path).Tensors(REPORT)
    assert json.loads(event.tensor_proto.string_val[0])["report"] == json.loads(reports.sick().to_json())
    assert told(tmp_path, REPORT) == {"form": FORM}


def test_a_run_has_no_verdict_until_it_has_one(tmp_path: Path) -> None:
    log = TensorBoardLog(tmp_path)
    log.update([reports.trace()])
    log.update([reports.trace()])
    log.finish(reports.sick())
    verdicts = [json.loads(event.tensor_proto.string_val[0]) for event in read(tmp_path).Tensors(VERDICT)]
    assert verdicts == [{"title": None, "verdict": None}, {"title": "sigmoid-relu", "verdict": "sick"}]


def test_who_begins_later_has_no_smaller_number() -> None:
    numbers = [Author("control", 1, "accuracy", 0).number for _ in range(3)]
    assert numbers == sorted(numbers)
