"""Tables as CSV: per cent or shares, repeated runs, a sweep's own; whatever is wrong is one line."""

import made_sweeps as made
import pytest

from gradscope.errors import TraceError
from gradscope.run_table_csv import read_csv
from gradscope.sweep_results import save_results, sweep_result
from gradscope.table_files import read_table


def table_of(tmp_path, text):
    file = tmp_path / "table.csv"
    file.write_text(text, encoding="utf-8")
    return read_csv(file)


def test_per_cent_is_known_by_its_size_and_told(tmp_path):
    table = table_of(tmp_path, "act1,act2,accuracy,test_loss\nrelu,tanh,97.5,0.1\nrelu,relu,0.9,2.3\n")
    assert [row.values for row in table.rows] == [(0.975,), (pytest.approx(0.009),)]
    assert table.notes == ("its values are per cent",)
    assert table.rows[0].factors == {"act1": "relu", "act2": "tanh"}


def test_shares_stay_shares(tmp_path):
    table = table_of(tmp_path, "# a comment\nlr,accuracy\n\n0.1,0.975\n0.2,1.0\n")
    assert ([row.values for row in table.rows], table.notes) == ([(0.975,), (1.0,)], ())


def test_runs_are_taken_before_their_mean_and_copies_left_out(tmp_path):
    lines = [f"a{i},{90 + i},{80 + i},{90 + i},86.0,1.0" for i in range(4)]
    table = table_of(tmp_path, "\n".join(["act1,run1,run2,run3,mean,std", *lines]))
    assert [row.values for row in table.rows] == [
        (pytest.approx(0.90 + 0.01 * i), pytest.approx(0.8 + 0.01 * i)) for i in range(4)
    ]
    assert table.notes[1] == "of its 3 runs 2 are distinct, the others repeat them and are left out"


def test_a_mean_alone_is_one_run(tmp_path):
    row = table_of(tmp_path, "act1,mean,std\nrelu,90,2\n").rows[0]
    assert (row.mean, row.std_err) == (0.9, None)


def test_a_sweeps_own_table_has_the_runs_of_the_sweep(tmp_path):
    cells = [made.cell(f, 3) for f in made.grid(act1=["relu", "tanh"], lr=["0.1"])]
    save_results(
        sweep_result(cells, [[made.run(1, 0.9), made.run(2, 0.9), made.collapsed_run(3)], [made.run(2, 0.5)]]), tmp_path
    )
    table = read_csv(tmp_path / "results.csv")
    assert [row.values for row in table.rows] == [(0.9, 0.9, 0.1), (0.5,)]
    assert [row.collapsed for row in table.rows] == [1, 0]
    assert table.rows[0].factors == {"act1": "relu", "lr": "0.1"}
    assert table.notes == ("2 of its networks are not trained yet",)


def test_a_run_that_diverged_counts_as_at_chance_and_is_no_missing_one(tmp_path):
    result = sweep_result([made.cell({"lr": "9"}, 3)], [[made.run(1, float("nan")), made.run(2, 0.5)]])
    save_results(result, tmp_path)
    of_csv, of_json = read_table(tmp_path / "results.csv"), read_table(tmp_path)
    assert [row.values for row in of_csv.rows] == [row.values for row in of_json.rows] == [(0.1, 0.5)]
    assert of_csv.notes == of_json.notes
    assert of_csv.notes[1] == "1 run without a finite metric counts as at chance"


def test_a_sweeps_table_tells_its_metric_and_chance(tmp_path):
    runs = [made.run(seed, -3.0, metric="r2", chance=0.0) for seed in (1, 2)]
    save_results(sweep_result([made.cell({"lr": "9"}, 2)], [runs]), tmp_path)
    found = read_csv(tmp_path / "results.csv")
    assert (found.metric, found.chance, found.rows[0].values) == ("r2", 0.0, (0.0, 0.0))


@pytest.mark.parametrize(("text", "values"), [("inf,-inf", (0.1, 0.1)), ("nan,0.9", (0.1, 0.9)), (",0.9", (0.9,))])
def test_what_is_not_finite_is_a_run_that_failed(tmp_path, text, values):
    found = table_of(tmp_path, f"lr,run1,run2\n0.1,{text}\n").rows[0]
    assert found.values == values
    assert found.std_err is None or found.std_err >= 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr,run1,run2\n1,1e200,-1e200\n", r"table\.csv:2: run1: expected a share \(0\.97\), .*, got '1e200'"),
        ("lr,accuracy\n1,-0.5\n", r"table\.csv:2: accuracy: expected a share"),
        ("lr,accuracy\n1,1.2\n", r"table\.csv:2: accuracy: expected a share"),
        ("", "a header and rows below it, got 0 lines"),
        ("act1,accuracy\n", "got 1 lines"),
        ("act1,loss\nrelu,1\n", "expected a column run1, mean or accuracy, got act1, loss"),
        ("# x\nact1,accuracy\nrelu,9a\n", r"table\.csv:3: accuracy: expected a number, got '9a'"),
        ("act1,accuracy\nrelu\n", r"table\.csv:2: expected 2 fields as in the header, got 1"),
        ('act1,accuracy\n"relu,1\n', r"table\.csv:2: expected 2 fields"),
    ],
)
def test_what_is_no_table_is_one_line(tmp_path, text, message):
    with pytest.raises(TraceError, match=message) as caught:
        table_of(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_other_bytes_are_one_line(tmp_path):
    (tmp_path / "table.csv").write_bytes(b"act1,accuracy\n\xff,1\n")
    with pytest.raises(TraceError, match="UTF-8"):
        read_csv(tmp_path / "table.csv")
