"""Which site is named where something is not finite: only one that was seen in the step in which it begins."""

from dataclasses import replace

import numpy as np
import pytest

from gradscope.rules.examples import example
from gradscope.rules.non_finite import NonFinite

BEGINS = 7  # the record that first shows it
INFINITE = np.where(np.arange(20) < BEGINS, 1.0, np.inf)


def looked_at(sites, *, spacing=1, finite_losses=None):
    """Return what is found where the sites overflow from record 7 on, one record in so many steps."""
    trace = example(loss=None, site={("act_rms", i): INFINITE for i in sites})
    trace = replace(trace, steps=trace.steps * spacing)
    if finite_losses is not None:
        trace = replace(trace, loss=np.where(np.arange(20 * spacing) < finite_losses, 1.0, np.nan).astype(np.float32))
    (found,) = NonFinite().judge(trace)
    return found


def test_where_every_step_is_looked_at_the_first_site_is_named():
    found = looked_at((1, 2))
    assert (found.site, found.first_step) == (1, 7)
    assert found.text.endswith("from step 7; the first to show it is 2.shuts")
    assert looked_at((0, 1, 2)).site == 0


def test_in_the_first_step_of_all_nothing_was_before():
    trace = example(records=5, loss=np.nan, site={("act_rms", i): np.inf for i in range(3)})
    (found,) = NonFinite().judge(replace(trace, steps=trace.steps * 10))
    assert (found.site, found.first_step) == (0, 0)


@pytest.mark.parametrize("finite_losses", [None, 64, 70])
def test_a_site_behind_weights_that_are_in_order_is_named_whatever_was_not_looked_at(finite_losses):
    assert looked_at((1, 2), spacing=10, finite_losses=finite_losses).site == 1


def test_no_site_is_named_where_the_step_was_not_looked_at():
    found = looked_at((0, 1, 2), spacing=10, finite_losses=64)
    assert (found.site, found.first_step) == (None, 64)
    assert found.text.startswith("the loss is not finite from step 64; where is not known: step 64 was not looked at")
    assert found.text.endswith(": the same run with `every` 64 looks at it")


def test_a_loss_that_is_lost_while_every_site_is_finite_begins_behind_them():
    loss = np.where(np.arange(20) < BEGINS, 1.0, np.nan)
    later = np.where(np.arange(20) <= BEGINS, 1.0, np.nan)  # the weights are lost a step later
    (found,) = NonFinite().judge(example(loss=loss, site={("act_rms", i): later for i in range(3)}))
    assert (found.site, found.first_step) == (None, BEGINS)
    assert found.text.endswith("in that step every site is finite, so it begins behind 3.shuts, in the output or the loss")


def test_no_site_is_named_where_it_may_have_begun_since_the_last_look():
    found = looked_at((0, 1, 2), spacing=10)
    assert (found.site, found.first_step) == (None, 70)
    assert "from step 70 or before; where is not known: no step between 60 and 70 was looked at" in found.text


def test_a_loss_that_was_finite_the_step_before_leaves_only_its_gradients():
    found = looked_at((0, 1, 2), spacing=10, finite_losses=70)
    assert (found.site, found.first_step) == (0, 70)
    assert found.text.endswith("is 1.shuts; the gradients of step 69, of which that may come, were not looked at")


def test_sites_that_are_not_trained_are_in_order_whatever_came_before():
    frozen = {("grad_rms", 0): np.nan}
    trace = example(loss=None, site={("act_rms", i): INFINITE for i in (1, 2)} | frozen)
    (found,) = NonFinite().judge(replace(trace, steps=trace.steps * 10))
    assert found.site is None
