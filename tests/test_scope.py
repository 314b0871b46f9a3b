"""gradscope.watch from outside: its options, what it writes and when, and how it begins and ends."""

import copy
import errno
import gc
import inspect
import io
import json
import math
import os
import pickle
import re
import signal
import subprocess
import sys
import warnings
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import call, environment
from naive_twin import BATCH, HIDDEN, INPUTS, OUTPUTS, assert_parameters, batch, lost, plain_step, same_bits, sgd, train
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.overrides import _get_current_function_mode_stack

import gradscope
from gradscope import schedule as schedules
from gradscope.errors import FindingError, GradscopeError, GradscopeWarning, WatchError, WriteError
from gradscope.renderers.tensorboard_file import EventFile, scalar_summary
from gradscope.report import Finding, load_report
from gradscope.rules.dead_layer import DeadLayer
from gradscope.rules.saturation import Saturation
from gradscope.scope import Scope
from gradscope.trace import Trace
from gradscope.watch_report import load_watched_run

TRACE = Path("trace", "run-0.npz")
watch_unchecked = inspect.unwrap(gradscope.watch)  # as users have it: without the type checker of these tests


def network():
    return nn.Sequential(nn.Linear(INPUTS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, OUTPUTS))


def dead(units=HIDDEN):
    """A network whose first layer has died."""
    model = network()
    with torch.no_grad():
        model[0].bias[:units] = -100
    return model


def loop(model, optimizer, steps, scope=None, first=0):
    for i in range(first, first + steps):
        loss = F.cross_entropy(model(batch(i)), torch.arange(BATCH) % OUTPUTS)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if scope is not None:
            scope.log(loss=loss)


def watched(build=network, steps=3, **options):
    torch.manual_seed(3)
    model = build()
    optimizer = sgd(model)
    with gradscope.watch(model, optimizer, **{"on_finding": "ignore"} | options) as scope:
        loop(model, optimizer, steps, scope)
    return scope


def names_of(scope):
    return [site.name for site in scope.trace.sites]


def hooks_left(model, *optimizers):
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    found = [hook for module in model.modules() for kind in kinds for hook in getattr(module, kind).values()]
    for optimizer in optimizers:
        found += [*optimizer._optimizer_step_pre_hooks.values(), *optimizer._optimizer_step_post_hooks.values()]
    return [*found, *_get_current_function_mode_stack(), *(m for m in model.modules() if vars(m).get("_compiled_call_impl"))]


# --- options ---


def test_the_default_schedule_thins_out():
    scope = watched(steps=36)
    assert scope.trace.steps.tolist() == [step for step in range(36) if schedules.default(step)]
    assert scope.trace.schedule == "default"
    assert scope.step == 36


@pytest.mark.parametrize(
    ("options", "steps", "name"),
    [
        ({"every": 4}, [0, 4, 8], "every 4"),
        ({"every": 1}, list(range(10)), "every 1"),
        ({"every": 100}, [0], "every 100"),
        ({"schedule": lambda step: step in (1, 2, 7)}, [1, 2, 7], "own function"),
        ({"schedule": lambda step: step > 100}, [], "own function"),
        ({"schedule": schedules.default}, list(range(10)), "own function"),
    ],
)
def test_a_schedule_of_ones_own(options, steps, name):
    scope = watched(steps=10, **options)
    assert scope.trace.steps.tolist() == steps
    assert scope.trace.schedule == name
    assert scope.step == 10
    assert len(scope.trace.loss) == 10


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        ((), ["1.relu", "3.tanh"]),
        ("*", ["1.relu", "3.tanh"]),
        ("*.relu", ["1.relu"]),
        (["1.*", "3.*"], ["1.relu", "3.tanh"]),
        (["!*.relu"], ["3.tanh"]),
        (["*", "!3.*"], ["1.relu"]),
        (("1.relu", "!1.relu"), []),
        (["nothing"], []),
    ],
)
def test_sites_are_chosen_by_patterns(patterns, left):
    scope = watched(sites=patterns)
    assert names_of(scope) == left
    everything = watched()
    for k, name in enumerate(left):
        wanted = everything.trace.unit_statistics["nonpositive_frac"][names_of(everything).index(name)]
        assert np.array_equal(scope.trace.unit_statistics["nonpositive_frac"][k], wanted)
    if not left:
        assert scope.diagnosis.verdict == "undecided"


def test_a_chosen_site_is_not_listed_as_unseen():
    assert watched(sites=["*.relu"]).coverage.sites_unseen == []


def test_names_of_ones_own():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = network(), nn.Linear(OUTPUTS, OUTPUTS)

        def forward(self, x):
            return self.head(torch.sigmoid(self.body(x)))

    scope = watched(Model, names={"body": "encoder", "body.1": "gate", "": "model"})
    assert names_of(scope)[:2] == ["gate.relu", "encoder.3.tanh"]
    assert names_of(scope)[2].partition("@")[0].removeprefix("model.") == "sigmoid"


def test_rules_of_ones_own():
    scope = watched(dead, steps=40, rules=[Saturation])
    assert {finding.rule for finding in scope.diagnosis.findings} <= {"saturation"}
    assert scope.diagnosis.verdict != "sick"
    scope = watched(dead, steps=40, rules=(DeadLayer,))
    assert {finding.rule for finding in scope.diagnosis.findings} == {"dead-layer"}
    assert scope.diagnosis.verdict == "sick"


