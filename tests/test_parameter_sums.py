"""What a step is to the parameters, against NumPy's float64 on copies that the test makes itself."""

import gc
import weakref

import numpy as np
import pytest
import torch
from networks import INPUTS, OUTPUTS, population, stack
from torch import Tensor, nn

from gradscope.member_traces import MemberName, Progress, build_traces
from gradscope.parameter_sums import ALL, BEFORE_CLIPPING, ParameterSums, place_of
from gradscope.parameters import member_parameters
from gradscope.recorder import Recorder
from gradscope.schedule import every
from gradscope.trace import Task

SGD = torch.optim.SGD
OPTIMIZERS = {
    "sgd": lambda p: SGD(p, lr=0.1),
    "momentum": lambda p: SGD(p, lr=0.1, momentum=0.9),
    "tensor lr": lambda p: SGD(p, lr=torch.tensor(0.1), momentum=0.9),
    "nesterov": lambda p: SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01),
}


def plain():
    return nn.Sequential(nn.Linear(INPUTS, 8), nn.PReLU(), nn.Linear(8, OUTPUTS))


def mixed():
    return population(stack(norm="batchnorm-all"), stack(), stack(["prelu", "relu", "none"]), seeds=[1, 2, 3])


def prepared(network, left_over=()):
    members = network.size if hasattr(network, "size") else 1
    return ParameterSums(member_parameters(network), members, left_over), members


def backward(network, factor=1.0):
    inputs = torch.randn(20, INPUTS, dtype=next(network.parameters()).dtype)
    (network(inputs).square().mean() * factor).backward()


def value(sums, i, statistic):
    """One parameter's statistic as [member], wherever it stands; None where there is none."""
    if (ALL, statistic) in sums.found:
        assert (place_of(i), statistic) not in sums.found
        return sums.found[ALL, statistic][i].detach().reshape(-1).numpy()
    found = sums.found.get((place_of(i), statistic))
    return None if found is None else found.detach().reshape(-1).numpy()


def naive(parameter, values, members, reduce):
    """The same by NumPy, NaN for members without this parameter."""
    rows = values.double().numpy() if parameter.is_stacked else values.double().numpy()[None]
    full = np.full(members, np.nan)
    for member, row in zip(parameter.rows, rows, strict=True):
        full[member] = reduce(row)
    return full


def length(row):
    return np.sqrt((row**2).sum())


def check(sums, members, kept, moved=None, *, signs=True):
    """Compare with what the test kept: gradients and weights as the optimizer got them."""
    for i, (parameter, gradient, weight) in enumerate(kept):
        for statistic, values, reduce in (("grad_norm", gradient, length), ("weight_norm", weight, length)):
            np.testing.assert_allclose(value(sums, i, statistic), naive(parameter, values, members, reduce), rtol=1e-4)
        got = value(sums, i, "nonpositive_weight_frac")
        if signs:
            np.testing.assert_allclose(got, naive(parameter, weight, members, lambda row: (row <= 0).mean()), rtol=1e-4)
        else:
            assert got is None
        if moved is not None:
            wanted = naive(parameter, moved[i], members, length)
            np.testing.assert_allclose(value(sums, i, "update_norm"), wanted, rtol=2e-3, atol=1e-7)


def kept_of(network):
    parameters = member_parameters(network)
    return [(p, p.parameter.grad.clone(), p.parameter.detach().clone()) for p in parameters]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("make", [plain, mixed])
def test_gradients_weights_and_steps_are_what_they_are(make, optimizer):
    network = make()
    steps = OPTIMIZERS[optimizer](network.parameters())
    sums, members = prepared(network)
    for step in range(5):
        signs = step % 2 == 0  # else SGD with momentum is looked at in one go
        backward(network)
        kept = kept_of(network)
        sums.begin()
        with torch.no_grad():
            sums.take_gradients(steps, looks_at_signs=signs)
        steps.step()
        with torch.no_grad():
            sums.take_updates(steps)
        moved = [p.parameter.detach() - weight for p, _, weight in kept]
        check(sums, members, kept, moved, signs=signs)
        steps.zero_grad()


def test_signs_are_looked_at_when_asked_for():
    network = plain()
    sums, _ = prepared(network)
    backward(network)
    sums.begin()
    sums.take_gradients(SGD(network.parameters(), lr=0.1), looks_at_signs=False)
    assert {statistic for _, statistic in sums.found} == {"grad_norm", "weight_norm"}


