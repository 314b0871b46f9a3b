"""The training loop: batches, planned steps, interruption, evaluation, and members that do not touch each other."""

import numpy as np
import pytest
import torch
from networks import (
    INPUTS,
    OUTPUTS,
    class_data,
    names,
    number_data,
    plain_batches,
    plain_twin,
    population,
    stack,
    train_alone,
)
from torch import nn

from gradscope.errors import CodeError, GradscopeError
from gradscope.member_traces import build_traces
from gradscope.recipe import Training
from gradscope.schedule import every
from gradscope.training import BatchOrder, Watching, make_optimizer, steps_per_epoch, task_of, train

CPU = torch.device("cpu")


def run(network, data, training=None, members=None, steps=None, **watching):
    training = training or Training(epochs=2)
    members = members or names(*["a"] * getattr(network, "size", 1))
    return train(network, members, data, training, task_of(data, training, steps), Watching(**watching))


@pytest.mark.parametrize(
    ("samples", "size"), [(97, 32), (98, 32), (96, 32), (64, 1), (5, 32), (1, 32), (33, 32), (2, 1), (7, 6)]
)
def test_batches_cover_every_sample_but_a_last_single_one(samples, size):
    order = BatchOrder([1, 2], samples, size, CPU)
    for _ in range(2):
        batches = list(order.epoch())
        assert len(batches) == steps_per_epoch(samples, size)
        for member in (0, 1):
            seen = torch.cat([batch[member] for batch in batches]).tolist()
            assert len(set(seen)) == len(seen)
            left_out = samples - len(seen)
            assert left_out == (1 if samples % size == 1 and samples > size > 1 else 0)
        assert all(batch.shape[1] == size for batch in batches[:-1])


def test_the_order_belongs_to_the_seed():
    together, alone = BatchOrder([3, 1, 3, 2], 50, 8, CPU), BatchOrder([3], 50, 8, CPU)
    epochs = []
    for _ in range(3):
        many, one = list(together.epoch()), list(alone.epoch())
        for batch, single in zip(many, one, strict=True):
            assert torch.equal(batch[0], batch[2])
            assert torch.equal(batch[0], single[0])
            assert not torch.equal(batch[0], batch[1])
        epochs.append(torch.cat([b[0] for b in many]))
    assert not torch.equal(epochs[0], epochs[1])
    plain = list(plain_batches(3, 50, 8, 21))
    assert torch.equal(torch.cat(plain), torch.cat(epochs))


def test_planned_steps_end_the_training():
    data = class_data()
    done = run(population(stack()), data, Training(epochs=3), steps=7)
    (trace,) = done.traces
    assert (done.steps, len(trace.loss), trace.task.planned_steps) == (7, 7, 7)
    assert trace.evaluation_steps.tolist() == [0, 5, 7]
    assert not done.interrupted
    assert run(population(stack()), data, Training(epochs=2), steps=100).steps == 10


def test_the_schedule_is_kept_and_progress_told():
    steps = []
    done = run(population(stack()), class_data(), schedule=every(3), schedule_name="every 3", advance=steps.append)
    assert done.traces[0].steps.tolist() == [0, 3, 6, 9]
    assert done.traces[0].schedule == "every 3"
    assert steps == [1] * 10
    assert 0 < done.recording_s < done.train_s


def test_an_interruption_keeps_what_was_recorded():
    flushed, asked = [], []

    def stop():
        asked.append(1)
        return len(asked) == 8

    data = class_data()
    whole = run(population(stack()), data, Training(epochs=4))
    done = run(population(stack()), data, Training(epochs=4), should_stop=stop, flush=flushed.append)
    assert done.interrupted
    assert done.steps == 8
    (trace,), (full,) = done.traces, whole.traces
    trace.self_check()
    assert trace.task.planned_steps == 20
    assert trace.steps.tolist() == list(range(8))
    assert np.array_equal(trace.loss, full.loss[:8])
    for name, values in trace.site_statistics.items():
        assert np.array_equal(values, full.site_statistics[name][:8], equal_nan=True)
    assert trace.evaluation_steps.tolist() == [0, 5, 8]
    assert flushed[-1] == done.traces


