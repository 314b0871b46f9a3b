"""results.json: one line a row, read back; damaged files are one line of text."""

import json

import made_sweeps as made
import pytest

from gradscope.errors import TraceError
from gradscope.sweep_report import load_result
from gradscope.sweep_results import sweep_result


def test_json_has_one_line_for_each_row_and_is_the_same_read_back(tmp_path):
    result = made.made(made.product_grid(2), made.published_like, seeds=2)
    file = tmp_path / "results.json"
    file.write_text(result.to_json())
    again = load_result(tmp_path)
    assert again.to_json() == result.to_json()
    assert [row.factors for row in again.rows] == made.product_grid(2)
    assert sum(line.startswith("    {") for line in result.to_json().splitlines()) == 16


def test_numbers_that_are_not_finite_are_null():
    result = made.made(made.grid(lr=[0.1]), lambda *_: float("nan"), seeds=1)
    row = json.loads(result.to_json())["rows"][0]
    assert row["values"] == [None]
    assert row["std"] is None


def test_a_sweep_knows_how_many_networks_are_missing():
    cells = [made.cell({"lr": "0.1"}, 3), made.cell({"lr": "0.2"}, 3)]
    assert sweep_result(cells, [[made.run(1)], []]).unfinished == 5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "expected a sweep's results in JSON"),
        ("[]", "another JSON file"),
        ('{"schema": 1}', "another JSON file"),
        ('{"schema": 9, "rows": []}', "update gradscope"),
        ('{"schema": 1, "rows": []}', "damaged"),
    ],
)
def test_files_that_are_no_result_are_one_line(tmp_path, content, message):
    file = tmp_path / "results.json"
    file.write_text(content)
    with pytest.raises(TraceError, match=message) as caught:
        load_result(file)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TraceError, match=r"results\.json: cannot be read"):
        load_result(tmp_path)
