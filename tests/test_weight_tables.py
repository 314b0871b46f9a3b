"""The share of weights <= 0 by epoch: a published table against a sweep's epochs."""

import made_sweeps as made
import pytest
from command_line import call

from gradscope.errors import TraceError
from gradscope.sweep_results import save_results, sweep_result
from gradscope.table_files import read_tables
from gradscope.weight_tables import METRIC, is_weight_table, read_weights

PUBLISHED = "lr,epoch,train_loss_sum,nonpositive_weights,total_weights\n0.35,1,864.5,1305,2560\n0.35,2,594.3,1408,2560\n"


@pytest.fixture
def published(tmp_path):
    file = tmp_path / "published.csv"
    file.write_text(PUBLISHED)
    return file


@pytest.fixture
def sweep(tmp_path):
    folder = tmp_path / "sweep"
    folder.mkdir()
    cells = [made.cell({"lr": lr}, 2) for lr in ("0.35", "0.65")]
    save_results(sweep_result(cells, [[made.run(1), made.run(2)]] * 2), folder)
    return folder


def test_a_published_table_gives_shares(published):
    table = read_weights(published)
    assert [dict(row.factors) for row in table.rows] == [{"lr": "0.35", "epoch": "1"}, {"lr": "0.35", "epoch": "2"}]
    assert [row.values for row in table.rows] == [(1305 / 2560,), (0.55,)]
    assert table.metric == METRIC


def test_a_sweeps_epochs_give_the_last_layers_shares_by_seed(sweep):
    table = read_weights(sweep / "epochs.csv")
    assert [row.values for row in table.rows] == [(0.51, 0.51), (0.52, 0.52)] * 2
    assert dict(table.rows[3].factors) == {"lr": "0.65", "epoch": "2"}


def test_which_is_compared_follows_from_the_tables(sweep, published):
    assert is_weight_table(published)
    assert not is_weight_table(sweep)
    assert {table.metric for table in read_tables(sweep, published)} == {METRIC}
    assert {table.metric for table in read_tables(sweep, sweep)} == {"accuracy"}


def test_the_command_compares_them(sweep, published):
    done = call("compare", sweep, published, "--rows", "all")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("AGREE   1 of 2 rows")
    assert "CHANCE" not in done.out
    assert "0.35 2     52.00 55.00 -3.00      differs" in done.out


def test_runs_whose_weights_are_not_finite_are_left_out(sweep):
    file = sweep / "epochs.csv"
    lines = file.read_text().splitlines(keepends=True)
    spoilt = [line.replace("0.520000\n", "nan\n") if line.startswith(("0.65,", "0.35,1,")) else line for line in lines]
    file.write_text("".join(spoilt))
    table = read_weights(file)
    assert [row.values for row in table.rows] == [(0.51, 0.51), (0.52,), (0.51, 0.51)]
    assert table.notes == ("3 shares of 8 are of runs whose weights are not finite, and left out",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "lr,epoch,accuracy\n1,1,2\n",
            "expected a sweep's epochs.csv or a table with nonpositive_weights, total_weights, got lr",
        ),
        (PUBLISHED.replace(",2560", ",0"), "published.csv:2: total_weights: expected a number above 0, got '0'"),
        (PUBLISHED.replace("1305", "x"), "published.csv:2: nonpositive_weights: expected a number, got 'x'"),
    ],
)
def test_what_is_no_such_table_is_one_line(published, text, message):
    published.write_text(text)
    with pytest.raises(TraceError, match=message) as caught:
        read_weights(published)
    assert "\n" not in str(caught.value)
