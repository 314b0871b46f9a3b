"""report.json: its keys and their types, and files that are no reports."""

import json
import math

import pytest
import reports

from gradscope.errors import TraceError, WriteError
from gradscope.report import load_report, save_report

NUMBER = (int, float)
# design.md's schema; keys that came later are allowed, these must be there with these types.
DESIGN = {
    "schema": int,
    "gradscope": str,
    "recipe": str,
    "verdict": str,
    "control": {"metric": str, "mean": NUMBER, "std": NUMBER, "values": [NUMBER], "chance": NUMBER},
    "findings": [
        {
            "rule": str,
            "code": str,
            "site": str,
            "role": str,
            "first_step": int,
            "seeds": [int],
            "severity": str,
            "evidence": dict,
            "cause": str,
            "text": str,
        }
    ],
    "fixes": [
        {
            "fix": str,
            "mean": NUMBER,
            "effect": NUMBER,
            "interval": [NUMBER],
            "confidence": NUMBER,
            "values": [NUMBER],
            "cleared": [str],
            "verdict": str,
            "cost": NUMBER,
        }
    ],
    "recommended": str,
    "coverage": {"sites_seen": int, "sites_unseen": [str], "notes": [str]},
    "timing": {"train_s": NUMBER, "recording_frac": NUMBER},
}


def misfits(expected, found, at="report"):
    """Where `found` lacks a key of `expected` or has another type there."""
    if isinstance(expected, dict):
        if not isinstance(found, dict):
            return [f"{at}: {found!r}"]
        missing = [f"{at}.{key} is missing" for key in expected if key not in found]
        return missing + [m for key in expected if key in found for m in misfits(expected[key], found[key], f"{at}.{key}")]
    if isinstance(expected, list):
        if not isinstance(found, list):
            return [f"{at}: {found!r}"]
        return [m for i, item in enumerate(found) for m in misfits(expected[0], item, f"{at}[{i}]")]
    wrong = not isinstance(found, expected) or (isinstance(found, bool) and expected is not bool)
    return [f"{at}: {found!r}"] if wrong else []


def test_the_file_has_the_keys_of_the_design_with_their_types(tmp_path):
    report = reports.sick()
    report = report.model_copy(update={"findings": [f for f in report.findings if f.site]})  # a site may be null
    data = json.loads(save_report(report, tmp_path).read_text())
    assert misfits(DESIGN, data) == []
    assert data["schema"] == 1
    assert data["fixes"][0]["interval"] == [0.32, 0.79]
    assert misfits(DESIGN, {**data, "recommended": 1}) == ["report.recommended: 1"]  # the check itself can fail
    del data["timing"]["train_s"]
    assert misfits(DESIGN, data) == ["report.timing.train_s is missing"]


def test_nothing_is_null_not_absent(tmp_path):
    data = json.loads(save_report(reports.undecided(), tmp_path).read_text())
    assert data["control"] is None
    assert data["recommended"] is None
    assert data["findings"] == data["fixes"] == []
    assert data["coverage"]["sites_seen"] == 0


@pytest.mark.parametrize("make", [reports.sick, reports.healthy, reports.undecided, reports.interrupted, reports.odd_names])
def test_there_and_back_again(make, tmp_path):
    report = make()
    save_report(report, tmp_path)
    assert load_report(tmp_path) == report
    assert load_report(tmp_path / "report.json") == report


def test_numbers_that_are_not_finite_are_null_in_the_file_and_nan_again(tmp_path):
    path = save_report(reports.with_nan(), tmp_path)
    text = path.read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    data = json.loads(text)
    assert data["control"]["mean"] is None
    assert data["control"]["values"] == [None, 0.2]
    assert data["fixes"][1]["interval"] == [None, 0.5]
    again = load_report(tmp_path)
    assert math.isnan(again.control.mean)
    assert math.isnan(again.control.values[0])
    assert again.fixes[1].interval is not None
    assert math.isnan(again.fixes[1].interval[0])
    assert again.fixes[0].interval is None
    assert again.findings[0].evidence == {"loss": None, "step": None, "largest": None}
    assert again.waterfalls[0].stages[0].transmission is None


def edited(path, **changes):
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, **changes}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 2}, "written with schema 2, this gradscope reads up to 1; update gradscope"),
        ({"schema": "1"}, "expected a gradscope report"),
        ({"verdict": "fine"}, "verdict: .*damaged or was edited"),
        ({"control": {"metric": "accuracy"}}, r"control\.mean: .*damaged"),
        ({"fixes": 3}, "fixes: .*damaged"),
    ],
)
def test_another_file_is_refused_in_one_line(changes, message, tmp_path):
    path = save_report(reports.sick(), tmp_path)
    edited(path, **changes)
    with pytest.raises(TraceError, match=message) as caught:
        load_report(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_keys_that_are_not_known_yet_are_left_alone(tmp_path):
    path = save_report(reports.sick(), tmp_path)
    edited(path, news=[1], schema=1)
    assert load_report(tmp_path) == reports.sick()


def test_a_report_that_cannot_be_written_leaves_the_older_one(tmp_path, monkeypatch):
    save_report(reports.healthy(), tmp_path)

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gradscope.report.os.replace", full)
    with pytest.raises(WriteError, match="No space left on device"):
        save_report(reports.sick(), tmp_path)
    assert load_report(tmp_path) == reports.healthy()
    with pytest.raises(WriteError, match="cannot be written"):
        save_report(reports.sick(), tmp_path / "none")
