"""Reading measurements made by hand: which cause they name, and when none."""

import math

import numpy as np
import pytest

from gradscope.causes import cause_of, end_loss, nearly_all, worth_going_on
from gradscope.intervention_plan import AT_ORIGIN, PLACEBO, Arm, Measured, Place

CHANCE = math.log(10)
HERE = 2
NOISE = np.array([0.02, -0.01, 0.03, 0.0, -0.02])


def place(arms, **changes):
    given = {"site": "3.relu", "layer": HERE, "begin": 0, "seeds": (1, 2, 3, 4, 5), "is_output": True, "shuts": True}
    return Place(arms=tuple(arms), **(given | changes))


def measured(arm, reached, loss, spread=3.0, seeds=5):
    ends = (loss + NOISE[:seeds] * (1 + 0.3 * len(arm.kind)))[:, None]
    return Measured(arm, np.full(seeds, float(reached)), np.repeat(ends, 30, axis=1), np.full(seeds, spread))


def named(*tried, seeds=5, placebo=(0.1, 2.2), spread=3.0, **changes):
    """The cause found where (kind, reached, loss) came of interventions here, or of (arm, reached, loss) elsewhere."""
    arms = [(kind if isinstance(kind, Arm) else Arm(kind, (HERE,)), *rest) for kind, *rest in tried]
    all_measured = [measured(PLACEBO, *placebo, spread, seeds), *(measured(arm, *rest, seeds=seeds) for arm, *rest in arms)]
    where = place([PLACEBO, *(arm for arm, *_ in arms)], **({"seeds": tuple(range(1, seeds + 1))} | changes))
    return cause_of(where, all_measured, CHANCE)


NOTHING = [(kind, 0.1, 2.2) for kind in AT_ORIGIN]


def test_where_nothing_helps_no_cause_is_named():
    found = named(*NOTHING)
    assert found.name is None
    assert found.reason == "no change brought the gradient back"
    assert not any(effect.works for effect in found.effects)


@pytest.mark.parametrize(
    ("working", "changes", "name"),
    [
        (["centre z"], {}, "common-mode closed last pre-activations"),
        (["centre z", "centre input", "open gate"], {}, "common-mode closed last pre-activations"),
        (["centre input"], {"is_output": False}, "common-mode closed pre-activations"),
        (["centre z", "rescale z"], {"shuts": False}, "common-mode saturated last pre-activations"),
        (["open gate"], {"is_output": False, "shuts": False}, "saturated gates"),
        (["open gate"], {"is_output": False}, "closed gates"),
        (["rescale z", "open gate"], {"is_output": False, "shuts": False}, "pre-activations too large"),
        (["rescale z"], {"is_output": False, "spread": 0.01}, "pre-activations too small"),
        (["lower lr", "centre z", "open gate", "reset layer"], {}, "steps too large"),
        (["much lower lr"], {}, "steps too large"),
        (["lower lr", "rescale z"], {"spread": 9.0}, "steps too large"),
        (["lower lr", "rescale z"], {"spread": 11.0}, "last pre-activations too large"),  # so they are drawn: no step did it
        (["lower lr", "rescale z"], {"spread": 11.0, "begin": 40}, "steps too large"),
        (["reset layer"], {}, "unlucky initial weights"),
        (["reset layer"], {"begin": 40}, "weights damaged by training"),
        (["reset layer", "open gate"], {}, "closed last gates"),
    ],
)
def test_patterns(working, changes, name):
    tried = [(kind, 0.9, 0.5) if kind in working else (kind, *rest) for kind, *rest in NOTHING]
    assert named(*tried, **changes).name == name


def test_an_open_gate_is_no_cause_where_centring_opens_it_too_and_the_loss_stays():
    found = named(("open gate", 0.9, 0.5), ("centre z", 0.9, 2.2))
    assert found.name is None
    assert "by centring as well as by opening" in found.reason
    assert named(("open gate", 0.9, 0.5), ("rescale z", 0.9, 2.2)).name == "closed last gates"


def test_what_does_not_bring_the_gradient_back_is_not_followed_up():
    arms = [Arm(kind, (HERE,)) for kind in ("centre z", "open gate")]
    elsewhere = Arm("open gate", (1,))
    where = place([PLACEBO, *arms, elsewhere], elsewhere={elsewhere: "saturated gates at 2.sigmoid"})
    tried = [(PLACEBO, 0.1), (arms[0], 0.1), (arms[1], 1.0), (elsewhere, 0.1)]
    first = [measured(arm, reached, 2.2) for arm, reached in tried]
    assert worth_going_on(where, first) == [PLACEBO, arms[1], elsewhere]
    assert worth_going_on(where, [first[0], first[1]]) == []
    assert worth_going_on(place(where.arms, is_whole=True), [measured(PLACEBO, 0.6, 2.2), measured(arms[1], 1.0, 2.2)]) == []
    later = [Measured(one.arm, one.reached, np.repeat(one.losses, 4, axis=1), one.spread) for one in first]
    effects = cause_of(where, [later[0], first[1], later[2], later[3]], CHANCE).effects
    assert [len(effect.loss) for effect in effects] == [5, 0, 5, 5]
    assert math.isnan(effects[1].p)
    assert not effects[1].brings_loss


def test_the_gradient_alone_or_the_loss_alone_is_no_cause():
    assert named(("open gate", 1.0, 2.2)).name is None
    assert named(("open gate", 0.15, 0.5)).name is None
    assert named(("open gate", 1.0, 2.5)).name is None


@pytest.mark.parametrize(("reached", "name"), [(0.54, None), (0.56, "closed last gates")])
def test_the_gradient_is_back_with_more_than_half_of_what_was_missing(reached, name):
    assert named(("open gate", reached, 0.5)).name == name


