"""Row by row: which rows belong together, when they agree, what is at chance."""

import math

import made_sweeps as made
import numpy as np
import pytest

from gradscope.comparing import Agreement, compare
from gradscope.errors import TraceError
from gradscope.run_table import RunRow, RunTable, of_result
from gradscope.sweep_results import sweep_result


def table(rows, name="t", **changes):
    """Rows as {(factors' values): values}; factors are act1, act2, ... or as the keys say."""
    return RunTable(name, tuple(RunRow(factors, tuple(values), len(values)) for factors, values in rows), **changes)


def stacks(name="t", /, **rows):
    """Tables of two-layer stacks: relu_tanh=[0.9, 0.8]."""
    found = [(dict(zip(("act1", "act2"), key.split("_"), strict=True)), values) for key, values in rows.items()]
    return table(found, name)


def test_differences_and_standard_errors_are_those_of_both_together():
    found = compare(stacks(relu_tanh=[0.9, 0.8, 0.97]), stacks(relu_tanh=[0.7, 0.75])).rows[0]
    assert found.difference == pytest.approx(0.89 - 0.725)
    assert found.std_err == pytest.approx(math.sqrt(np.var([0.9, 0.8, 0.97], ddof=1) / 3 + np.var([0.7, 0.75], ddof=1) / 2))
    assert found.tolerance == pytest.approx(3 * found.std_err)


def test_rows_agree_within_errors_or_points():
    one, other = (
        stacks(a_a=[0.9, 0.9], b_b=[0.9, 0.7], c_c=[0.9, 0.9]),
        stacks(a_a=[0.895, 0.895], b_b=[0.5, 0.9], c_c=[0.89, 0.89]),
    )
    found = compare(one, other)
    assert [row.agrees for row in found.rows] == [True, True, False]
    assert found.agree == 2
    assert compare(one, other, Agreement(points=1.0)).agree == 3
    assert compare(one, other, Agreement(standard_errors=0.0)).agree == 1


def test_single_runs_beside_few_have_points_only():
    found = compare(stacks(a_a=[0.9]), stacks(a_a=[0.5, 0.99]))
    assert (found.rows[0].std_err, found.rows[0].agrees, found.single_runs, found.borrowed) == (None, False, 1, 0)


@pytest.mark.parametrize("turned", [False, True])
def test_a_single_run_beside_three_is_taken_to_spread_as_they_do(turned):
    tables = stacks(a_a=[0.9]), stacks(a_a=[0.5, 0.7, 0.99])
    found = compare(*(reversed(tables) if turned else tables))
    assert found.rows[0].std_err == pytest.approx(np.std([0.5, 0.7, 0.99], ddof=1) * math.sqrt(1 + 1 / 3))
    assert (found.rows[0].agrees, found.single_runs, found.borrowed) == (True, 0, 1)
    far = stacks(a_a=[0.69]), stacks(a_a=[0.9, 0.91, 0.92])
    assert not compare(*(reversed(far) if turned else far)).rows[0].agrees


def test_how_often_a_single_run_of_the_same_sort_is_said_to_differ():
    """Three standard errors, of few runs: Student's t with four degrees of freedom puts 4 % beyond them."""
    rng = np.random.default_rng(0)

    def drawn(runs):
        return stacks(a_a=list(0.5 + 0.1 * rng.normal(size=runs)))

    found = [compare(drawn(1), drawn(5)).agree for _ in range(600)]
    assert 0.93 < np.mean(found) < 0.99


def test_those_that_do_not_agree_come_largest_first():
    found = compare(stacks(a_a=[0.9], b_b=[0.9], c_c=[0.9]), stacks(a_a=[0.8], b_b=[0.9], c_c=[0.1]))
    assert [row.factors["act1"] for row in found.different] == ["c", "a"]


def test_activations_of_a_layer_have_no_order_and_equal_ones_are_one():
    pairs = [({"act1a": "tanh", "act1b": "relu"}, [0.9]), ({"act1a": "relu", "act1b": "relu"}, [0.8])]
    turned = [({"act1a": "relu", "act1b": "tanh"}, [0.9])]
    assert len(compare(table(pairs), table(turned)).rows) == 1
    whole = compare(table(pairs), table([({"act1": "relu"}, [0.5])]))
    assert [row.a.mean for row in whole.rows] == [0.8]


def test_layers_have_an_order():
    with pytest.raises(TraceError, match=r"found none: here is \(tanh relu\), there is \(relu tanh\)"):
        compare(stacks(relu_tanh=[0.9]), stacks(tanh_relu=[0.9]))