def scrambled(network):
    """All parameters in another order than the network's."""
    return SGD([*network.parameters()][::-1], lr=0.1, momentum=0.9)


def shared_out(network):
    first, *rest = network.parameters()
    return SGD([{"params": [first], "lr": 1.0}, {"params": rest}], lr=0.1, momentum=0.9)


@pytest.mark.parametrize("build", [scrambled, shared_out, lambda network: SGD(network.parameters(), lr=0.1, momentum=0.9)])
@pytest.mark.parametrize("without", [None, 0, 3])
def test_momentum_in_every_order_and_with_gradients_missing(build, without):
    network = plain()
    steps = build(network)
    sums, members = prepared(network)
    for _ in range(3):
        backward(network)
        kept = kept_of(network)
        if without is not None:
            kept[without][0].parameter.grad = None
        sums.begin()
        sums.take_gradients(steps, looks_at_signs=False)
        steps.step()
        with torch.no_grad():
            sums.take_updates(steps)
        for i, (parameter, gradient, weight) in enumerate(kept):
            wanted = [gradient, weight, parameter.parameter.detach() - weight]
            for statistic, values in zip(("grad_norm", "weight_norm", "update_norm"), wanted, strict=True):
                got = value(sums, i, statistic)
                if i == without:
                    assert got is None
                else:
                    np.testing.assert_allclose(got, naive(parameter, values, members, length), rtol=2e-3)
        steps.zero_grad()


@pytest.mark.parametrize(
    ("build", "rate"),
    [
        (lambda p: SGD(p, lr=0.1), 0),
        (lambda p: SGD(p, lr=0.1, weight_decay=0.01), 1e-3),
        (lambda p: SGD(p, lr=0.1, weight_decay=0.01, momentum=0.9), 1e-2),
        (lambda p: SGD(p, lr=torch.tensor(0.1), weight_decay=0.01), 1e-3),
        (lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.01), 1e-3),
        (lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.01), 0),
        (lambda p: torch.optim.RMSprop(p, lr=0.1, weight_decay=0.01), 0),
        (lambda p: torch.optim.NAdam(p, lr=0.1, weight_decay=0.01), 0),
        (lambda p: torch.optim.NAdam(p, lr=0.1, weight_decay=0.01, decoupled_weight_decay=True), 1e-3),
        (lambda p: torch.optim.Adagrad(p, lr=0.1, weight_decay=0.01), 0),
        (lambda p: torch.optim.RAdam(p, lr=0.1, weight_decay=0.01), 0),
        (lambda p: torch.optim.RAdam(p, lr=0.1, weight_decay=0.01, decoupled_weight_decay=True), 1e-3),
        (lambda p: torch.optim.Adafactor(p, lr=0.1, weight_decay=0.01), 1e-3),
        (lambda p: torch.optim.LBFGS(p, lr=1), 0),
        (lambda p: SGD(p, lr=1, weight_decay=0.01, momentum=1), 0),
    ],
)
def test_decay_alone_shrinks_weights_by_its_rate(build, rate):
    network = plain()
    sums, _ = prepared(network)
    assert sums.decay_rates([build(network.parameters())]) == pytest.approx([rate] * 5)


@pytest.mark.parametrize(
    "build",
    [
        lambda p: SGD(p, lr=0.01, weight_decay=0.1, momentum=0.5),
        lambda p: SGD(p, lr=0.01, weight_decay=0.1, momentum=0.5, dampening=0.2),
        lambda p: SGD(p, lr=0.01, weight_decay=0.1, momentum=0.5, nesterov=True),
        lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
        lambda p: torch.optim.Adafactor(p, lr=0.01, weight_decay=0.1),
    ],
)
def test_the_rate_of_decay_is_what_weights_without_gradients_shrink_by(build):
    network = nn.Linear(3, 2)
    optimizer = build(network.parameters())
    sums, _ = prepared(network)
    rates = sums.decay_rates([optimizer])
    for _ in range(50):
        before = network.weight.detach().clone()
        for parameter in network.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
    shrunk = (1 - network.weight.detach() / before).mean().item()
    assert rates[0] == pytest.approx(shrunk, rel=1e-2)


def test_parameters_have_the_decay_of_their_groups():
    network = plain()
    groups = [
        {"params": network[0].parameters(), "weight_decay": 0.5},
        {"params": network[2].parameters(), "weight_decay": 0.0},
    ]
    sums, _ = prepared(network)
    other = nn.Linear(2, 2)  # of a loss, say
    optimizers = [SGD(groups, lr=0.1), SGD(other.parameters(), lr=1.0, weight_decay=1.0)]
    assert sums.decay_rates(optimizers) == pytest.approx([0.05, 0.05, 0, 0, 0])