def test_an_error_is_warned_of_once():
    with pytest.warns(GradscopeWarning) as caught:
        scope = watched(dead, steps=40, on_finding="warn")
    (warning,) = caught
    text = str(warning.message)
    assert re.match(r"gradscope: step \d+: GS\d+ [a-z-]+ at 1\.relu: ", text)
    assert "\n" not in text
    assert scope.diagnosis.verdict == "sick"


def test_a_warning_points_to_the_users_line():
    with pytest.warns(GradscopeWarning) as caught:
        watched(dead, steps=40, on_finding="warn")
    assert caught[0].filename == __file__


def test_an_error_may_be_raised():
    torch.manual_seed(3)
    model = dead()
    optimizer = sgd(model)
    before = model[4].weight.detach().clone()
    scope = gradscope.watch(model, optimizer, on_finding="raise")
    with pytest.raises(FindingError, match=r"step \d+: GS\d+ [a-z-]+ at 1\.relu") as caught, scope:
        loop(model, optimizer, 120)
    assert "\n" not in str(caught.value)
    assert 10 <= scope.step < 120
    assert not torch.equal(before, model[4].weight)
    assert hooks_left(model, optimizer) == []
    assert scope.diagnosis.verdict == "sick"
    assert scope.diagnosis.report.interrupted


@pytest.mark.parametrize("every", [1, 7, 1000])
def test_flushes_come_after_the_same_steps_whatever_is_looked_at(every, tmp_path):
    model = network()
    optimizer = sgd(model)
    found = []
    with gradscope.watch(model, optimizer, tmp_path, every=every, on_finding="ignore") as scope:
        for i in range(110):
            loop(model, optimizer, 1, scope, i)
            written = load_watched_run(tmp_path).steps
            if written and written not in found:
                found.append(written)
                assert Trace.load(tmp_path / TRACE).steps.tolist() == list(range(0, written, every))
    assert found == [10, 30, 100]


def test_an_error_found_at_the_end_is_raised_after_all_is_done(tmp_path):
    torch.manual_seed(3)
    model = dead()
    optimizer = sgd(model)
    scope = gradscope.watch(model, optimizer, tmp_path, schedule=lambda step: step >= 10, on_finding="raise").start()
    loop(model, optimizer, 29, scope)  # past the first flush, not up to the second
    with pytest.raises(FindingError, match="at 1.relu"):
        scope.close()
    assert hooks_left(model, optimizer) == []
    assert load_report(tmp_path).verdict == "sick"
    scope.close()


def test_an_error_of_the_users_own_goes_before_a_finding():
    def fail():
        scope = gradscope.watch(model, optimizer, on_finding="raise").start()
        try:
            loop(model, optimizer, 9, scope)
            raise ZeroDivisionError
        finally:
            scope.close()

    model = dead()
    optimizer = sgd(model)
    with pytest.raises(ZeroDivisionError):
        fail()


def test_findings_may_be_handed_to_a_function():
    got = []
    scope = watched(dead, steps=120, on_finding=got.append)
    assert all(isinstance(finding, Finding) for finding in got)
    keys = [(finding.rule, finding.site) for finding in got]
    assert len(set(keys)) == len(keys)
    assert {(finding.rule, finding.site) for finding in scope.diagnosis.findings} <= set(keys)
    assert ("dead-layer", "1.relu") in keys


def test_findings_may_be_ignored():
    assert watched(dead, steps=40).diagnosis.verdict == "sick"  # warnings are errors in these tests


def test_a_healthy_training_is_not_warned_of():
    assert watched(steps=40, on_finding="warn").diagnosis.verdict != "sick"


# --- arguments that cannot be used ---

NOT_OPTIMIZERS = {
    "text": "adam",
    "nothing": None,
    "no optimizer": [],
    "parameters": [torch.nn.Parameter(torch.zeros(2))],
    "number": 3,
}
WRONG = {
    "schedule and every": {"schedule": schedules.default, "every": 3},
    "every 0": {"every": 0},
    "every -1": {"every": -1},
    "every 1.5": {"every": 1.5},
    "every True": {"every": True},
    "schedule 10": {"schedule": 10},
    "on_finding": {"on_finding": "explode"},
    "on_finding None": {"on_finding": None},
    "rules by name": {"rules": ["dead-layer"]},
    "rules as instances": {"rules": [DeadLayer()]},
    "one rule": {"rules": DeadLayer},
    "no rules": {"rules": []},
    "rules of another kind": {"rules": [dict]},
    "one rule by name": {"rules": "dead-layer"},
    "sites 5": {"sites": 5},
    "sites of numbers": {"sites": [5]},
    "names as a list": {"names": ["encoder"]},
    "names of numbers": {"names": {"1": 5}},
    "names by number": {"names": {1: "gate"}},
    "log_dir 5": {"log_dir": 5},
}


def told(error):
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("watch: ")


@pytest.mark.parametrize("case", WRONG)
def test_an_option_that_cannot_be_used_is_told_in_one_line(case):
    model = network()
    with pytest.raises(WatchError) as error:
        watch_unchecked(model, sgd(model), **WRONG[case])
    told(error)
    assert hooks_left(model) == []


@pytest.mark.parametrize("case", NOT_OPTIMIZERS)
def test_something_that_is_no_optimizer(case):
    with pytest.raises(WatchError) as error:
        watch_unchecked(network(), NOT_OPTIMIZERS[case])
    told(error)