def test_numbers_are_matched_by_value():
    assert len(compare(table([({"lr": "1e-2"}, [0.9])]), table([({"lr": "0.010"}, [0.9])])).rows) == 1


def test_factors_of_one_table_only_are_left_out_where_they_do_not_vary():
    one = table([({"act1": "relu", "lr": "0.1"}, [0.9])])
    assert compare(one, table([({"act1": "relu"}, [0.9])])).factor_names == ["act1"]


def test_rows_that_only_another_factor_tells_apart_name_it():
    several = table([({"act1": "relu", "lr": lr}, [0.9]) for lr in ("0.1", "0.2")], "s")
    with pytest.raises(TraceError, match=r"s: expected one row for act1 relu, got several .* lr.* --where-a lr=0\.1"):
        compare(several, table([({"act1": "relu"}, [0.9])], "p"))
    with pytest.raises(TraceError, match=r"such as --where-b lr=0\.1"):
        compare(table([({"act1": "relu"}, [0.9])], "p"), several)


def test_tables_without_a_common_factor_are_refused():
    with pytest.raises(TraceError, match=r"p: expected a factor of t \(lr\), got momentum"):
        compare(table([({"lr": "1"}, [0.9])]), table([({"momentum": "1"}, [0.9])], "p"))


def test_rows_of_one_table_only_and_unfinished_ones_are_counted():
    found = compare(stacks(a_a=[0.9], b_b=[], c_c=[0.9]), stacks(a_a=[0.9], b_b=[0.9]))
    assert (found.a.unmatched, found.b.unmatched, len(found.rows)) == (2, 1, 1)


def test_rows_at_chance_are_told_and_left_out_of_the_mean():
    one, other = stacks(a_a=[0.1], b_b=[0.5], c_c=[0.1004]), stacks(a_a=[0.1], b_b=[0.53], c_c=[0.4])
    found = compare(one, other)
    assert (found.at_chance.a, found.at_chance.b, found.at_chance.assumed) == (2, 1, True)
    assert found.at_chance.differ == [{"act1": "c", "act2": "c"}]
    assert found.mean_abs_difference == pytest.approx(0.03)


def test_a_table_that_knows_chance_is_believed():
    found = compare(table([({"lr": "1"}, [0.2])], chance=0.25), table([({"lr": "1"}, [0.3])]))
    assert (found.at_chance.chance, found.at_chance.a, found.at_chance.assumed) == (0.25, 1, False)


def test_each_table_s_rows_are_held_against_its_own_chance_and_other_data_are_told():
    one, other = table([({"lr": "1"}, [0.55])], chance=0.5833), table([({"lr": "1"}, [0.3])], chance=0.125)
    found = compare(one, other)
    assert (found.at_chance.a, found.at_chance.b, found.at_chance.chance_b) == (1, 0, 0.125)
    assert found.apart == "chance is 58.33 % in A, 12.5 % in B"
    assert compare(one, one).apart == ""


def test_tables_tested_on_other_numbers_of_samples_are_of_other_data():
    one, other = (table([({"lr": "1"}, [0.5])], test_samples=tested) for tested in (100, 360))
    assert compare(one, other).apart == "A is tested on 100 samples, B on 360"


def test_a_mean_that_is_not_finite_never_agrees():
    found = compare(stacks(a_a=[float("nan")], b_b=[0.9]), stacks(a_a=[0.9], b_b=[0.1]))
    assert found.different[0].factors["act1"] == "a"
    assert found.different[0].interval is None


def test_tables_of_different_metrics_are_refused():
    rows = [({"lr": "1"}, [0.9])]
    with pytest.raises(TraceError, match="p: expected accuracy, which t has, got r2"):
        compare(table(rows, metric="accuracy"), table(rows, "p", metric="r2"))
    found = compare(table(rows, metric="r2"), table(rows))
    assert (found.metric, found.at_chance.chance) == ("r2", 0.0)


def test_a_sweep_with_runs_that_diverged_agrees_with_itself():
    cells = [made.cell({"lr": lr}, 3) for lr in "12"]
    runs = [
        [made.run(seed, value) for seed, value in enumerate(values, 1)] for values in ([0.9, math.nan, 0.8], [math.inf] * 3)
    ]
    one = of_result(sweep_result(cells, runs), "s")
    found = compare(one, one)
    assert (found.agree, found.at_chance.a) == (2, 1)
    assert found.mean_abs_difference == 0
