"""What an arm costs per step, as a ratio to the control's."""

from small_trials import CPU, data_of, recipe_of, stack_text

from gradscope import cost
from gradscope.arms import ArmPlan, plan_arms
from gradscope.cost import measure_costs


def test_every_arm_has_a_cost_and_the_control_s_is_one():
    recipe = recipe_of(stack_text(fixes="[batchnorm-last, batchnorm-all]"))
    found = measure_costs(plan_arms(recipe, allow_code=False), data_of(recipe).flattened(), CPU, allow_code=False)
    assert list(found) == ["control", "batchnorm-last", "batchnorm-all", "reseed", "placebo"]
    assert found["control"] == 1.0
    assert all(0.05 < value < 50 for value in found.values()), found


def test_the_ratio_is_that_of_the_quickest_blocks_in_turns(monkeypatch):
    """By a clock that counts: an arm's blocks take what its list says, slow moments included; the first is a warm-up."""
    times = {"control": [1, 2, 9, 2, 200, 9, 2, 9, 9, 2], "fix": [1, 30, 3, 300, 3, 30, 30, 30, 30, 30]}
    order = []

    class Stepper:
        def __init__(self, batch, *args, **kwargs):
            self.name = batch.members[0].arm

        def block(self):
            order.append(self.name)
            return times[self.name].pop(0)

    monkeypatch.setattr(cost, "_Stepper", Stepper)
    recipe = recipe_of(stack_text())
    arms = [ArmPlan("control", recipe, (1,)), ArmPlan("fix", recipe, (1,))]
    data = data_of(recipe).flattened()
    assert measure_costs(arms, data, CPU, allow_code=False) == {"control": 1.0, "fix": 1.5}
    assert order == ["control", "fix"] * 10


def test_measuring_leaves_the_random_state_alone():
    import torch

    recipe = recipe_of(stack_text())
    before = torch.get_rng_state()
    measure_costs(plan_arms(recipe, allow_code=False), data_of(recipe).flattened(), CPU, allow_code=False)
    assert torch.equal(before, torch.get_rng_state())