@pytest.mark.parametrize("model", [None, "resnet", network, nn.Linear, [network()], torch.zeros(3)])
def test_something_that_is_no_model(model):
    with pytest.raises(WatchError) as error:
        watch_unchecked(model, sgd(network()))
    told(error)


def test_an_optimizer_in_a_librarys_wrapper():
    class Wrapper:
        def __init__(self, optimizer):
            self.optimizer = optimizer

    model = network()
    optimizer = sgd(model)
    for given in (Wrapper(optimizer), [Wrapper(optimizer)]):
        with gradscope.watch(model, given, on_finding="ignore") as scope:
            loop(model, optimizer, 2, scope)
        assert scope.step == 2


def test_an_optimizer_of_another_model_is_noted():
    scope = gradscope.watch(network(), sgd(network()))
    assert any("no watched optimizer holds" in note for note in scope.trace.notes)


def test_wrapped_optimizers_are_looked_through():
    class Wrapper:
        def __init__(self, optimizer):
            self.optimizer = optimizer

    model = network()
    optimizer = sgd(model)
    with watch_unchecked(model, [Wrapper(Wrapper(optimizer)), optimizer]) as scope:
        loop(model, optimizer, 2)
    assert scope.step == 2


# --- what the loop tells ---


def test_losses_and_metrics_in_every_form():
    model = network()
    optimizer = sgd(model)
    values = [
        torch.tensor(1.5), torch.tensor([2.5]), 3.5, 4, np.float32(5.5), np.array(6.5), np.array([7.5]), torch.tensor(8),
        torch.tensor(9.5, requires_grad=True), torch.tensor(10.5, dtype=torch.bfloat16), math.nan, True,
    ]  # fmt: skip
    with gradscope.watch(model, optimizer, on_finding="ignore") as scope:
        for value in values:
            loop(model, optimizer, 1)
            scope.log(loss=value, accuracy=value)
    wanted = [1.5, 2.5, 3.5, 4, 5.5, 6.5, 7.5, 8, 9.5, 10.5, math.nan, 1]
    np.testing.assert_array_equal(scope.trace.loss, np.array(wanted, np.float32))
    np.testing.assert_array_equal(scope.trace.evaluation_metric, np.array(wanted, np.float32))
    assert scope.trace.steps_of_loss.tolist() == list(range(len(values)))
    assert scope.trace.task.metric == "accuracy"


@pytest.mark.parametrize(
    "value",
    [torch.zeros(2), torch.zeros(0), "0.5", None, [1.0], 1j, torch.tensor(1j), np.zeros(2), np.array("a"), {"loss": 1.0}],
)
def test_what_is_not_one_number_is_refused_in_one_line(value):
    scope = gradscope.watch((model := network()), sgd(model))
    with pytest.raises(WatchError, match="^log: loss: expected ") as error:
        scope.log(loss=value)
    assert "\n" not in str(error.value)


def test_losses_told_now_and_then():
    model = network()
    optimizer = sgd(model)
    with gradscope.watch(model, optimizer, on_finding="ignore") as scope:
        for i in range(7):
            loop(model, optimizer, 1)
            if i % 3 == 0:
                scope.log(loss=i)
            scope.log()
    assert scope.trace.loss.tolist() == [0, 3, 6]
    assert scope.trace.steps_of_loss.tolist() == [0, 3, 6]


def test_the_last_loss_of_a_step_counts():
    model = network()
    optimizer = sgd(model)
    with gradscope.watch(model, optimizer, on_finding="ignore") as scope:
        scope.log(loss=9.0)  # before the first step: the untrained network's
        for i in range(3):
            loop(model, optimizer, 1)
            scope.log(loss=i)
            scope.log(loss=i + 0.5)
            assert scope.trace.loss.tolist()[-1] == i + 0.5
    assert scope.trace.loss.tolist() == [0.5, 1.5, 2.5]


def test_a_told_loss_keeps_nothing_alive():
    model = network()
    optimizer = sgd(model)
    with gradscope.watch(model, optimizer, on_finding="ignore") as scope:
        output = model(batch(0))
        alive = weakref.ref(output)
        loss = output.square().mean()
        loss.backward()
        optimizer.step()
        scope.log(loss=loss)
        del output, loss
        gc.collect()
        assert alive() is None


def test_a_metric_whose_value_was_refused_is_none():
    model = network()
    optimizer = sgd(model)
    with gradscope.watch(model, optimizer, on_finding="ignore") as scope:
        loop(model, optimizer, 1)
        with pytest.raises(WatchError):
            scope.log(names="a")
        scope.log(accuracy=0.5)
    assert scope.trace.task.metric == "accuracy"


def test_a_metric_is_shown_under_its_own_name(tmp_path):
    model = network()
    optimizer = sgd(model)
    with gradscope.watch(model, optimizer, tmp_path, on_finding="ignore") as scope:
        for i in range(3):
            loop(model, optimizer, 1, scope, i)
            scope.log(accuracy=i)
    tags = scalars(tmp_path / "tensorboard")
    assert tags["metric/accuracy"] == [1, 2, 3]
    assert not [tag for tag in tags if tag.endswith("/test")]


def test_parameters_without_a_shape_are_counted_once_they_have_one(tmp_path):
    model = nn.Sequential(nn.LazyLinear(HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, OUTPUTS))
    optimizer = sgd(model)
    known = HIDDEN * OUTPUTS + OUTPUTS
    with gradscope.watch(model, optimizer, tmp_path, on_finding="ignore") as scope:
        assert load_watched_run(tmp_path).parameters == known
        loop(model, optimizer, 2, scope)
    assert load_watched_run(tmp_path).parameters == load_report(tmp_path).setting.parameters == known + HIDDEN * (INPUTS + 1)