@pytest.mark.parametrize("rate", [1, 1.0, torch.tensor(1.0)])
def test_a_learning_rate_may_be_a_whole_number(rate):
    network = plain()
    optimizer = SGD(network.parameters(), lr=rate, momentum=0.9)
    optimizer.param_groups.append({**optimizer.param_groups[0], "params": []})  # with two groups norms are taken one by one
    sums, members = prepared(network)
    backward(network)
    kept = kept_of(network)
    sums.begin()
    sums.take_gradients(optimizer, looks_at_signs=False)
    optimizer.step()
    with torch.no_grad():
        sums.take_updates(optimizer)
    for i, (parameter, gradient, _) in enumerate(kept):
        np.testing.assert_allclose(value(sums, i, "update_norm"), naive(parameter, gradient, members, length), rtol=1e-3)


def test_complex_parameters_are_left_out():
    network = nn.ParameterList([nn.Parameter(torch.randn(3, dtype=torch.cfloat)), nn.Parameter(torch.randn(3))])
    optimizer = SGD(network.parameters(), lr=0.1)
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    sums, _ = prepared(network)
    assert [p.name for p in sums.parameters] == ["1"]
    sums.begin()
    sums.take_unclipped()
    sums.take_gradients(optimizer, looks_at_signs=True)
    optimizer.step()
    with torch.no_grad():
        sums.take_updates(optimizer)
    assert sums.found[ALL, "grad_norm"].shape == (1,)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_seen(bad):
    network = plain()
    sums, _ = prepared(network)
    optimizer = SGD(network.parameters(), lr=0.1, momentum=0.9)
    for _ in range(2):
        backward(network)
        network[0].weight.grad[0, 0] = bad
        sums.begin()
        sums.take_gradients(optimizer, looks_at_signs=False)
        optimizer.step()
        with torch.no_grad():
            sums.take_updates(optimizer)
        found = sums.found[ALL, "grad_norm"], sums.found[ALL, "update_norm"]
        assert not any(values.isfinite()[0] for values in found)
    assert not sums.found[ALL, "weight_norm"].isfinite()[0]


def test_one_networks_numbers_stand_together():
    """One tensor of all, so that a record is written at once."""
    network = plain()
    sums, _ = prepared(network)
    backward(network)
    sums.begin()
    sums.take_unclipped()
    sums.take_gradients(SGD(network.parameters(), lr=0.1), looks_at_signs=True)
    for statistic in ("grad_norm", "weight_norm", BEFORE_CLIPPING):
        assert sums.found[ALL, statistic].shape == (5,)


def test_gradients_before_they_are_clipped_are_kept_apart():
    network = plain()
    sums, _ = prepared(network)
    backward(network, 1e3)
    before = [p.grad.double().norm().item() for p in network.parameters()]
    sums.begin()
    with torch.no_grad():
        sums.take_unclipped()
    nn.utils.clip_grad_norm_(network.parameters(), 0.1)
    with torch.no_grad():
        sums.take_gradients(SGD(network.parameters(), lr=0.1), looks_at_signs=False)
    assert [value(sums, i, BEFORE_CLIPPING).item() for i in range(5)] == pytest.approx(before, rel=1e-4)
    clipped = [value(sums, i, "grad_norm").item() for i in range(5)]
    assert sum(norm**2 for norm in clipped) == pytest.approx(0.01, rel=1e-3)


def test_two_optimizers_have_a_part_each():
    network = plain()
    optimizers = [SGD(network[0].parameters(), lr=0.1), torch.optim.Adam([*network[1:].parameters()], lr=0.01)]
    sums, members = prepared(network)
    backward(network)
    kept = kept_of(network)
    sums.begin()
    for optimizer in optimizers:
        sums.take_gradients(optimizer, looks_at_signs=True)
        optimizer.step()
        with torch.no_grad():
            sums.take_updates(optimizer)
    check(sums, members, kept, [p.parameter.detach() - weight for p, _, weight in kept])


