"""The tables as CSV: columns, fixed digits, comment lines; what is not known is empty."""

import csv

import made_sweeps as made

from gradscope.sweep_results import sweep_result
from gradscope.sweep_tables import epochs_csv, results_csv


def table(text):
    return list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))


def small(command=""):
    factors = made.grid(act1=["relu"], act2=["sigmoid", "tanh"], lr=["0.01"])
    runs = [[made.run(1, 0.97), made.collapsed_run(2), made.run(3, 0.5)], [made.run(2, 0.25)]]
    return results_csv(sweep_result([made.cell(f, 3) for f in factors], runs), command)


def test_columns_stand_in_order():
    header = small().splitlines()[1]
    assert header.startswith(
        "act1,act2,lr,seeds,missing,metric,chance,mean,std,low,high,distinct,collapsed,first_step,findings,run1,run2,run3"
    )
    assert "common_mode_1,common_mode_2,common_mode_3" in header
    assert header.endswith("nonpositive_weight_frac_1,nonpositive_weight_frac_2,nonpositive_weight_frac_3")


def test_the_command_stands_in_the_first_line():
    assert small("gradscope sweep\nx.yaml").splitlines()[0] == "# made by: gradscope sweep x.yaml"


def test_a_row_has_what_came_of_its_seeds():
    row = table(small())[0]
    assert (row["mean"], row["collapsed"], row["first_step"]) == ("0.523333", "0.333333", "0")
    assert (row["run1"], row["run2"], row["run3"]) == ("0.970000", "0.100000", "0.500000")
    assert row["findings"] == "output-collapse@3.relu:1/3 common-mode@3.relu:1/3"
    assert (row["common_mode_2"], row["nonpositive_weight_frac_3"]) == ("4", "0.520000")


def test_missing_seeds_leave_their_places_empty():
    row = table(small())[1]
    assert (row["seeds"], row["missing"], row["std"], row["low"]) == ("1", "2", "", "")
    assert (row["run1"], row["run2"], row["run3"]) == ("", "0.250000", "")


def test_a_cell_that_is_not_trained_has_no_numbers():
    text = results_csv(sweep_result([made.cell({"lr": "0.1"}, 2)], [[]]))
    assert text.splitlines()[-1] == "0.1,0,2,,,,,,,,,,,,"


def test_a_run_without_a_finite_metric_is_nan_and_not_an_empty_place():
    result = sweep_result([made.cell({"lr": "9"}, 3)], [[made.run(1, float("nan")), made.run(2, 0.5)]])
    row = table(results_csv(result))[0]
    assert (row["run1"], row["run2"], row["run3"]) == ("nan", "0.500000", "")
    assert (row["mean"], row["metric"], row["chance"]) == ("0.300000", "accuracy", "0.100000")
    assert [epoch["metric"] for epoch in table(epochs_csv(result))] == ["nan", "nan", "0.250000", "0.500000"]


def test_epochs_have_one_row_for_each_seed_and_epoch():
    factors = made.grid(lr=["0.1", "0.2"])
    runs = [[made.run(1, 0.8), made.run(2, 0.6)], [made.run(1)]]
    rows = table(epochs_csv(sweep_result([made.cell(f, 2) for f in factors], runs)))
    assert [(row["lr"], row["seed"], row["epoch"], row["step"]) for row in rows] == [
        ("0.1", "1", "1", "45"), ("0.1", "1", "2", "90"), ("0.1", "2", "1", "45"), ("0.1", "2", "2", "90"),
        ("0.2", "1", "1", "45"), ("0.2", "1", "2", "90"),
    ]  # fmt: skip
    assert (rows[3]["metric"], rows[3]["train_loss"], rows[3]["nonpositive_weight_frac_3"]) == ("0.600000", "0.25", "0.520000")


def test_layers_are_in_the_order_of_their_numbers_whatever_the_depths():
    deep = {f"{i + 1}.relu": {"act_rms": 1.0} for i in range(11)}
    runs = [[made.run(1, start={"1.relu": {"act_rms": 2.0}})], [made.run(1, start=deep)]]
    rows = table(results_csv(sweep_result([made.cell({"depth": d}, 1) for d in "ab"], runs)))
    assert [name for name in rows[0] if name.startswith("act_rms")] == [f"act_rms_{i + 1}" for i in range(11)]
    assert (rows[0]["act_rms_1"], rows[0]["act_rms_11"], rows[1]["act_rms_11"]) == ("2", "", "1")


def test_statistics_that_are_not_finite_are_empty_or_inf():
    run = made.run(1, 0.9, start={"1.relu": {"common_mode": float("inf"), "grad_rms": float("nan")}})
    row = table(results_csv(sweep_result([made.cell({"lr": "0.1"}, 1)], [[run]])))[0]
    assert (row["common_mode_1"], row["grad_rms_1"]) == ("inf", "")