def test_without_anyone_to_flush_to_traces_are_made_once(monkeypatch):
    monkeypatch.setattr("gradscope.training.FLUSH_S", -1.0)
    monkeypatch.setattr("gradscope.training.FIRST_FLUSH_S", -1.0)
    made, make = [], build_traces
    monkeypatch.setattr("gradscope.training.build_traces", lambda *given: made.append(make(*given)) or made[-1])
    done = run(population(stack()), class_data())
    assert made == [done.traces]


def test_a_flush_in_between_changes_nothing(monkeypatch):
    monkeypatch.setattr("gradscope.training.FLUSH_S", -1.0)
    monkeypatch.setattr("gradscope.training.FIRST_FLUSH_S", -1.0)
    lengths, data = [], class_data()
    often = run(population(stack()), data, flush=lambda traces: lengths.append(len(traces[0].steps)))
    monkeypatch.undo()
    once = run(population(stack()), data)
    assert lengths[:3] == [1, 2, 3]
    for name, sites in once.traces[0].unit_statistics.items():
        for a, b in zip(sites, often.traces[0].unit_statistics[name], strict=True):
            assert np.array_equal(a, b, equal_nan=True)
    assert np.array_equal(once.traces[0].loss, often.traces[0].loss)


@pytest.mark.parametrize("test_samples", [50, 2345])
def test_evaluation_is_what_a_plain_computation_gives(test_samples):
    data = class_data(test=test_samples, dtype=torch.float64)
    arms, seeds = [stack(), stack(norm="batchnorm-all"), stack(["tanh", "relu", "none"])], [1, 2, 1]
    training = Training(epochs=2, lr=0.05)
    done = run(population(*arms, seeds=seeds).double(), data, training, names(*"abc", seeds=seeds))
    for trace, arm, seed in zip(done.traces, arms, seeds, strict=True):
        for record, steps in enumerate([0, 5, 10]):
            twin = plain_twin(arm, seed).double()
            train_alone(twin, data, training, seed, steps)
            output = twin.eval()(data.x_test).detach().numpy()
            y = data.y_test.numpy()
            shifted = output - output.max(1, keepdims=True)
            log_shares = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
            assert trace.evaluation_metric[record] == pytest.approx((output.argmax(1) == y).mean())
            assert trace.evaluation_loss[record] == pytest.approx(-log_shares[np.arange(len(y)), y].mean(), rel=1e-5)


def test_regression_is_judged_by_r2():
    data = number_data()
    network = population(stack(["tanh", "tanh", "none"]))
    done = run(network, data, Training(loss="mse", epochs=40, lr=0.1))
    with torch.no_grad():
        output = network.eval()(data.x_test)[0].double().numpy()
    y = data.y_test.double().numpy()
    wanted = 1 - ((y - output) ** 2).sum(0) / ((y - y.mean(0)) ** 2).sum(0)
    assert done.traces[0].evaluation_metric[-1] == pytest.approx(wanted.mean(), abs=1e-5)
    assert done.traces[0].evaluation_metric[-1] > done.traces[0].evaluation_metric[0]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_a_member_that_diverges_does_not_touch_the_others(optimizer):
    data = class_data()
    training = Training(optimizer=optimizer, epochs=2)
    arms = [
        stack(),
        stack(["relu", "relu", "none"], init={"std": 1e30}),
        stack(norm="batchnorm-all"),
        stack(["relu", "relu", "none"]),
    ]
    network = population(*arms, seeds=[1, 1, 2, 1])
    together = run(network, data, training, names(*"abcd", seeds=[1, 1, 2, 1]))
    assert not np.isfinite(together.traces[1].loss[-1])
    assert not torch.isfinite(network.layers[2].weight[1]).all()
    others = run(population(*arms[:1], *arms[2:], seeds=[1, 2, 1]), data, training, names(*"acd", seeds=[1, 2, 1]))
    for got, wanted in zip([together.traces[i] for i in (0, 2, 3)], others.traces, strict=True):
        np.testing.assert_allclose(got.loss, wanted.loss, rtol=1e-5)
        assert np.isfinite(got.loss).all()
        for name, values in got.site_statistics.items():
            np.testing.assert_allclose(values, wanted.site_statistics[name], rtol=2e-3, atol=1e-5, err_msg=name)


