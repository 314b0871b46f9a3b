"""The recorder changes no bit and leaves no hook, and what it writes down is what NumPy finds by the formulas."""

import copy
import gc
import weakref

import numpy as np
import pytest
import torch
from networks import INPUTS, LARGEST_SLOPE, OUTPUTS, NumpyPass, class_data, member_weights, names, population, stack
from torch import nn

from gradscope.member_traces import Progress, build_traces
from gradscope.parameter_sums import SIGNS_EVERY
from gradscope.recorder import Recorder
from gradscope.schedule import every
from gradscope.trace import Task


def never(step):
    return False


class SharedReLU(nn.Module):
    """One in-place ReLU module called twice, and another non-linearity in between."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(INPUTS, 8), nn.Linear(8, 8)
        self.third, self.last = nn.Linear(8, 8), nn.Linear(8, OUTPUTS)
        self.act, self.middle = nn.ReLU(inplace=True), nn.Tanh()

    def forward(self, x):
        return self.last(self.act(self.third(self.middle(self.second(self.act(self.first(x)))))))


class Block(nn.Module):
    def __init__(self, width, act):
        super().__init__()
        self.linear, self.act = nn.Linear(width, width), act

    def forward(self, x):
        return x + self.act(self.linear(x))


def convolutional():
    return nn.Sequential(
        nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU6(inplace=True),
        nn.Conv2d(5, 3, 2), nn.GELU(), nn.Dropout2d(0.3), nn.Flatten(), nn.Linear(6, OUTPUTS), nn.ReLU(inplace=True),
    )  # fmt: skip


NETWORKS = {
    "population": lambda: population(
        stack(), stack(norm="batchnorm-all"), stack([["relu", "tanh"], "prelu", "none"]), stack(["rrelu", "relu", "tanh"]),
        stack(norm="layernorm-all"), seeds=[1, 2, 3, 1, 2],
    ),
    "in-place relu": lambda: nn.Sequential(nn.Linear(INPUTS, 8), nn.ReLU(inplace=True), nn.Linear(8, OUTPUTS)),
    "shared relu": SharedReLU,
    "prelu, rrelu, dropout, batchnorm": lambda: nn.Sequential(
        nn.Linear(INPUTS, 8), nn.BatchNorm1d(8), nn.PReLU(8), nn.Dropout(0.4), nn.Linear(8, 8), nn.RReLU(inplace=True),
        nn.Dropout(0.2), nn.Linear(8, OUTPUTS),
    ),
    "convolutional": convolutional,
    "block with a shared activation": lambda: nn.Sequential(
        *(Block(INPUTS, act) for act in [nn.SiLU(inplace=True)] * 2), nn.Linear(INPUTS, OUTPUTS), nn.ReLU()
    ),
}  # fmt: skip
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.01),
    "fused": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, fused=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
}


def loss_of(output, y):
    return nn.functional.cross_entropy(output.reshape(-1, OUTPUTS), y.repeat(output.numel() // (len(y) * OUTPUTS)))


def loop(network, optimizer, recorder, steps, batch=16, after=lambda step: None):
    data, losses = class_data(train=batch * 10), []
    with recorder:
        for step in range(steps):
            start = step % 10 * batch
            x, y = data.x_train[start : start + batch], data.y_train[start : start + batch]
            recorder.begin(step)
            loss = loss_of(network(x), y)
            optimizer.zero_grad()
            loss.backward()
            recorder.gradients_ready()
            optimizer.step()
            recorder.step_taken()
            losses.append(loss.detach())
            after(step)
    return losses


def traces(recorder, steps=0):
    members = names(*"abcdefgh"[: recorder.members])
    return build_traces(recorder, members, Progress(np.zeros((steps, recorder.members), np.float32)), Task(), "all")


def is_stood_in_for(network):
    return vars(network).get("_compiled_call_impl") is not None


def hooks_of(network):
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return [hook for module in network.modules() for kind in kinds for hook in getattr(module, kind).values()]


def flat(state):
    if isinstance(state, torch.Tensor):
        return [state]
    values = state.values() if isinstance(state, dict) else state if isinstance(state, list | tuple) else []
    return [tensor for value in values for tensor in flat(value)]


@pytest.mark.parametrize(("network", "optimizer"), [*((name, "momentum") for name in NETWORKS), ("population", "adam")])
def test_watching_changes_no_bit(network, optimizer):
    ends = []
    for schedule in (never, every(1)):
        torch.manual_seed(11)
        built = NETWORKS[network]()
        steps = OPTIMIZERS[optimizer](built.parameters())
        recorder = Recorder(built, steps, schedule)
        losses = loop(built, steps, recorder, 100)
        assert len(recorder.records) == (0 if schedule is never else 100)
        assert not hooks_of(built)
        ends.append([*losses, *flat(built.state_dict()), *flat(steps.state_dict()["state"]), torch.get_rng_state()])
    unwatched, watched = ends
    assert all(torch.equal(a, b) for a, b in zip(unwatched, watched, strict=True))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_statistics_are_those_that_numpy_finds(optimizer):
    """Per site and member, at some steps of a training; weights before each step are copied by the test itself."""
    arms = [
        (["relu", "sigmoid", "relu"], [["relu"] * 9, ["sigmoid"] * 7, ["relu"] * 4], 1),
        (["tanh", "tanh", "tanh"], [["tanh"] * 9, ["tanh"] * 7, ["tanh"] * 4], 2),
        ([{"relu": 5, "sigmoid": 4}, "relu", "sigmoid"], [["relu"] * 5 + ["sigmoid"] * 4, ["relu"] * 7, ["sigmoid"] * 4], 1),
    ]
    network = population(*(stack(a) for a, _, _ in arms), seeds=[seed for _, _, seed in arms])
    steps = OPTIMIZERS[optimizer](network.parameters())
    before = [[copy.deepcopy(member_weights(network, i)) for i in range(3)]]
    recorder = Recorder(network, steps, every(4))
    loop(
        network,
        steps,
        recorder,
        21,
        after=lambda step: before.append([copy.deepcopy(member_weights(network, i)) for i in range(3)]),
    )
    data = class_data(train=160)
    for i, trace in enumerate(traces(recorder)):
        trace.self_check()
        assert trace.steps.tolist() == [0, 4, 8, 12, 16, 20]
        assert trace.samples.tolist() == [16] * 6
        assert [site.name for site in trace.sites] == [f"{k + 1}.{a}" for k, a in enumerate(labels(arms[i][0]))]
        assert [site.is_output for site in trace.sites] == [False, False, True]
        for record, step in enumerate(trace.steps):
            rows = slice(step % 10 * 16, step % 10 * 16 + 16)
            # the loop's loss is the mean over members and samples
            found = NumpyPass(before[step][i], arms[i][1], data.x_train[rows], data.y_train[rows].numpy())
            compare(trace, record, found, before[step][i], before[step + 1][i], arms[i][1], scale=1 / 3)


def labels(activations):
    return ["+".join(a) if isinstance(a, dict) else a for a in activations]


def compare(trace, record, found, weights, moved, kinds, scale):
    def same(got, wanted, tolerance=2e-4):
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=1e-6)

    norm = np.linalg.norm
    for k, kind in enumerate(kinds):
        z, a = found.z[k], found.a[k]
        largest = np.array([LARGEST_SLOPE[name] for name in kind])
        unit = {name: values[k][record] for name, values in trace.unit_statistics.items()}
        site = {name: values[record, k] for name, values in trace.site_statistics.items()}
        same(unit["nonpositive_frac"], (z <= 0).mean(0))
        same(unit["saturated_frac"], (found.slopes[k] < 0.05 * largest).mean(0))
        same(unit["closed_frac"], (found.slopes[k] == 0).mean(0))
        same(unit["common_mode"], np.abs(z.mean(0)) / z.std(0), 2e-3)
        same(site["act_rms"], np.sqrt((a**2).mean()))
        same(site["act_common_mode"], norm(a.mean(0)) / np.sqrt(((a - a.mean(0)) ** 2).sum(1).mean()), 2e-3)
        same(site["gate_transmission"], norm(found.grad_z[k]) / norm(found.grad_a[k]))
        later = found.grad_output if k == len(kinds) - 1 else found.grad_z[k + 1]
        same(site["weight_transmission"], norm(found.grad_a[k]) / norm(later))
        same(site["grad_rms"], np.sqrt((found.grad_z[k] ** 2).mean()) * scale)
    same(trace.output_grad_norm[record], norm(found.grad_output) * scale)
    for k, layer in enumerate(weights):
        gradients = found.grad_weight[k], found.grad_bias[k]
        for part, gradient, values, after in zip(("weight", "bias"), gradients, layer, moved[k], strict=True):
            at = trace.parameters.index(f"{k + 1}.{part}")
            got = {name: column[record, at] for name, column in trace.parameter_statistics.items()}
            values, after = np.asarray(values, float), np.asarray(after, float)
            same(got["grad_rms"], np.sqrt((gradient**2).mean()) * scale)
            same(got["grad_to_weight"], norm(gradient) / norm(values) * scale)
            # from stored weights the step is known to float32's rounding of the weights only
            same(got["update_to_weight"], norm(after - values) / norm(values), 1e-3)
            if record % SIGNS_EVERY == 0:
                same(got["nonpositive_weight_frac"], (values <= 0).mean())


def test_transmissions_multiply_to_the_measured_attenuation():
    network = population(stack(["tanh", "sigmoid", "relu"]), stack(["relu", "none", "sigmoid"]), seeds=[1, 2])
    seen = {}
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    with Recorder(network, optimizer, every(1)) as recorder:
        for step in range(5):
            recorder.begin(step)
            output = network(class_data().x_train[:32])
            output.register_hook(lambda g, step=step: seen.__setitem__((step, "out"), g.clone()))
            loss_of(output, class_data().y_train[:32]).backward()
            # the gradient at the first z, by a second pass without any hook
            z = network.layers[0].bias.new_zeros(2, 32, 9).requires_grad_()
            with recorder._mode.off():
                seen[step, "z"] = torch.autograd.grad(through(network, class_data().x_train[:32], z), z)[0]
            recorder.gradients_ready()
            optimizer.step()
            recorder.step_taken()
            optimizer.zero_grad()
    for i, trace in enumerate(traces(recorder)):
        gates, weights = trace.site_statistics["gate_transmission"], trace.site_statistics["weight_transmission"]
        for step in range(5):
            measured = seen[step, "z"][i].double().norm() / seen[step, "out"][i].double().norm()
            assert gates[step].prod() * weights[step].prod() == pytest.approx(measured.item(), rel=1e-5)


def through(network, x, shift):
    """The loss with a shift on the first pre-activation; its gradient is that of z."""
    z = torch.baddbmm(network.layers[0].bias.unsqueeze(1), x.expand(2, *x.shape), network.layers[0].weight.mT) + shift
    a = network.layers[0].activation.forward(z)
    for layer in network.layers[1:]:
        a = layer.activation.forward(torch.baddbmm(layer.bias.unsqueeze(1), a, layer.weight.mT))
    return loss_of(a, class_data().y_train[:32])


def record_one(network, x, steps=1, optimizer=None):
    optimizer = optimizer or torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.5)
    recorder = Recorder(network, optimizer, every(1))
    with recorder:
        for step in range(steps):
            recorder.begin(step)
            network(x).square().sum().backward()
            recorder.gradients_ready()
            optimizer.step()
            recorder.step_taken()
            optimizer.zero_grad()
    (trace,) = traces(recorder)
    trace.self_check()
    return trace


def test_sign_ratio_of_an_in_place_relu_is_that_of_its_input():
    network = nn.Sequential(nn.Linear(INPUTS, 8), nn.ReLU(inplace=True), nn.Linear(8, OUTPUTS))
    x = torch.randn(40, INPUTS)
    wanted = (network[0](x) <= 0).float().mean(0)
    trace = record_one(network, x)
    assert 0.2 < wanted.mean() < 0.8
    assert trace.unit_statistics["nonpositive_frac"][0][0] == pytest.approx(wanted.numpy())
    assert trace.unit_statistics["closed_frac"][0][0] == pytest.approx(wanted.numpy())
    assert trace.site_statistics["gate_transmission"][0, 0] < 1


def test_a_module_called_twice_is_two_sites():
    network, x = SharedReLU(), torch.randn(30, INPUTS)
    with torch.no_grad():
        z = network.first(x)
        later = network.third(network.second(z.relu()).tanh())
    trace = record_one(network, x)
    assert [site.name for site in trace.sites] == ["act.relu", "middle.tanh", "act.relu#2"]
    first, _, second = (values[0] for values in trace.unit_statistics["nonpositive_frac"])
    assert first == pytest.approx((z <= 0).float().mean(0).numpy())
    assert second == pytest.approx((later <= 0).float().mean(0).numpy())


def test_a_module_shared_between_blocks_is_seen_once_for_each_call():
    act = nn.ReLU()
    network = nn.Sequential(Block(INPUTS, act), Block(INPUTS, act))
    trace = record_one(network, torch.randn(30, INPUTS))
    assert len(trace.sites) == 2
    assert len({site.name for site in trace.sites}) == 2


def test_channels_are_the_units_of_a_convolution():
    network, x = convolutional().eval(), torch.randn(20, INPUTS)
    with torch.no_grad():
        z = network[:3](x)
        late = network[:9](x)
    trace = record_one(network, x)
    assert [(site.name, site.units) for site in trace.sites] == [("3.relu6", 5), ("5.gelu", 3), ("9.relu", OUTPUTS)]
    assert trace.unit_statistics["nonpositive_frac"][0][0] == pytest.approx((z <= 0).float().mean((0, 2, 3)).numpy())
    assert trace.unit_statistics["nonpositive_frac"][2][0] == pytest.approx((late <= 0).float().mean(0).numpy())


def test_gradient_of_each_site_is_per_value_whatever_the_sizes_of_the_others():
    network, x = convolutional().eval(), torch.randn(20, INPUTS)
    gradients, z = [], x
    for layer in network:
        if isinstance(layer, nn.ReLU6 | nn.GELU | nn.ReLU):
            z = z.clone()
            z.retain_grad()
            gradients.append(z)
            z = type(layer)()(z)
        else:
            z = layer(z)
    z.square().sum().backward()
    network.zero_grad()
    trace = record_one(network, x)
    wanted = [z.grad.square().mean().sqrt().item() for z in gradients]
    assert trace.site_statistics["grad_rms"][0] == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize(
    ("network", "output"),
    [
        (lambda: nn.Sequential(nn.Linear(INPUTS, 5), nn.Tanh(), nn.Linear(5, OUTPUTS), nn.ReLU()), "3.relu"),
        (lambda: nn.Sequential(nn.Linear(INPUTS, 5), nn.ReLU(inplace=True)), "1.relu"),
        (lambda: nn.Sequential(nn.Linear(INPUTS, 5), nn.Tanh(), nn.Linear(5, OUTPUTS)), None),
        (lambda: nn.Sequential(nn.Linear(INPUTS, 5), nn.Tanh(), nn.BatchNorm1d(5)), None),
        (SharedReLU, None),
        (lambda: population(stack()), "3.relu"),
        (lambda: population(stack(["relu", "tanh", "none"])), None),
        (lambda: population(stack(["relu", "tanh", ["relu", "none"]])), "3.relu+none"),
    ],
)
def test_the_output_site_is_the_one_whose_output_is_the_networks(network, output):
    trace = record_one(network(), torch.randn(20, INPUTS))
    assert [site.name for site in trace.sites if site.is_output] == ([output] if output else [])
    last = trace.site_statistics["weight_transmission"][:, -1]
    assert (last == 1).all() if output else (last != 1).all()


def test_layers_without_activation_are_no_sites_member_by_member():
    network = population(stack(["relu", "none", "tanh"]), stack(["none", "tanh", "relu"]), seeds=[1, 2])
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    recorder = Recorder(network, optimizer, every(1))
    loop(network, optimizer, recorder, 2)
    assert [[s.name for s in t.sites] for t in traces(recorder)] == [["1.relu", "3.tanh"], ["2.tanh", "3.relu"]]


def test_arms_with_different_norms_keep_parameters_of_their_own():
    arms = [
        stack(),
        stack(norm="batchnorm-last"),
        stack(norm="batchnorm-all"),
        stack(norm="layernorm-all"),
        stack(["prelu"] * 3),
    ]
    for optimizer in OPTIMIZERS.values():
        network = population(*arms, stack(norm="batchnorm-all"), seeds=[1, 2, 3, 1, 2, 3])
        steps = optimizer(network.parameters())
        recorder = Recorder(network, steps, every(1))
        loop(network, steps, recorder, 6)
        for trace, norms in zip(traces(recorder), [0, 1, 3, 3, 0, 3], strict=True):
            assert sum(name.endswith("norm.weight") for name in trace.parameters) == norms
            assert len(set(trace.parameters)) == len(trace.parameters)
            for name, values in trace.parameter_statistics.items():
                wanted = [n for n in trace.parameters if not (name.endswith("to_weight") and n.endswith("norm.bias"))]
                at = [trace.parameters.index(n) for n in wanted]  # norm biases start at 0: no ratio to the weight at step 0
                assert np.isfinite(values[:, at]).all(), name
        everyone = traces(recorder)
        biases = ("1.bias", "2.bias", "3.bias")  # in front of batch-norm their gradient is rounding noise
        at = [i for i, name in enumerate(everyone[2].parameters) if name not in biases]
        for name, values in everyone[2].parameter_statistics.items():  # the same arm and seed, elsewhere in the population
            np.testing.assert_allclose(values[:, at], everyone[5].parameter_statistics[name][:, at], rtol=1e-3, atol=1e-6)


def test_update_from_the_momentum_buffer_is_that_from_a_copy(monkeypatch):
    found = []
    for from_copy in (False, True):
        if from_copy:
            monkeypatch.setattr("gradscope.parameter_sums.wants_copy", lambda optimizer: True)
        network = population(stack(), stack(norm="batchnorm-all"), seeds=[1, 2])
        optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)
        recorder = Recorder(network, optimizer, every(1))
        loop(network, optimizer, recorder, 12)
        found.append([t.parameter_statistics["update_to_weight"] for t in traces(recorder)])
    for buffer, copied in zip(*found, strict=True):
        assert (buffer[:, 0] > 0).all()
        np.testing.assert_allclose(buffer, copied, rtol=1e-3, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("place", ["forward", "loss", "backward", "optimizer"])
@pytest.mark.parametrize("network", ["population", "shared relu"])
def test_no_hook_is_left_after_an_exception(place, network):
    network = NETWORKS[network]()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)

    def fail(*args):
        raise ZeroDivisionError(place)

    def run():
        with Recorder(network, optimizer, every(1)) as recorder:
            for step in range(3):
                recorder.begin(step)
                if step and place == "forward":
                    network.register_forward_pre_hook(fail)
                output = network(torch.randn(8, INPUTS))
                assert is_stood_in_for(network)
                if step and place == "loss":
                    fail()
                if step and place == "backward":
                    output.register_hook(fail)
                output.square().sum().backward()
                recorder.gradients_ready()
                if step and place == "optimizer":
                    optimizer.register_step_pre_hook(fail)
                optimizer.step()
                recorder.step_taken()
                assert not is_stood_in_for(network)

    with pytest.raises(ZeroDivisionError, match=place):
        run()
    assert [hook for hook in hooks_of(network) if hook is not fail] == []


def test_recorded_steps_outlive_an_exception():
    network = NETWORKS["in-place relu"]()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    recorder = Recorder(network, optimizer, every(1))

    def stop(step):
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop(network, optimizer, recorder, 10, after=stop)
    (trace,) = traces(recorder)
    trace.self_check()
    assert trace.steps.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("network", ["population", "shared relu", "convolutional"])
@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_a_sampled_step_never_waits_for_the_device(network, optimizer, monkeypatch):
    """After the first look, no value of a tensor is asked for in the recorder, from begin to step_taken."""
    network = NETWORKS[network]()
    optimizer = OPTIMIZERS[optimizer](network.parameters())
    recorder = Recorder(network, optimizer, every(1))
    x = torch.randn(16, INPUTS)

    def refuse(*args, **kwargs):
        raise AssertionError("a host copy in a sampled step")

    with recorder:
        for step in range(4):
            with monkeypatch.context() as patch:
                if step:
                    for name in ("item", "cpu", "tolist", "numpy", "nonzero", "__bool__", "__float__", "__int__", "__index__"):
                        patch.setattr(torch.Tensor, name, refuse)
                recorder.begin(step)
                network(x).square().sum().backward()
                recorder.gradients_ready()
            optimizer.step()
            with monkeypatch.context() as patch:
                if step:
                    for name in ("item", "cpu", "tolist", "numpy", "nonzero", "__bool__", "__float__", "__int__", "__index__"):
                        patch.setattr(torch.Tensor, name, refuse)
                recorder.step_taken()
            optimizer.zero_grad()
    assert len(recorder.records) == 4


@pytest.mark.parametrize("finished", [True, False])
def test_the_model_is_freed_with_its_recorder(finished):
    network = NETWORKS["shared relu"]()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    recorder = Recorder(network, optimizer, every(1))
    if finished:
        loop(network, optimizer, recorder, 3)
    else:
        recorder.begin(0)
        network(torch.randn(8, INPUTS)).sum().backward()
        recorder.__exit__(None, None, None)
    alive = weakref.ref(network)
    del network, optimizer, recorder
    gc.collect()
    assert alive() is None


def test_a_closed_record_holds_no_tensor_of_the_pass():
    network, x = NETWORKS["shared relu"](), torch.randn(8, INPUTS)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    recorder = Recorder(network, optimizer, every(1))
    with recorder:
        recorder.begin(0)
        output = network(x)
        alive = weakref.ref(output)
        output.sum().backward()
        recorder.gradients_ready()
        optimizer.step()
        recorder.step_taken()
        del output
        assert alive() is None


def test_an_optimizer_of_some_parameters_keeps_its_state_loadable():
    network = nn.Sequential(nn.Linear(INPUTS, 8), nn.ReLU(), nn.Linear(8, OUTPUTS))
    optimizer = torch.optim.SGD(network[2].parameters(), lr=0.1, momentum=0.9)
    trace = record_one(network, torch.randn(8, INPUTS), steps=3, optimizer=optimizer)
    assert len(optimizer.state_dict()["state"]) == 2
    moved = trace.parameter_statistics["update_to_weight"]
    assert (moved[0, :2] == 0).all()
    assert (moved[0, 2:] > 0).all()


def test_frozen_parameters_are_left_out():
    network = nn.Sequential(nn.Linear(INPUTS, 8), nn.ReLU(), nn.Linear(8, OUTPUTS))
    network[0].requires_grad_(False)
    optimizer = torch.optim.SGD(network[2].parameters(), lr=0.1, momentum=0.9)
    trace = record_one(network, torch.randn(8, INPUTS), optimizer=optimizer)
    assert trace.parameters == ("2.weight", "2.bias")
    assert np.isnan(trace.site_statistics["gate_transmission"]).all()  # no gradient goes back to this z


class Squeezed(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.act = nn.Linear(INPUTS, 1), nn.Sigmoid()

    def forward(self, x):
        return self.act(self.linear(x).squeeze(-1))


def test_a_vector_of_outputs_is_one_unit_over_the_batch():
    network, x = Squeezed(), torch.randn(30, INPUTS)
    wanted = (network.linear(x) <= 0).float().mean().item()
    trace = record_one(network, x, steps=2)
    assert trace.sites[0].units == 1
    assert trace.samples.tolist() == [30, 30]
    assert trace.unit_statistics["nonpositive_frac"][0][0] == pytest.approx([wanted])
    assert np.isfinite(trace.site_statistics["gate_transmission"]).all()


class Loss(nn.Module):
    """A model that returns its loss, a single number, as those of some libraries do."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(INPUTS, 8), nn.ReLU(), nn.Linear(8, OUTPUTS))

    def forward(self, x):
        return self.body(x).square().mean()