def test_logging_after_the_end_harms_nothing():
    scope = watched()
    scope.log(loss=1.0)
    assert len(scope.trace.loss) == 3


# --- what is written ---


def scalars(folder):
    """Tag -> steps, of all event files below."""
    found = {}
    for file in sorted(folder.rglob("events.*")):
        accumulator = EventAccumulator(str(file), size_guidance={"scalars": 0})
        accumulator.Reload()
        for tag in accumulator.Tags()["scalars"]:
            found.setdefault(tag, []).extend(event.step for event in accumulator.Scalars(tag))
    return found


def test_nothing_is_written_without_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    watched(steps=12)
    assert list(tmp_path.iterdir()) == []


def test_files_grow_while_the_run_goes_on(tmp_path):
    folder = tmp_path / "new" / "run"
    model = network()
    optimizer = sgd(model)
    with gradscope.watch(model, optimizer, folder, on_finding="ignore") as scope:
        assert (folder / "watch.json").exists()
        loop(model, optimizer, 9, scope)
        assert not (folder / TRACE).exists()
        loop(model, optimizer, 1, scope, 9)
        first = Trace.load(folder / TRACE)
        assert first.steps.tolist() == list(range(10))
        assert len(first.loss) == 9  # that of the tenth step is told after it
        assert not (folder / "report.json").exists()
        assert any(steps for steps in scalars(folder / "tensorboard").values())
        loop(model, optimizer, 20, scope, 10)
        assert Trace.load(folder / TRACE).steps[-1] == 28
    last = Trace.load(folder / TRACE)
    assert len(last.loss) == 30
    assert load_report(folder).setting.steps == 30
    of_loss = next(steps for tag, steps in scalars(folder / "tensorboard").items() if "loss" in tag)
    assert of_loss == list(range(30))
    assert [path.name for path in folder.rglob("*.part")] == []
    assert {path.name for path in folder.iterdir()} == {"trace", "tensorboard", "watch.json", "report.json"}


def test_the_trace_in_the_file_is_the_scopes(tmp_path):
    scope = watched(steps=5, log_dir=str(tmp_path))
    saved = Trace.load(tmp_path / TRACE)
    assert (saved.arm, saved.seed) == (scope.trace.arm, scope.trace.seed) == ("run", 0)
    for name, values in scope.trace.site_statistics.items():
        np.testing.assert_array_equal(saved.site_statistics[name], values)
    np.testing.assert_array_equal(saved.loss, scope.trace.loss)


def test_the_report_is_the_diagnosis(tmp_path):
    scope = watched(dead, steps=40, log_dir=tmp_path)
    written, told = json.loads((tmp_path / "report.json").read_text()), scope.diagnosis.to_dict()
    assert told.keys() == written.keys()
    assert {k: v for k, v in told.items() if k != "timing"} == {k: v for k, v in written.items() if k != "timing"}
    assert json.dumps(told, allow_nan=False)
    assert scope.diagnosis.verdict == "sick"
    assert 0 < scope.diagnosis.report.timing.recording_frac < 1
    done = call("report", tmp_path)
    assert done.code == 0
    assert "dead-layer" in done.out
    assert call("report", tmp_path, "--format", "json").code == 0


def test_the_text_is_plain():
    text = str(watched(dead, steps=40).diagnosis)
    assert "dead-layer" in text
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 100
    assert "--" not in [word for line in text.splitlines() for word in line.split() if word == "--out"]


def test_the_diagnosis_within_the_block_and_after_it():
    model = dead()
    optimizer = sgd(model)
    verdicts = []
    with gradscope.watch(model, optimizer, on_finding="ignore") as scope:
        verdicts.append(scope.diagnosis.verdict)
        loop(model, optimizer, 40, scope)
        verdicts.append(scope.diagnosis.verdict)
        within = scope.diagnosis.to_dict()
        assert str(scope.diagnosis)
        assert scope.coverage.sites_seen == 2
        assert scope.trace.steps[-1] == 30
        loop(model, optimizer, 1, scope, 40)
    assert verdicts == ["undecided", "sick"]
    after = scope.diagnosis.to_dict()
    assert [f["rule"] for f in within["findings"]] == [f["rule"] for f in after["findings"]]
    assert scope.coverage == scope.diagnosis.coverage
    assert scope.diagnosis.undecided == scope.diagnosis.report.undecided


def test_looking_in_between_changes_nothing():
    def step(model, optimizer, i):
        loss = plain_step(model, optimizer, i)
        for scope in gc.get_objects():
            if type(scope) is Scope and scope._recorder is not None:
                assert str(scope.diagnosis)
                assert scope.trace.steps[-1] == i
        return loss

    alone, ended = train(network, watched=False), train(network, step, watched=True)
    assert same_bits(alone, ended)
    assert_parameters(alone, ended)
    assert np.array_equal(
        ended.trace.site_statistics["grad_rms"], train(network, watched=True).trace.site_statistics["grad_rms"]
    )


def test_saving_where_it_is_asked_for(tmp_path):
    scope = watched(steps=4)
    with pytest.raises(WatchError, match="^save: expected a folder") as error:
        scope.save()
    assert "\n" not in str(error.value)
    assert scope.save(tmp_path / "a") == tmp_path / "a"
    assert scope.save(str(tmp_path / "b")) == tmp_path / "b"
    for name in "ab":
        assert Trace.load(tmp_path / name / TRACE).steps.tolist() == [0, 1, 2, 3]
        assert load_report(tmp_path / name).recipe == "Sequential"
        assert call("report", tmp_path / name).code in (0, 3)


