"""From networks to rows: against plain twins, unfinished sweeps, runs that repeat, values that are not finite."""

import math
import statistics

import made_sweeps as made
import pytest

from gradscope.errors import WriteError
from gradscope.sweep_results import load_result, save_results, sweep_result

ONE = [{"act1": "relu", "act2": "relu", "act3": "relu"}]


def row_of(*runs, seeds=None):
    return sweep_result([made.cell(ONE[0], seeds or len(runs))], [runs]).rows[0]


def test_mean_and_deviation_are_those_of_the_sample():
    values = [0.9, 0.95, 0.97, 0.1, 0.96]
    row = row_of(*(made.run(seed, value) for seed, value in enumerate(values, start=1)))
    assert row.mean == pytest.approx(statistics.fmean(values))
    assert row.std == pytest.approx(statistics.stdev(values))
    assert row.values == values
    assert 0.1 < row.interval[0] < row.mean < row.interval[1] < 1


def test_runs_are_put_in_the_order_of_their_seeds():
    row = row_of(made.run(3, 0.3), made.run(1, 0.1), made.run(2, 0.2))
    assert (row.seeds, row.values) == ([1, 2, 3], [0.1, 0.2, 0.3])


def test_seeds_that_are_not_trained_are_missing():
    row = row_of(made.run(2), made.run(5), seeds=5)
    assert (row.seeds, row.missing) == ([2, 5], [1, 3, 4])
    assert row.interval is None


def test_a_cell_without_runs_is_a_row_without_numbers():
    row = row_of(seeds=3)
    assert (row.seeds, row.missing, row.values, row.findings) == ([], [1, 2, 3], [], [])
    assert math.isnan(row.mean)
    assert math.isnan(row.collapsed_frac)


def test_one_seed_has_no_deviation():
    assert math.isnan(row_of(made.run(1, 0.9)).std)


def test_equal_values_are_counted_once():
    assert row_of(*(made.run(seed, value) for seed, value in enumerate([0.1, 0.1, 0.9, 0.1], start=1))).distinct == 2
    assert row_of(made.run(1, float("nan")), made.run(2, float("nan"))).distinct == 1


def test_collapse_is_a_finding_of_its_rules_and_nothing_else():
    row = row_of(
        made.run(1, 0.5, [made.finding("dead-layer", "1.relu")]),
        made.run(2, 0.5, [made.finding("output-collapse", severity="warning")]),
        made.run(3, 0.1, [made.finding("common-mode"), made.finding("dead-units", "1.relu")]),
        made.run(4, 0.1),
    )
    assert row.collapsed == [1, 2]
    assert row.collapsed_frac == 0.5


def test_findings_are_joined_by_rule_and_site_worst_first():
    row = row_of(
        made.run(1, findings=[made.finding("dead-units", "1.relu", "note", 0), made.finding(step=40)]),
        made.run(2, findings=[made.finding("dead-units", "1.relu", "warning", 7), made.finding(step=20)]),
        made.run(3, findings=[made.finding("dead-units", "2.relu", "warning", 5)]),
    )
    assert [(f.rule, f.site, f.severity, f.seeds, f.first_step) for f in row.findings] == [
        ("output-collapse", "3.relu", "error", [1, 2], 20),
        ("dead-units", "1.relu", "warning", [1, 2], 0),
        ("dead-units", "2.relu", "warning", [3], 5),
    ]


def test_the_first_flagged_step_is_the_median_over_the_seeds_with_an_error():
    row = row_of(
        made.run(1, findings=[made.finding(step=40), made.finding("common-mode", step=10)]),
        made.run(2, findings=[made.finding("dead-units", "1.relu", "warning", 0)]),
        made.run(3, findings=[made.finding(step=30)]),
        made.run(4),
    )
    assert row.first_flagged_step == 20
    assert row_of(made.run(1)).first_flagged_step is None


def test_statistics_of_step_0_are_medians_over_the_seeds_without_nan():
    starts = [{"1.relu": {"common_mode": value}} for value in (1.0, 9.0, 2.0, float("nan"))]
    row = row_of(*(made.run(seed, start=start) for seed, start in enumerate(starts, start=1)))
    assert row.start == {"1.relu": {"common_mode": 2.0}}


def test_epochs_hold_each_seed():
    row = row_of(made.run(2, 0.8), made.run(1, 0.6))
    assert [epoch.step for epoch in row.epochs] == [45, 90]
    assert row.epochs[1].metric == [0.6, 0.8]
    assert row.epochs[1].nonpositive_weight_frac == [[0.5, 0.5, 0.52]] * 2


def test_cells_of_different_metrics_are_told_apart():
    cells = [made.cell(ONE[0], 1)] * 2
    result = sweep_result(cells, [[made.run(1)], [made.run(1, metric="r2", chance=0.0)]])
    assert result.metric == "accuracy, r2"
    assert [row.metric for row in result.rows] == ["accuracy", "r2"]


@pytest.mark.parametrize("bad", [float("nan"), float("-inf"), -50.0])
def test_mean_deviation_and_interval_are_of_the_same_bounded_values(bad):
    row = row_of(*(made.run(seed, value, metric="r2", chance=0.0) for seed, value in enumerate([0.9, bad, 0.8], start=1)))
    assert row.mean == pytest.approx((0.9 + 0.0 + 0.8) / 3)
    assert row.std == pytest.approx(statistics.stdev([0.9, 0.0, 0.8]))
    assert 0 <= row.interval[0] < row.mean < row.interval[1] <= 1


def test_runs_whose_numbers_are_not_finite_have_collapsed_and_diverged():
    row = row_of(
        made.run(1, float("nan")), made.run(2, 0.1, [made.finding("non-finite", None)]), made.collapsed_run(3), made.run(4)
    )
    assert (row.collapsed, row.diverged) == ([1, 2, 3], [1, 2])


def test_what_is_saved_is_read_again_and_the_same_bytes_each_time(tmp_path):
    cells = [made.cell(ONE[0], 3), made.cell(ONE[0], 3)]
    result = sweep_result(cells, [[made.run(1), made.collapsed_run(2, float("nan"))], []], recipe="again")
    save_results(result, tmp_path, command="gradscope sweep again.yaml")
    first = {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
    assert set(first) == {"results.json", "results.csv", "epochs.csv", "heatmap.svg"}
    assert (tmp_path / "tensorboard").is_dir()
    save_results(load_result(tmp_path), tmp_path, command="gradscope sweep again.yaml")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()} == first


def test_a_folder_that_is_gone_is_one_line(tmp_path):
    with pytest.raises(WriteError, match="cannot be written") as caught:
        save_results(sweep_result([made.cell(ONE[0])], [[made.run()]]), tmp_path / "none")
    assert "\n" not in str(caught.value)


def test_runs_for_other_cells_than_there_are_are_refused():
    with pytest.raises(ValueError, match="zip"):
        sweep_result([made.cell(ONE[0])], [])


def test_a_sweep_of_which_nothing_is_trained_is_saved_all_the_same(tmp_path):
    cells = [made.cell(factors) for factors in made.product_grid(2)]
    save_results(sweep_result(cells, [[] for _ in cells]), tmp_path)
    assert load_result(tmp_path).unfinished == 80
    assert (tmp_path / "heatmap.svg").read_text().count('class="none"') == 17  # the cells and the legend
