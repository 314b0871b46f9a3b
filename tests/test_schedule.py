import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradscope.schedule import SPACING, default, every

LOOKS = [step for step in range(20_000) if default(step)]


def test_default_is_dense_while_a_collapse_happens():
    assert LOOKS[:11] == list(range(11))


def test_default_thins_out_and_never_leaves_more_than_a_hundred_steps():
    gaps = [b - a for a, b in zip(LOOKS, LOOKS[1:], strict=False)]
    assert gaps == sorted(gaps)
    assert max(gaps) == 100


def test_default_looks_at_less_than_one_step_in_twenty_of_an_ordinary_training():
    assert sum(step < 900 for step in LOOKS) < 70
    assert sum(step < 10_000 for step in LOOKS) < 160


def test_each_spacing_starts_where_the_one_before_looks():
    for start, spacing in SPACING:
        assert start % spacing == 0
        assert default(start)


@given(st.integers(1, 10_000), st.integers(0, 10**9))
def test_every_looks_at_multiples_of_its_interval(interval, step):
    assert every(interval)(step) == (step % interval == 0)
    assert every(interval)(0)


@pytest.mark.parametrize("interval", [0, -1])
def test_every_refuses_less_than_one_step(interval):
    with pytest.raises(ValueError, match=f"expected an interval of at least 1 step, got {interval}"):
        every(interval)