def test_training_again_gives_the_same_bits_and_leaves_the_random_state():
    data, ends = class_data(), []
    for _ in range(2):
        network = nn.Sequential(nn.Linear(INPUTS, 8), nn.Dropout(0.3), nn.RReLU(), nn.Linear(8, OUTPUTS))
        with torch.no_grad():
            for p in network.parameters():
                p.fill_(0.1).add_(torch.linspace(-1, 1, p.numel()).view(p.shape))
        torch.manual_seed(len(ends))
        before = torch.get_rng_state()
        run(network, data)
        assert torch.equal(torch.get_rng_state(), before)
        ends.append(network.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(*(end.values() for end in ends), strict=True))


@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw", "rmsprop"])
def test_optimizers_take_the_recipes_numbers(kind):
    more = {"momentum": 0.7} if kind in ("sgd", "rmsprop") else {}
    optimizer = make_optimizer(nn.Linear(2, 2), Training(optimizer=kind, lr=0.3, weight_decay=0.2, **more))
    assert type(optimizer).__name__.lower() == kind
    (group,) = optimizer.param_groups
    assert (group["lr"], group["weight_decay"], group.get("momentum")) == (0.3, 0.2, more.get("momentum"))


def test_frozen_parameters_are_not_trained():
    network = nn.Sequential(nn.Linear(INPUTS, 8), nn.ReLU(), nn.Linear(8, OUTPUTS))
    network[0].requires_grad_(False)
    before = network[0].weight.clone()
    run(network, class_data(), Training(weight_decay=0.5))
    assert torch.equal(network[0].weight, before)


class Wrong(nn.Module):
    def __init__(self, result):
        super().__init__()
        self.linear, self.result = nn.Linear(INPUTS, OUTPUTS), result

    def forward(self, x):
        return self.result(self.linear(x))


def fails(output):
    raise KeyError("a\nb")


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (fails, r"model: failed on a batch of shape \[50, 6\]: KeyError: 'a.*b'$"),
        (lambda output: output[:, :2], r"expected an output of shape \[50, 4\] .*, got \[50, 2\]"),
        (lambda output: output.sum(), r"got \[\]"),
        (lambda output: (output,), "got tuple"),
        (lambda output: None, "got NoneType"),
    ],
)
def test_a_users_model_that_fails_is_told_in_one_line(result, text):
    with pytest.raises(CodeError, match=text) as caught:
        run(Wrong(result), class_data())
    assert "\n" not in str(caught.value)


def test_no_hook_stays_when_a_model_fails_while_watched():
    calls = []

    def late(output):
        calls.append(1)
        if len(calls) > 3:
            raise ZeroDivisionError
        return output

    network = nn.Sequential(Wrong(late), nn.ReLU())
    with pytest.raises(CodeError, match="ZeroDivisionError"):
        run(network, class_data())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


def test_batches_of_one_sample_train_with_batch_norm_or_are_refused_in_one_line():
    """torch's batch-norm has no variance over one sample; a recipe may ask for it all the same."""
    try:
        done = run(population(stack(norm="batchnorm-all")), class_data(train=5), Training(batch_size=1, epochs=1))
    except GradscopeError as error:
        assert "\n" not in str(error)
    else:
        assert done.steps == 5