def test_groups_have_learning_rates_of_their_own():
    network = plain()
    optimizer = SGD(
        [{"params": network[0].parameters(), "lr": 1.0}, {"params": network[2].parameters()}], lr=1e-3, momentum=0.5
    )
    sums, members = prepared(network)
    backward(network)
    weights = [p.parameter.detach().clone() for p in sums.parameters]
    sums.begin()
    sums.take_gradients(optimizer, looks_at_signs=False)
    optimizer.step()
    with torch.no_grad():
        sums.take_updates(optimizer)
    for i, parameter in enumerate(sums.parameters):
        moved = value(sums, i, "update_norm")
        if "1." in parameter.name:
            assert moved is None
        else:
            wanted = naive(parameter, parameter.parameter.detach() - weights[i], members, length)
            np.testing.assert_allclose(moved, wanted, rtol=1e-3)


def test_what_no_optimizer_holds_does_not_move():
    network = plain()
    optimizer = SGD(network[2].parameters(), lr=0.1)
    sums, _ = prepared(network, left_over=[0, 1, 2])
    backward(network)
    sums.begin()
    sums.take_gradients(optimizer, looks_at_signs=True)
    optimizer.step()
    with torch.no_grad():
        sums.take_updates(optimizer)
    moved = [value(sums, i, "update_norm").item() for i in range(5)]
    assert moved[:3] == [0, 0, 0]
    assert min(moved[3:]) > 0
    norms = [value(sums, i, "grad_norm").item() for i in range(5)]
    assert norms == pytest.approx([p.grad.norm().item() for p in network.parameters()], rel=1e-4)


@pytest.mark.parametrize("make", [plain, mixed])
def test_a_parameter_without_a_gradient_has_no_entry(make):
    network = make()
    optimizer = SGD(network.parameters(), lr=0.1)
    sums, _ = prepared(network)
    backward(network)
    sums.parameters[0].parameter.grad = None
    sums.begin()
    sums.take_unclipped()
    sums.take_gradients(optimizer, looks_at_signs=True)
    optimizer.step()
    with torch.no_grad():
        sums.take_updates(optimizer)
    for statistic in (BEFORE_CLIPPING, "grad_norm", "weight_norm", "nonpositive_weight_frac", "update_norm"):
        assert value(sums, 0, statistic) is None
        assert value(sums, 1, statistic) is not None


def test_sparse_gradients_are_left_out():
    network = nn.Sequential(nn.Embedding(9, 4, sparse=True), nn.Linear(4, 2))
    optimizer = SGD(network.parameters(), lr=0.1)
    sums, _ = prepared(network)
    network(torch.tensor([1, 2])).sum().backward()
    sums.begin()
    sums.take_unclipped()
    sums.take_gradients(optimizer, looks_at_signs=True)
    optimizer.step()
    with torch.no_grad():
        sums.take_updates(optimizer)
    assert value(sums, 0, "grad_norm") is None
    assert value(sums, 1, "grad_norm") is not None


def test_a_step_without_any_gradient_is_empty():
    network = plain()
    sums, _ = prepared(network)
    sums.begin()
    sums.take_unclipped()
    sums.take_gradients(SGD(network.parameters(), lr=0.1), looks_at_signs=True)
    sums.take_updates(SGD(network.parameters(), lr=0.1))
    assert sums.found == {}


def test_frozen_parameters_are_none_of_its():
    network = plain()
    network[0].requires_grad_(False)
    sums, _ = prepared(network)
    backward(network)
    sums.begin()
    sums.take_gradients(SGD(network.parameters(), lr=0.1), looks_at_signs=True)
    assert sums.found[ALL, "grad_norm"].shape == (3,)


def test_a_fused_optimizers_own_scale_is_taken_off():
    """It unscales within its step: what it is given are gradients times the scale."""
    network = plain()
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, fused=True)
    sums, _ = prepared(network)
    backward(network)
    wanted = [p.grad.norm().item() for p in network.parameters()]
    for p in network.parameters():
        p.grad *= 1024
    optimizer.grad_scale = torch.tensor(1024.0)
    sums.begin()
    sums.take_gradients(optimizer, looks_at_signs=False)
    assert [value(sums, i, "grad_norm").item() for i in range(5)] == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions_are_measured_in_float32_at_least(dtype):
    network = plain().to(dtype)
    sums, _ = prepared(network)
    for p in network.parameters():
        p.grad = torch.full_like(p, 1000.0)
    sums.begin()
    sums.take_gradients(SGD(network.parameters(), lr=0.1), looks_at_signs=True)
    got = sums.found[ALL, "grad_norm"]
    assert got.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert got.tolist() == pytest.approx([1000 * p.numel() ** 0.5 for p in network.parameters()], rel=1e-2)