def test_a_change_elsewhere_names_the_cause_only_where_none_here_does():
    elsewhere = Arm("open gate", (1,))
    more = {"elsewhere": {elsewhere: "saturated gates at 2.sigmoid"}}
    assert named((elsewhere, 0.9, 0.5), **more).name == "saturated gates at 2.sigmoid"
    assert named((elsewhere, 0.9, 0.5), ("centre z", 0.9, 0.5), **more).name == "common-mode closed last pre-activations"


def test_a_change_everywhere_counts_as_one_here():
    assert named((Arm("open gate", (0, 1, HERE)), 0.9, 0.5), shuts=False, is_output=False).name == "saturated gates"


def test_a_slow_network_has_no_gradient_to_bring_back():
    found = named(("open gate", 1.0, 0.5), placebo=(1.0, 2.2), is_whole=True)
    assert found.name is None
    assert "no gradient is lost" in found.reason
    assert named(("open gate", 1.0, 0.5), placebo=(0.8, 2.2), is_whole=True).name is None
    assert named(("open gate", 1.0, 0.5), placebo=(0.8, 2.2)).name == "closed last gates"


def test_a_gradient_that_grew_only_has_to_be_in_bounds():
    assert named(("lower lr", 0.6, 0.5), placebo=(0.0, 9e9), grows=True).name == "steps too large"
    assert named(("lower lr", 0.0, 0.5), placebo=(0.0, 9e9), grows=True).name is None


def test_enlarging_z_cures_no_growth_by_its_size():
    tried = ("rescale z", 0.6, 0.5)
    assert named(tried, placebo=(0.0, 9e9), grows=True, spread=0.3).name == "steps too large"
    assert named(tried, placebo=(0.0, 2.2), spread=0.3).name == "last pre-activations too small"


def test_where_no_gradient_grew_out_of_bounds_the_loss_alone_tells_and_has_to_be_back_by_far():
    found = named(("lower lr", 1.0, 0.5), placebo=(1.0, 9e9), grows=True)
    assert found.name == "steps too large"
    assert not any(effect.brings_gradient for effect in found.effects)
    a_little = named(("centre z", 1.0, 0.9), placebo=(1.0, 1.0), grows=True)
    assert a_little.effects[1].lower_in == 5
    assert a_little.name is None
    assert a_little.reason == "no gradient was lost, and no change brought the loss back"
    opened = named(("open gate", 1.0, 0.5), placebo=(1.0, 9e9), grows=True)
    assert opened.name is None
    assert opened.reason == "no gradient was lost, and the loss came back only by opening gates that are open"


def test_where_only_the_loss_can_tell_every_change_is_followed_up():
    arms = [Arm(kind, (HERE,)) for kind in ("centre z", "lower lr")]
    first = [measured(PLACEBO, 0.9, 9e9), measured(arms[0], 0.0, 9e9), measured(arms[1], 0.9, 0.5)]
    where = place([PLACEBO, *arms], grows=True)
    assert worth_going_on(where, first) == [PLACEBO, *arms]
    assert worth_going_on(where, [measured(PLACEBO, 0.0, 9e9), *first[1:]]) == [PLACEBO, arms[1]]


def test_a_few_saturated_values_are_no_lost_gradient():
    tried = ("centre z", 0.995, 0.5)
    found = named(tried, placebo=(0.98, 2.2), shuts=False)
    assert found.name is None
    assert "it reaches 98 % of 3.relu without any change" in found.reason
    assert named(tried, placebo=(0.4, 2.2), shuts=False).name is not None
    assert named(tried, placebo=(0.98, 2.2)).name is not None, "a unit that is shut"


def test_two_seeds_are_too_few():
    found = named(("open gate", 1.0, 0.5), seeds=2)
    assert found.name is None
    assert "at least 3 seeds" in found.reason
    assert named(("open gate", 1.0, 0.5), seeds=3).name is not None


def test_one_seed_of_five_may_disagree_but_not_two():
    assert [nearly_all(seeds) for seeds in range(1, 11)] == [1, 2, 3, 4, 4, 5, 6, 7, 8, 8]
    arm = Arm("open gate", (HERE,))
    for odd, name in ((1, "closed last gates"), (2, None)):
        losses = np.repeat(np.r_[[2.21] * odd, [0.5] * (5 - odd)][:, None], 30, axis=1)
        placebo = Measured(PLACEBO, np.full(5, 0.1), np.full((5, 30), 2.2), np.ones(5))
        found = cause_of(place([PLACEBO, arm]), [placebo, Measured(arm, np.ones(5), losses, np.ones(5))], CHANCE)
        assert found.name == name


def test_a_difference_within_the_noise_is_none():
    rng = np.random.default_rng(0)
    arms = [Arm(kind, (HERE,)) for kind, *_ in NOTHING]
    named_by_chance = 0
    repeats = 600
    for _ in range(repeats):
        every = [Measured(arm, np.ones(5), np.repeat(rng.normal(1, 0.2, (5, 1)), 30, axis=1), np.ones(5)) for arm in arms]
        placebo = Measured(PLACEBO, np.full(5, 0.1), np.repeat(rng.normal(1, 0.2, (5, 1)), 30, axis=1), np.ones(5))
        named_by_chance += cause_of(place([PLACEBO, *arms]), [placebo, *every], CHANCE).name is not None
    assert named_by_chance <= repeats * (0.05 + 3 * (0.05 * 0.95 / repeats) ** 0.5)


def test_losses_above_guessing_count_as_guessing():
    losses = np.array([[9.0] * 9, [1.0] * 9, [1.0] * 7 + [np.nan] * 2, [5.0] * 7 + [0.5] * 2])
    assert end_loss(losses, 2.0).tolist() == [2.0, 1.0, 2.0, 0.5]
