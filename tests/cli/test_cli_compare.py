"""`gradscope compare`: two sweeps, a published table, the formats, what can go wrong."""

import csv
import json

import made_sweeps as made
import pytest
from command_line import call

from gradscope.cli.compare import compare as command
from gradscope.comparing import POINTS, STANDARD_ERRORS
from gradscope.sweep_results import save_results

PUBLISHED = "act1,act2,accuracy\nrelu,relu,97.5\nrelu,tanh,97.5\ntanh,relu,97.5\ntanh,tanh,60.0\n"


@pytest.fixture
def sweep(tmp_path):
    folder = tmp_path / "sweep"
    folder.mkdir()
    result = made.made(made.product_grid(2, ["relu", "tanh"], norm=["none", "batchnorm-last"]), lambda *_: 0.975, seeds=3)
    save_results(result, folder, command="gradscope sweep x.yaml")
    return folder


@pytest.fixture
def published(tmp_path):
    file = tmp_path / "published.csv"
    file.write_text(PUBLISHED)
    return file


def test_the_sums_come_first_then_what_differs(sweep, published):
    done = call("compare", sweep, published, "--where-a", "norm=none")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("AGREE   3 of 4 rows, within 3 standard errors of both together, or 0.5 points")
    assert "its values are per cent" in " ".join(done.out.split())
    assert "all rows have a single run on a side" in done.out
    rows = done.out.split("ROWS THAT DO NOT AGREE")[1]
    assert "tanh tanh" in rows
    assert "+37.50" in rows
    assert "relu relu" not in rows


def test_all_rows_can_be_shown(sweep, published):
    done = call("compare", sweep, published, "--where", "norm=none", "--rows", "all")
    assert (done.code, done.out) == (2, "")  # the published table has no such factor
    done = call("compare", sweep, published, "--where-a", "norm=none", "--rows", "all")
    assert all(stack in done.out for stack in ("relu relu", "relu tanh", "tanh relu", "tanh tanh"))


def test_two_parts_of_one_sweep_are_compared(sweep):
    done = call("compare", sweep, sweep / "results.csv", "--where-a", "norm=none", "--where-b", "norm=batchnorm-last")
    assert done.out.startswith("AGREE   4 of 4 rows")


def test_json_and_csv_have_all_rows(sweep, published):
    done = call("compare", sweep, published, "--where-a", "norm=none", "--format", "json")
    data = json.loads(done.out)
    assert (data["schema"], data["agree"], len(data["rows"])) == (1, 3, 4)
    done = call("compare", sweep, published, "--where-a", "norm=none", "--format", "csv")
    rows = list(csv.DictReader(line for line in done.out.splitlines() if not line.startswith("#")))
    assert [row["agrees"] for row in rows] == ["yes", "yes", "yes", "no"]
    assert (rows[3]["a_mean"], rows[3]["b_mean"], rows[3]["difference"], rows[3]["std_err"]) == (
        "0.975000",
        "0.600000",
        "0.375000",
        "0.000000",
    )
    done = call("compare", sweep, published, "--where-a", "norm=none", "--format", "csv", "--rows", "different")
    assert len(done.out.splitlines()) == 4


def test_a_value_may_be_named_twice_and_the_example_stands_on_its_own_line(sweep):
    assert call("compare", sweep, sweep, "--where", "norm=none", "--where", "norm=none").code == 0
    lines = call("compare", "--help").out.splitlines()
    assert "    gradscope compare S S --where-a norm=batchnorm-last --where-b norm=batchnorm-all" in lines


def test_agreement_can_be_set(sweep, published):
    assert call("compare", sweep, published, "--where-a", "norm=none", "--points", "40").out.startswith("AGREE   4 of 4")


def test_the_help_names_the_defaults_that_hold():
    options = {option.name: option for option in command.params}
    assert f"default: {POINTS:g}" in options["points"].help
    assert f"default: {STANDARD_ERRORS:g}" in options["errors"].help


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--where-a", "norm"], "expected NAME=VALUE such as norm=none, got 'norm'"),
        (["--where-a", "norm=x"], "expected one of its values (none, batchnorm-last), got 'x'"),
        ([], "choose one, such as --where-a norm=none"),
        (["--where", "norm=none", "--where", "norm=batchnorm-last"], "expected one value of norm, got none and batchnorm-last"),
        (["--points", "-1"], "-1"),
        (["--points", "nan"], "'--points': expected a finite number, got nan"),
        (["--errors", "inf"], "'--errors': expected a finite number, got inf"),
    ],
)
def test_wrong_use_is_one_line(sweep, published, arguments, message):
    done = call("compare", sweep, published, *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert done.err.count("\n") == 1


def test_a_missing_table_is_one_line(sweep, tmp_path):
    done = call("compare", sweep, tmp_path / "no.csv")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "found nothing there" in done.err