def test_a_network_may_return_a_single_number():
    trace = record_one(Loss(), torch.randn(30, INPUTS), steps=2)
    assert trace.steps.tolist() == [0, 1]
    assert (trace.output_grad_norm > 0).all()


def test_a_network_may_return_anything():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.act = nn.Linear(INPUTS, 8), nn.ReLU()

        def forward(self, x):
            return {"a": self.act(self.linear(x))}

    network = Two()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    recorder = Recorder(network, optimizer, every(1))
    with recorder:
        recorder.begin(0)
        network(torch.randn(5, INPUTS))["a"].sum().backward()
        recorder.gradients_ready()
        optimizer.step()
        recorder.step_taken()
    (trace,) = traces(recorder)
    trace.self_check()
    assert trace.output_grad_norm == pytest.approx([40**0.5])  # of a sum over 5 samples of 8 units
    assert trace.site_statistics["gate_transmission"][0, 0] > 0


def test_passes_without_gradient_are_not_recorded():
    network = NETWORKS["in-place relu"]()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    with Recorder(network, optimizer, every(1)) as recorder:
        recorder.begin(0)
        with torch.no_grad():
            network(torch.randn(9, INPUTS))
        network(torch.randn(5, INPUTS)).sum().backward()
        recorder.gradients_ready()
        optimizer.step()
        recorder.step_taken()
    (trace,) = traces(recorder)
    assert [site.name for site in trace.sites] == ["1.relu"]
    assert trace.samples.tolist() == [5]