def test_layouts_other_than_the_usual_are_measured_alike():
    network = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    sums, _ = prepared(network)
    network(torch.randn(2, 3, 5, 5)).square().sum().backward()
    network.weight.grad = network.weight.grad.contiguous(memory_format=torch.channels_last)
    sums.begin()
    sums.take_gradients(SGD(network.parameters(), lr=0.1), looks_at_signs=True)
    assert sums.found[ALL, "grad_norm"][0].item() == pytest.approx(network.weight.grad.double().norm().item(), rel=1e-5)


def test_what_is_not_finite_shows():
    network = plain()
    sums, _ = prepared(network)
    backward(network)
    network[0].weight.grad[0, 0] = float("nan")
    network[2].weight.grad[0, 0] = float("inf")
    sums.begin()
    sums.take_gradients(SGD(network.parameters(), lr=0.1), looks_at_signs=False)
    norms = sums.found[ALL, "grad_norm"]
    assert norms.isnan().tolist() == [True, False, False, False, False]
    assert norms.isinf().tolist() == [False, False, False, True, False]


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adamw"])
def test_nothing_is_copied_to_the_host(optimizer, monkeypatch):
    network = plain()
    steps = OPTIMIZERS[optimizer](network.parameters())
    sums, _ = prepared(network)

    def copied(*args, **kwargs):
        raise AssertionError

    backward(network)
    with monkeypatch.context() as patch:
        for method in ("cpu", "item", "tolist", "numpy", "__float__", "__bool__"):
            patch.setattr(Tensor, method, copied)
        sums.begin()
        sums.take_unclipped()
        sums.take_gradients(steps, looks_at_signs=True)
    steps.step()
    with monkeypatch.context() as patch, torch.no_grad():
        patch.setattr(Tensor, "cpu", copied)
        patch.setattr(Tensor, "item", copied)
        sums.take_updates(steps)


def test_copies_of_weights_live_no_longer_than_the_step():
    network = plain()
    optimizer = SGD(network.parameters(), lr=0.1)
    sums, _ = prepared(network)
    backward(network)
    sums.begin()
    sums.take_gradients(optimizer, looks_at_signs=False)
    copies = [weakref.ref(copy) for copy in sums._copies.values()]
    assert len(copies) == 5
    optimizer.step()
    with torch.no_grad():
        sums.take_updates(optimizer)
    gc.collect()
    assert all(copy() is None for copy in copies)


def test_a_step_that_was_left_out_is_forgotten():
    network = plain()
    optimizer = SGD(network.parameters(), lr=0.1)
    sums, _ = prepared(network)
    backward(network)
    sums.begin()
    sums.take_gradients(optimizer, looks_at_signs=True)
    sums.begin()
    assert sums.found == {}
    sums.take_updates(optimizer)
    assert sums.found == {}


def test_plain_momentum_needs_no_copy():
    network = plain()
    optimizer = OPTIMIZERS["momentum"](network.parameters())
    sums, _ = prepared(network)
    backward(network)
    sums.begin()
    sums.take_gradients(optimizer, looks_at_signs=False)
    assert set(sums._copies.values()) == {None}


def test_a_trace_puts_together_what_changes_its_place():
    """A part that some batches pass by has a gradient in some steps only: then norms stand one by one."""
    network = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
    optimizer = SGD(network.parameters(), lr=0.1)
    recorder, wanted = Recorder(network, optimizer, every(1)), []
    with recorder:
        for step in range(6):
            recorder.begin(step)
            hidden = torch.relu(network[0](torch.randn(5, 3)))
            (hidden if step % 2 else network[1](hidden)).sum().backward()
            wanted.append([np.nan if p.grad is None else p.grad.square().mean().sqrt().item() for p in network.parameters()])
            recorder.gradients_ready()
            optimizer.step()
            recorder.step_taken()
            optimizer.zero_grad(set_to_none=True)
    (trace,) = build_traces(recorder, [MemberName("a", 0)], Progress(np.zeros((6, 1), np.float32)), Task(), "all")
    np.testing.assert_allclose(trace.parameter_statistics["grad_rms"], wanted, rtol=1e-4)
    updates = np.isfinite(trace.parameter_statistics["update_to_weight"])
    assert updates.tolist() == [[True, True, step % 2 == 0, step % 2 == 0] for step in range(6)]