def test_saving_within_the_block(tmp_path):
    model = network()
    optimizer = sgd(model)
    with gradscope.watch(model, optimizer, tmp_path / "log", on_finding="ignore") as scope:
        loop(model, optimizer, 3, scope)
        assert scope.save() == tmp_path / "log"
        assert len(Trace.load(tmp_path / "log" / TRACE).steps) == 3
        scope.save(tmp_path / "copy")
        loop(model, optimizer, 3, scope, 3)
    assert len(Trace.load(tmp_path / "log" / TRACE).steps) == 6
    assert len(Trace.load(tmp_path / "copy" / TRACE).steps) == 3


def test_a_second_run_into_the_same_folder_replaces_the_first(tmp_path):
    watched(dead, steps=40, log_dir=tmp_path)
    model = network()
    optimizer = sgd(model)
    with gradscope.watch(model, optimizer, tmp_path, on_finding="ignore") as scope:
        assert not (tmp_path / "report.json").exists()
        assert not (tmp_path / TRACE).exists()
        assert event_sizes(tmp_path) == [0, 0]
        loop(model, optimizer, 4, scope)
    assert load_report(tmp_path).verdict != "sick"
    assert len(Trace.load(tmp_path / TRACE).steps) == 4
    assert [size > 0 for size in event_sizes(tmp_path)] == [False, False, True, True]  # of the run, and of the diagnosis
    watched(steps=4, log_dir=tmp_path)
    assert [size > 0 for size in event_sizes(tmp_path)] == [False, False, True, True]


def event_sizes(folder):
    """Of the event files; those of an earlier run are emptied, and gone at the next one."""
    return sorted(file.stat().st_size for file in (folder / "tensorboard").rglob("events.*"))


def test_what_others_wrote_into_the_folder_stays(tmp_path):
    watched(log_dir=tmp_path)
    own = EventFile(tmp_path / "tensorboard")
    own.append([(0, scalar_summary([("learning rate", 0.1)]))])
    kept = [own.path, tmp_path / "trace" / "control-0.npz", tmp_path / "trace" / "notes.txt", tmp_path / "model.pt"]
    for path in kept[1:]:
        path.write_text("")
    watched(log_dir=tmp_path)
    assert all(path.exists() for path in kept)


def test_an_earlier_run_that_cannot_be_removed_is_told_before_the_training(tmp_path):
    watched(log_dir=tmp_path)
    (tmp_path / "report.json").unlink()
    (tmp_path / "report.json").mkdir()
    model = network()
    scope = gradscope.watch(model, (optimizer := sgd(model)), tmp_path)
    with pytest.raises(WriteError) as error:
        scope.start()
    assert "\n" not in str(error.value)
    assert hooks_left(model, optimizer) == []


