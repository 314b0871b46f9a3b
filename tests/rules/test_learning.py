"""When a network counts as one that learns."""

from dataclasses import replace

import numpy as np
import pytest

from gradscope.rules.examples import example, untested
from gradscope.rules.learning import end_loss, has_learnt, learns_well, start_loss
from gradscope.trace import Task

NAN = float("nan")
FALLS = np.linspace(2.0, 0.5, 40)


@pytest.mark.parametrize(
    ("loss", "metric", "learnt"),
    [
        (2.3, 0.9, True),  # what counts is either
        (FALLS, 0.1, False),  # fallen from what it was thrown up to
        (FALLS, 0.2, True),
        (2.3, 0.5, False),
        (2.3, 0.56, True),  # half of the way from 0.1 to 1
        (np.linspace(2.0, 1.2, 40), 0.1, False),
        (NAN, 0.1, False),
        (np.append(np.full(20, 2.0), np.full(20, NAN)), 0.1, False),
    ],
)
def test_the_metric_or_the_loss_has_come_half_of_the_way(loss, metric, learnt):
    assert has_learnt(example(records=40, loss=loss, metric=metric)) is learnt


def test_of_a_loop_that_tells_only_one_of_both_that_one_counts():
    assert has_learnt(untested(example(records=40, loss=FALLS))) is True
    assert has_learnt(untested(example(records=40, loss=2.3))) is False
    assert has_learnt(example(loss=None, metric=0.2)) is False
    assert has_learnt(untested(example(loss=None))) is None
    assert has_learnt(replace(untested(example(loss=2.3)), task=Task(""))) is False


def test_a_loss_that_falls_behind_a_dead_layer_has_taught_nothing():
    dead = {("closed_frac", 1): 1.0, ("nonpositive_frac", 1): 1.0, ("remaining", 0): 0.0, ("act_common_mode", 2): np.inf}
    assert has_learnt(untested(example(records=40, loss=FALLS, site=dead))) is False
    around = dead | {("remaining", 0): 0.3}  # a residual branch
    assert has_learnt(untested(example(records=40, loss=FALLS, site=around))) is True


def test_a_few_losses_tell_nothing():
    assert has_learnt(untested(example(records=19, loss=np.linspace(2, 0, 19)))) is None


def test_coming_down_from_what_the_first_steps_threw_up_is_no_learning():
    thrown = np.append([2.3], np.geomspace(1000, 2.3, 39))
    assert start_loss(untested(example(records=40, loss=thrown))) == pytest.approx(2.3)
    assert has_learnt(untested(example(records=40, loss=thrown))) is False


def test_the_test_loss_before_the_first_step_is_the_start_where_it_is_known():
    trace = example(records=40, loss=FALLS)
    assert start_loss(replace(trace, evaluation_loss=np.full(11, 9.0, np.float32))) == 9
    assert np.isnan(start_loss(untested(example(loss=None))))


def test_a_loss_below_zero_falls_as_well():
    assert has_learnt(untested(example(records=40, loss=np.linspace(-1, -2, 40)))) is True
    assert has_learnt(untested(example(records=40, loss=np.linspace(-2, -1, 40)))) is False


def test_an_end_that_overflows_is_infinite():
    assert end_loss(example(records=40, loss=np.append(np.ones(30), np.full(10, NAN)))) == np.inf


@pytest.mark.parametrize(("metric", "well"), [(0.97, True), (0.92, True), (0.9, False), (0.1, False)])
def test_nine_tenths_of_the_way_from_guessing_are_well(metric, well):
    assert learns_well(example(metric=metric), 0) is well


def test_a_metric_of_before_says_nothing_of_what_came_after():
    trace = example(metric=0.97)
    assert learns_well(trace, int(trace.evaluation_steps[-1]) - 1)
    assert not learns_well(trace, int(trace.evaluation_steps[-1]))


def without_metric(loss, wrong):
    return replace(untested(example(records=40, loss=loss)), output_grad_norm=np.broadcast_to(np.float32(wrong), 40))


GONE = np.geomspace(2.0, 0.01, 40)


def test_without_a_metric_nine_tenths_of_the_loss_are_gone_and_of_the_gradient_at_the_output_two_thirds():
    assert learns_well(without_metric(GONE, GONE), 0)
    assert not learns_well(without_metric(FALLS, GONE), 0)
    assert not learns_well(without_metric(GONE, np.linspace(2.0, 1.2, 40)), 0)
    assert not learns_well(without_metric(GONE, NAN), 0)


def test_without_a_metric_a_failure_that_came_with_the_last_steps_is_not_harmless():
    assert not learns_well(without_metric(GONE, GONE), 39)


def test_losses_below_zero_or_beyond_all_bounds_say_nothing_of_how_well():
    assert not learns_well(without_metric(np.linspace(-1, -90, 40), GONE), 0)
    assert not learns_well(without_metric(np.append(np.full(30, 2.0), np.full(10, NAN)), GONE), 0)


def test_a_cross_entropy_that_comes_down_from_where_large_weights_threw_it_is_not_learnt_well():
    assert not learns_well(without_metric(np.geomspace(90, 2.3, 40), np.geomspace(1.3, 0.9, 40)), 0)
