"""The two published explanations, on traces where one, the other, both or neither holds."""

import numpy as np
import pytest

from gradscope.hypotheses import published_hypotheses
from gradscope.rules.examples import example

KINDS = ("shuts", "saturates", "shuts")
SHUT = ("closed_frac", "nonpositive_frac")


def judged(*traces):
    closed, saturated = published_hypotheses(traces)
    assert (closed.name, saturated.name) == ("closed last pre-activations", "saturated sigmoids")
    return closed, saturated


def shut(units):
    return {(name, 2): [1.0] * units + [0.5] * (10 - units) for name in SHUT}


def test_closed_outputs_hold_and_saturation_does_not():
    closed, saturated = judged(*[example(KINDS, site=shut(units)) for units in (7, 6, 8)])
    assert closed.holds is True
    assert closed.evidence == {"shut_units": [7, 6, 8], "units": 10}
    assert "6 to 8 of 10 output units" in closed.text
    assert saturated.holds is False
    assert saturated.evidence == {"2.saturates": pytest.approx(0.1)}
    assert "10 % of the values of 2.saturates" in saturated.text


def test_saturation_holds_and_closed_outputs_do_not():
    closed, saturated = judged(*[example(KINDS, site={("saturated_frac", 1): share}) for share in (0.6, 0.8)])
    assert (closed.holds, saturated.holds) == (False, True)
    assert saturated.evidence["2.saturates"] == pytest.approx(0.7)


@pytest.mark.parametrize(("counts", "holds"), [((3, 0, 0), False), ((3, 2, 0), True), ((3, 0), True)])
def test_it_holds_where_half_of_the_seeds_show_it(counts, holds):
    closed, _ = judged(*[example(KINDS, site=shut(units)) for units in counts])
    assert closed.holds is holds


def test_only_the_last_window_counts():
    rising = np.repeat(np.linspace(0.0, 0.95, 20)[:, None], 10, axis=1)
    _, before = judged(example(KINDS, site={("saturated_frac", 1): rising}))
    assert before.holds is True
    _, after = judged(example(KINDS, site={("saturated_frac", 1): rising[::-1]}))
    assert after.holds is False


@pytest.mark.parametrize(
    "trace",
    [example(("shuts", "saturates", "saturates")), example(("shuts", "saturates", "shuts"), output=False)],
    ids=["an output that does not shut", "a linear output"],
)
def test_no_output_that_shuts(trace):
    closed, _ = judged(trace)
    assert closed.holds is False
    assert "no non-linearity that shuts" in closed.text


def test_a_sigmoid_on_the_output_is_not_meant():
    _, saturated = judged(example(("shuts", "shuts", "saturates"), site={("saturated_frac", 2): 0.99}))
    assert saturated.holds is False
    assert "No hidden layer" in saturated.text


def test_too_short_or_not_recorded_is_not_told():
    closed, _ = judged(example(KINDS, records=3, site=shut(7)))
    assert closed.holds is None
    assert "300 in at least 3 steps are needed" in closed.text
    _, saturated = judged(example(KINDS, site={("saturated_frac", 1): np.nan}))
    assert saturated.holds is None


def test_of_many_saturating_sites_the_worst_are_named():
    shares = {("saturated_frac", i): 0.05 * i for i in range(12)}
    _, saturated = judged(example(("saturates",) * 12, output=False, site=shares))
    assert list(saturated.evidence) == [f"{i}.saturates" for i in range(5, 13)]
    assert "55 % of the values of 12.saturates (the most of 12 sites)" in saturated.text
    assert "9.saturates" not in saturated.text
    assert saturated.holds is True


def test_of_one_trace_there_is_no_average():
    closed, _ = judged(example(KINDS, site=shut(7)))
    assert closed.text.startswith("At 3.shuts, 7 of 10 output units have z <= 0")


def test_nothing_recorded_has_no_hypotheses():
    assert published_hypotheses([]) == []
    assert published_hypotheses([example(records=0)]) == []
    assert published_hypotheses([example(())]) == []