KILLED = """
import os, signal, sys, torch, gradscope
from torch import nn
torch.set_num_threads(1)
model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
with torch.no_grad():
    model[0].bias.fill_(-100.0)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
with gradscope.watch(model, optimizer, sys.argv[1], on_finding="ignore") as scope:
    for step in range(1000):
        loss = nn.functional.cross_entropy(model(torch.randn(16, 6)), torch.arange(16) % 4)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scope.log(loss=loss)
        if scope.step == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_after(steps, folder):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), str(steps)], env=environment(), capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def test_a_killed_run_can_be_read(tmp_path):
    killed_after(35, tmp_path)
    trace = Trace.load(tmp_path / TRACE)
    trace.self_check()
    assert trace.steps[-1] == 28
    found = scalars(tmp_path / "tensorboard")
    assert max(max(steps) for steps in found.values()) == 28
    assert not (tmp_path / "report.json").exists()
    done = call("report", tmp_path)
    assert done.code == 0
    assert "dead-layer" in done.out
    told = json.loads(call("report", tmp_path, "--format", "json").out)
    assert told["interrupted"] is True
    assert told["verdict"] == "sick"


def test_a_run_killed_before_it_wrote_a_trace(tmp_path):
    killed_after(3, tmp_path)
    done = call("report", tmp_path)
    assert done.code == 3
    assert "Traceback" not in done.err + done.out


@pytest.mark.parametrize(
    ("build", "options"),
    [
        (network, {"schedule": lambda step: False}),
        (lambda: nn.Sequential(nn.Linear(INPUTS, HIDDEN), nn.Linear(HIDDEN, OUTPUTS)), {}),
        (network, {"sites": "nothing"}),
    ],
    ids=["never looked", "nothing to see", "nothing chosen"],
)
def test_where_nothing_was_recorded_nothing_is_judged(build, options, tmp_path):
    scope = watched(build, steps=40, log_dir=tmp_path, **options)
    assert scope.diagnosis.verdict == "undecided"
    assert scope.coverage.sites_seen == 0
    assert scope.coverage.notes
    done = call("report", tmp_path)
    assert done.code == 3
    assert "healthy" not in done.out.lower()


def test_another_rank_than_the_first_writes_and_tells_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("gradscope.ranks.Ranks.is_first", False)
    scope = watched(dead, steps=40, log_dir=tmp_path / "run", on_finding="raise")
    assert scope.save() == tmp_path / "run"
    assert scope.save(tmp_path / "other") == tmp_path / "other"
    assert watched(steps=2).save() == Path()  # the first one alone was given a folder
    assert list(tmp_path.iterdir()) == []
    assert scope.trace.steps[-1] == 30
    assert scope.diagnosis.verdict == "sick"


# --- what cannot be written ---


def test_a_folder_that_cannot_be_made_is_told_before_the_training(tmp_path):
    (tmp_path / "file").write_text("")
    model = network()
    optimizer = sgd(model)
    with pytest.raises(WriteError) as error, gradscope.watch(model, optimizer, tmp_path / "file" / "run"):
        pytest.fail("the training has begun")
    assert "\n" not in str(error.value)
    assert str(tmp_path / "file" / "run") in str(error.value)
    assert hooks_left(model, optimizer) == []


def full(*arguments, **options):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("what", ["numpy.savez_compressed", "event file", "os.replace"])
def test_a_full_disk_does_not_end_the_training(what, tmp_path, monkeypatch):
    """What was trained is worth more than its record; a warning says so once, and the record is in memory still."""
    torch.manual_seed(3)
    model = network()
    optimizer = sgd(model)
    scope = gradscope.watch(model, optimizer, tmp_path, on_finding="ignore")
    with warnings.catch_warnings(record=True, action="always") as caught, scope:
        loop(model, optimizer, 5, scope)
        if what == "event file":
            monkeypatch.setattr("gradscope.renderers.tensorboard_file.EventFile._write", no_events)
        else:
            monkeypatch.setattr(what, full)
        loop(model, optimizer, 30, scope, 5)
    assert len(caught) == 1
    text = str(caught[0].message)
    assert "No space left" in text
    assert str(tmp_path) in text
    assert "\n" not in text
    assert scope.step == 35
    assert scope.trace.steps[-1] == 30
    assert hooks_left(model, optimizer) == []
    torch.manual_seed(3)
    alone = network()
    loop(alone, sgd(alone), 35)
    assert all(torch.equal(a, b) for a, b in zip(alone.parameters(), model.parameters(), strict=True))


def no_events(self, data):
    raise WriteError(f"{self.path}: cannot be written: {os.strerror(errno.ENOSPC)}; free some space")


def test_a_disk_that_is_full_for_a_while_only(tmp_path, monkeypatch):
    model = network()
    optimizer = sgd(model)
    scope = gradscope.watch(model, optimizer, tmp_path, on_finding="ignore")
    with warnings.catch_warnings(record=True, action="always"), scope:
        with monkeypatch.context() as patch:
            patch.setattr("os.replace", full)
            loop(model, optimizer, 12, scope)
        loop(model, optimizer, 23, scope, 12)
    assert Trace.load(tmp_path / TRACE).steps[-1] == 30
    of_loss = next(steps for tag, steps in scalars(tmp_path / "tensorboard").items() if "loss" in tag)
    assert of_loss == list(range(35))


def test_the_training_s_own_error_comes_through_a_full_disk(tmp_path, monkeypatch):
    model = network()
    optimizer = sgd(model)

    def fail():
        with gradscope.watch(model, optimizer, tmp_path, on_finding="ignore") as scope:
            loop(model, optimizer, 3, scope)
            monkeypatch.setattr("os.replace", full)
            raise ZeroDivisionError

    with warnings.catch_warnings(record=True, action="always") as caught, pytest.raises(ZeroDivisionError):
        fail()
    assert [one.category for one in caught] == [GradscopeWarning]
    assert hooks_left(model, optimizer) == []


def test_saving_into_a_full_disk_is_told_in_one_line(tmp_path, monkeypatch):
    scope = watched()
    monkeypatch.setattr("os.replace", full)
    with pytest.raises(WriteError) as error:
        scope.save(tmp_path / "there")
    assert "\n" not in str(error.value)


# --- how it ends ---


class Failing(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.fails = network(), None

    def forward(self, x):
        found = self.body(x)
        if self.fails == "forward":
            raise ZeroDivisionError
        return found


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("place", ["forward", "backward", "before the step", "within the step", "after the step"])
def test_an_error_in_the_loop_comes_through(error, place, tmp_path):
    model = Failing()
    optimizer = sgd(model)

    def fail(*args):
        raise error

    def train_some():
        with gradscope.watch(model, optimizer, tmp_path, on_finding="ignore") as scope:
            found.append(scope)
            loop(model, optimizer, 5, scope)
            if place == "forward":
                model.body[2].register_forward_hook(fail)
            output = model(batch(5))
            if place == "backward":
                output.register_hook(fail)
            optimizer.zero_grad()
            output.square().mean().backward()
            if place == "before the step":
                fail()
            if place == "within the step":
                optimizer.register_step_pre_hook(fail)
            optimizer.step()
            fail()

    found = []
    with pytest.raises(error):
        train_some()
    (scope,) = found
    assert [hook for hook in hooks_left(model, optimizer) if hook is not fail] == []
    steps = 6 if place == "after the step" else 5
    assert scope.step == steps
    assert scope.trace.steps.tolist() == Trace.load(tmp_path / TRACE).steps.tolist() == list(range(steps))
    assert load_report(tmp_path).interrupted
    assert str(scope.diagnosis)


def test_starting_and_closing_by_hand():
    model = network()
    optimizer = sgd(model)
    scope = gradscope.watch(model, optimizer, every=1, on_finding="ignore")
    assert hooks_left(model, optimizer) == []
    loop(model, optimizer, 2)  # before the start nothing is seen
    assert scope.start() is scope
    assert scope.start() is scope
    loop(model, optimizer, 3, scope)
    scope.close()
    scope.close()
    assert scope.step == 3
    assert scope.trace.steps.tolist() == [0, 1, 2]
    assert hooks_left(model, optimizer) == []
    loop(model, optimizer, 2)
    assert scope.trace.steps.tolist() == [0, 1, 2]


def test_closing_within_the_block(tmp_path):
    model = network()
    optimizer = sgd(model)
    with gradscope.watch(model, optimizer, tmp_path, on_finding="ignore") as scope:
        loop(model, optimizer, 3, scope)
        scope.close()
        loop(model, optimizer, 3, None, 3)
    assert scope.step == 3
    assert len(Trace.load(tmp_path / TRACE).steps) == 3


def test_closing_without_a_start(tmp_path):
    model = network()
    watched(log_dir=tmp_path)
    scope = gradscope.watch(model, sgd(model), tmp_path)
    scope.close()
    assert scope.diagnosis.verdict == "undecided"
    assert len(Trace.load(tmp_path / TRACE).steps) == 3  # what lies there is another run's
    assert hooks_left(model) == []


def test_a_scope_is_not_begun_twice():
    """After its end it sees nothing: better said than found out after another training."""
    scope = watched()
    with pytest.raises(GradscopeError):
        scope.start()


def test_a_fresh_scope_has_everything_to_ask_for():
    model = network()
    scope = gradscope.watch(model, sgd(model))
    assert scope.step == 0
    assert len(scope.trace.steps) == 0
    assert scope.diagnosis.verdict == "undecided"
    assert scope.coverage.sites_seen == 0
    assert str(scope.diagnosis)


def test_a_step_begun_before_the_watch_is_not_taken_for_a_whole_one():
    model = network()
    optimizer = sgd(model)
    loss = model(batch(0)).square().mean()
    loss.backward()
    with gradscope.watch(model, optimizer, every=1, on_finding="ignore") as scope:
        optimizer.step()
        loop(model, optimizer, 2, scope)
    assert scope.step == 3
    assert names_of(scope) == ["1.relu", "3.tanh"]
    gates = scope.trace.site_statistics["gate_transmission"]
    assert np.isfinite(gates[-2:]).all()
    assert len(gates) == 2 or np.isnan(gates[0]).all()
    assert not lost(scope)


def test_two_scopes_at_once_see_the_same():
    def run(order):
        torch.manual_seed(3)
        model = network()
        optimizer = sgd(model)
        one = gradscope.watch(model, optimizer, every=1, on_finding="ignore").start()
        other = gradscope.watch(model, optimizer, every=2, on_finding="ignore").start()
        loop(model, optimizer, 4)
        for scope in (one, other)[::order]:
            scope.close()
        assert hooks_left(model, optimizer) == []
        return model, one, other

    alone = watched(every=1, steps=4)
    for order in (1, -1):
        _, one, other = run(order)
        assert one.trace.steps.tolist() == [0, 1, 2, 3]
        assert other.trace.steps.tolist() == [0, 2]
        for name, wanted in alone.trace.site_statistics.items():
            np.testing.assert_allclose(one.trace.site_statistics[name], wanted, rtol=1e-5)  # summed alone or with other sites'
            np.testing.assert_allclose(other.trace.site_statistics[name], wanted[::2], rtol=1e-5)


def test_two_networks_in_one_loop_each_with_a_scope():
    torch.manual_seed(3)
    models = [network(), nn.Sequential(nn.Linear(INPUTS, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, OUTPUTS))]
    optimizers = [sgd(model) for model in models]
    with (
        gradscope.watch(models[0], optimizers[0], every=1, on_finding="ignore") as one,
        gradscope.watch(models[1], optimizers[1], every=1, on_finding="ignore") as other,
    ):
        for i in range(3):
            for model, optimizer in zip(models, optimizers, strict=True):
                loop(model, optimizer, 1, None, i)
    assert names_of(one) == ["1.relu", "3.tanh"]
    assert names_of(other) == ["1.gelu"]
    assert one.step == other.step == 3


# --- what else lives beside it ---


@pytest.fixture
def in_a_step():
    """A network that is being looked at just now, its optimizer and scope."""
    torch.manual_seed(3)
    model = network()
    optimizer = sgd(model)
    with gradscope.watch(model, optimizer, on_finding="ignore") as scope:  # the default: a lambda could not be copied
        loop(model, optimizer, 2)
        yield model, optimizer, scope


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "torch.save": lambda model: saved_and_loaded(model),
    "averaged": lambda model: torch.optim.swa_utils.AveragedModel(model).module,
}


def saved_and_loaded(value, **options):
    stream = io.BytesIO()
    torch.save(value, stream)
    stream.seek(0)
    return torch.load(stream, weights_only=False)


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("schedule", ["default", "every"])
def test_a_model_may_be_copied_while_it_is_watched(how, schedule):
    """As for weights averaged over steps, or to be kept: what is watched is the model, not its copy."""
    torch.manual_seed(3)
    model = network()
    optimizer = sgd(model)
    with gradscope.watch(model, optimizer, on_finding="ignore", **({"every": 1} if schedule == "every" else {})) as scope:
        loop(model, optimizer, 2)
        copied = COPIES[how](model)
        assert hooks_left(copied)[: -len(_get_current_function_mode_stack()) or None] == []
        copied(batch(0)).square().mean().backward()
        loop(model, optimizer, 2, scope, 2)
    assert hooks_left(copied) == []
    assert names_of(scope) == ["1.relu", "3.tanh"]
    assert scope.trace.samples.tolist() == [BATCH] * 4
    assert all(type(copied[k]) is type(model[k]) for k in range(5))


def test_an_optimizer_may_be_copied_while_it_is_watched(in_a_step):
    model, optimizer, scope = in_a_step
    for copied in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer)), saved_and_loaded(optimizer)):
        assert not copied.__dict__.get("_optimizer_step_pre_hooks")
        assert len(copied.state) == len(optimizer.state)
    state = saved_and_loaded({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    loop(model, optimizer, 2, scope, 2)
    assert scope.step == 4


class Rectified(torch.utils.data.Dataset):
    """Computes with functions that would be sites in the training process."""

    def __len__(self):
        return 4 * BATCH

    def __getitem__(self, i):
        assert not _get_current_function_mode_stack()
        return F.relu(torch.randn(INPUTS, generator=torch.Generator().manual_seed(i)).requires_grad_()).detach(), i % OUTPUTS


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_data_loader_with_workers():
    model = network()
    optimizer = sgd(model)
    with gradscope.watch(model, optimizer, every=1, on_finding="ignore") as scope:
        for x, y in torch.utils.data.DataLoader(Rectified(), BATCH, num_workers=2):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    assert scope.step == 4
    assert names_of(scope) == ["1.relu", "3.tanh"]
    assert not lost(scope)


def test_the_model_is_freed_while_its_scope_lives():
    model = network()
    optimizer = sgd(model)
    with gradscope.watch(model, optimizer, on_finding="ignore") as scope:
        loop(model, optimizer, 3, scope)
    alive = [weakref.ref(model), weakref.ref(optimizer), *map(weakref.ref, model.parameters())]
    del model, optimizer
    gc.collect()
    assert [one() for one in alive if one() is not None] == []
    assert str(scope.diagnosis)
    assert len(scope.trace.steps) == 3


def test_a_scope_that_was_not_started_keeps_nothing():
    model = network()
    alive = weakref.ref(model)
    scope = gradscope.watch(model, sgd(model))
    del model, scope
    gc.collect()
    assert alive() is None


def test_learning_rate_schedulers_and_changed_groups():
    model = network()
    optimizer = torch.optim.SGD(model[0].parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    with gradscope.watch(model, optimizer, every=1, on_finding="ignore") as scope:
        loop(model, optimizer, 1)
        scheduler.step()
        optimizer.add_param_group({"params": [*model[2].parameters(), *model[4].parameters()], "lr": 0.01})
        loop(model, optimizer, 1, None, 1)
    moved = scope.trace.parameter_statistics["update_to_weight"]
    assert (moved[0, :2] > 0).all()
    assert (moved[0, 2:] == 0).all()
    assert (moved[1] > 0).all()
    assert scope.trace.notes == ()


def test_layers_may_be_added_while_it_is_watched():
    """As where a part is unfrozen, or a network grows: what comes later is seen, or named as a gap."""
    model = network()
    optimizer = sgd(model)
    with gradscope.watch(model, optimizer, every=1, on_finding="ignore") as scope:
        loop(model, optimizer, 2)
        model.append(nn.Sequential(nn.ELU(), nn.Linear(OUTPUTS, OUTPUTS)))
        optimizer.add_param_group({"params": model[5].parameters()})
        loop(model, optimizer, 2, None, 2)
    assert names_of(scope)[:2] == ["1.relu", "3.tanh"]
    assert len(names_of(scope)) == 3 or scope.coverage.sites_unseen or scope.trace.notes
    assert not lost(scope)


class SometimesDeeper(nn.Module):
    """Every other call passes over a layer, as in stochastic depth or a mixture of experts."""

    def __init__(self):
        super().__init__()
        self.inner, self.outer, self.calls = nn.Linear(INPUTS, INPUTS), nn.Linear(INPUTS, OUTPUTS), 0

    def forward(self, x):
        self.calls += 1
        return self.outer(torch.relu(self.inner(x) if self.calls % 2 else x))


def test_a_layer_that_is_passed_over_now_and_then_is_no_gradient_of_nan():
    torch.manual_seed(0)
    model = SometimesDeeper()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with gradscope.watch(model, optimizer, every=1, on_finding="ignore") as scope:
        loop(model, optimizer, 24)
    signs = scope.trace.parameter_statistics["nonpositive_weight_frac"][:, 0]
    assert np.isfinite(signs).tolist() == [True, False] * 12, "held between its counts, and only where there is a gradient"
    assert "non-finite" not in {finding.rule for finding in scope.diagnosis.findings}


def test_the_readme_s_signature():
    parameters = inspect.signature(gradscope.watch).parameters
    assert list(parameters) == ["model", "optimizer", "log_dir", "schedule", "every", "sites", "rules", "on_finding", "names"]
    keyword_only = [name for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY]
    assert keyword_only == list(parameters)[3:]


def test_warnings_are_those_of_gradscope_only():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        watched(steps=12)
    assert [str(one.message) for one in caught] == []


def test_patterns_that_choose_nothing_are_named_with_what_there_is():
    scope = watched(sites=["nope.*"])
    assert scope.diagnosis.verdict == "undecided"
    assert scope.coverage.notes == ["sites: 'nope.*' chose none of the sites passed, 1.relu, 3.tanh"]