def test_a_step_function_is_a_site_that_lets_nothing_pass():
    network = population(stack(["test_recorder:step_function", "relu", "none"]), allow_code=True)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    recorder = Recorder(network, optimizer, every(1))
    loop(network, optimizer, recorder, 2)
    (trace,) = traces(recorder)
    assert trace.sites[0].name == "1.step_function"
    assert (trace.unit_statistics["closed_frac"][0] == 1).all()


def step_function(z):
    return (z > 0).float()


def test_nothing_to_see_is_an_empty_trace():
    network = nn.Sequential(nn.Linear(INPUTS, 3), nn.Linear(3, OUTPUTS))
    trace = record_one(network, torch.randn(5, INPUTS))
    assert trace.sites == ()
    assert len(trace.parameters) == 4


def test_unscheduled_steps_cost_no_hook():
    network = NETWORKS["in-place relu"]()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    recorder = Recorder(network, optimizer, every(5))
    assert [recorder.begin(step) for step in (1, 4)] == [False, False]
    assert not is_stood_in_for(network)
    assert recorder.begin(5)
    assert is_stood_in_for(network)
    recorder.__exit__(None, None, None)


def test_samples_are_counted_not_pixels():
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 36, 4), nn.ReLU(), nn.Linear(4, 2))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    with Recorder(network, optimizer, every(1)) as recorder:
        recorder.begin(0)
        network(torch.randn(7, 1, 8, 8)).sum().backward()
        recorder.gradients_ready()
        optimizer.step()
        recorder.step_taken()
    (trace,) = traces(recorder)
    assert trace.samples.tolist() == [7]
