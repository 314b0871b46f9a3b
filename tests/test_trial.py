"""Trials from the recipe to the run's folder, in small."""

import sys

import numpy as np
import pytest
from small_trials import (
    CPU,
    PUBLISHED,
    data_of,
    model_text,
    recipe_of,
    stack_text,
    traces_in,
    trial,
    write_npz,
)

from gradscope.errors import CodeError, RecipeError, WriteError
from gradscope.intervention_plan import STEPS
from gradscope.recipe_file import load_recipe
from gradscope.report import load_report
from gradscope.report_builder import report_of_killed_run
from gradscope.trained_arms import check_fit
from gradscope.trial import Conditions, run_trial

OWN = """
import torch
from torch import nn
from torch.nn import functional as F
from gradscope.fixes import Fix

def with_modules():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(inplace=True), nn.Dropout(0.1), nn.Linear(16, 10))

class Shut(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return z.clamp(min=0)
    @staticmethod
    def backward(ctx, gradient):
        return gradient * (ctx.saved_tensors[0] > 0)

class Custom(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(64, 16), nn.Linear(16, 10)
    def forward(self, x):
        return self.two(Shut.apply(self.one(x.flatten(1))))

class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(64, 16), nn.Linear(16, 10)
    def forward(self, x):
        return self.two(F.relu(self.one(x.flatten(1))))

def narrow():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))

def wrong_input():
    return nn.Linear(63, 10)

class Gentle(nn.Module):
    def forward(self, z):
        return z / (1 + z.abs())

class Placebo(Fix):
    slug, summary = "placebo", "nothing at all"
    def apply(self, recipe):
        return recipe

class Slower(Fix):
    slug, summary = "slower", "a hundredth of the learning rate"
    def apply(self, recipe):
        changed = recipe.training.model_copy(update={"lr": recipe.training.lr / 100})
        return recipe.model_copy(update={"training": changed})
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    folder = tmp_path / "code"
    folder.mkdir()
    name = f"own_trial_{abs(hash(tmp_path)) % 10**8}"
    (folder / f"{name}.py").write_text(OWN)
    monkeypatch.syspath_prepend(folder)
    yield name
    sys.modules.pop(name, None)


BRIEF = PUBLISHED.replace("epochs: 6", "epochs: 2")


def plain(recipe, *without):
    return {key: value for key, value in recipe.model_dump().items() if key not in without}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    return trial(PUBLISHED, folder), folder


def test_the_published_failure_in_small(published):
    report, _ = published
    assert report.verdict == "sick"
    collapse = next(f for f in report.findings if f.rule == "output-collapse")
    assert (collapse.site, collapse.role, collapse.first_step) == ("3.relu", "origin", 0)
    assert {f.rule for f in report.findings if f.severity == "error"} == {"output-collapse", "common-mode"}
    assert [h.holds for h in report.hypotheses] == [True, False]
    verdicts = {o.fix: o.verdict for o in report.fixes}
    assert list(verdicts) == ["batchnorm-last", "batchnorm-all", "reseed"]
    assert verdicts["batchnorm-last"] in ("works", "inconclusive")  # of two fixes, which three seeds hardly prove
    assert report.fixes[0].differs
    assert report.recommended == "batchnorm-last"
    assert verdicts["reseed"] != "works"
    assert report.fixes[0].cleared == ["common-mode", "output-collapse"]
    assert report.expectation.met is True
    assert not report.interrupted
    assert 0 < report.timing.recording_frac < 1
    assert report.setting.steps == report.setting.planned_steps == 6 * 45
    assert report.setting.parameters == 64 * 64 + 64 + 64 * 32 + 32 + 32 * 10 + 10
    assert all(outcome.cost is not None and outcome.cost > 0 for outcome in report.fixes)


def test_a_change_that_changes_nothing_is_found_to_have_no_effect(published):
    report, _ = published
    assert (report.placebo.fix, report.placebo.verdict) == ("placebo", "no effect")
    assert "placebo" not in {o.fix for o in report.fixes}, "it stands apart"
    assert report.placebo.values != report.control.values, "it does change the numbers"


def test_the_folder_holds_what_the_design_says(published):
    _, folder = published
    arms = {
        "control": (1, 2, 3),
        "batchnorm-last": (1, 2, 3),
        "batchnorm-all": (1, 2, 3),
        "reseed": (4, 5, 6),
        "placebo": (1, 2, 3),
    }
    named = {f"{arm}-{seed}" for arm, seeds in arms.items() for seed in seeds}
    assert {path.name for path in folder.iterdir()} == {"recipe.yaml", "fixed.yaml", "report.json", "trace", "tensorboard"}
    assert {path.name for path in (folder / "trace").iterdir()} == {f"{name}.npz" for name in named}
    events = list(folder.rglob("events.out.tfevents.*"))
    assert named <= {path.parent.name for path in events}
    assert all(path.stat().st_size > 0 for path in events)


def test_report_json_is_the_report(published):
    report, folder = published
    assert load_report(folder) == report


def test_the_traces_tell_the_same_as_the_report(published):
    report, folder = published
    again = report_of_killed_run(folder)
    assert again.control == report.control
    assert again.findings == report.findings
    assert again.recommended == report.recommended
    known = {"cost", "summary"}
    assert [o.model_dump(exclude=known) for o in again.fixes] == [o.model_dump(exclude=known) for o in report.fixes]


def test_recipe_yaml_is_the_resolved_recipe(published):
    _, folder = published
    again, asked = load_recipe(folder / "recipe.yaml"), recipe_of(PUBLISHED)
    assert plain(again, "seeds", "device") == plain(asked, "seeds", "device")
    assert (again.seeds, again.device) == ((1, 2, 3), "cpu")
    text = (folder / "recipe.yaml").read_text()
    for word in ("torch 2", "python 3", "momentum: 0.5", "init: default", "watch:", "loss: cross-entropy"):
        assert word in text


def test_running_recipe_yaml_again_gives_the_same_numbers(published):
    report, folder = published
    again = trial((folder / "recipe.yaml").read_text())
    assert again.control == report.control
    assert [o.values for o in again.fixes] == [o.values for o in report.fixes]


@pytest.fixture(scope="module")
def chosen(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chosen")
    told = []
    return trial(BRIEF + "fixes: auto\n", folder, more_planned=told.append), folder, told


def test_fixes_are_chosen_by_what_the_control_shows(chosen):
    report, folder, told = chosen
    tried = [o.fix for o in report.fixes]
    assert tried[-1] == "reseed"
    assert {"drop-output-activation", "batchnorm-last"} <= set(tried)
    assert report.placebo is not None
    assert any(note.startswith("fixes: auto tried drop-output-activation") for note in report.coverage.notes)
    assert load_recipe(folder / "recipe.yaml").fix_names == tuple(tried[:-1]), "the choice is written down"
    assert told == [2 * 2 * 45], "the fixes and reseed in one population, the placebo in another"


def test_chosen_fixes_do_what_they_do_when_named_by_hand(chosen):
    report, folder, _ = chosen
    named = trial((folder / "recipe.yaml").read_text())
    assert named.control.values == report.control.values
    assert [o.values for o in named.fixes] == [o.values for o in report.fixes]
    assert [(o.interval, o.verdict) for o in named.fixes] == [(o.interval, o.verdict) for o in report.fixes]
    assert named.placebo.values == report.placebo.values
    assert named.recommended == report.recommended


def test_where_nothing_is_wrong_no_fix_is_chosen(tmp_path):
    report = trial(stack_text("[relu, relu, none]", fixes="auto", training="{lr: 0.1, epochs: 4}"), tmp_path)
    assert (report.verdict, report.fixes, report.placebo) == ("healthy", [], None)
    assert "fixes: auto tried none: no finding is an error" in report.coverage.notes
    assert set(traces_in(tmp_path)) == {("control", 1), ("control", 2)}


def test_a_named_fix_that_would_change_nothing_is_said_to_be_left_out():
    report = trial(stack_text(fixes="[drop-output-activation, batchnorm-last]"), steps=5)
    assert [o.fix for o in report.fixes] == ["batchnorm-last", "reseed"]
    assert any(note.startswith("drop-output-activation was not tried: it needs") for note in report.coverage.notes)


def test_an_open_verdict_goes_on_with_further_seeds_that_the_control_has_too(own, tmp_path):
    """Of three fixes at three seeds nothing is proved; what helps goes on, what does not is stopped."""
    fixes = f"fixes: [batchnorm-last, batchnorm-all, '{own}:Slower']\nmost_seeds: 6\n"
    report = trial(BRIEF + fixes, tmp_path, allow_code=True)
    seeds = {arm: sorted(seed for name, seed in traces_in(tmp_path) if name == arm) for arm in ("control", "reseed")}
    assert seeds == {"control": [1, 2, 3, 7, 8, 9], "reseed": [4, 5, 6]}
    assert [(o.fix, len(o.values)) for o in report.fixes] == [
        ("batchnorm-last", 6), ("batchnorm-all", 6), (f"{own}:Slower", 3), ("reseed", 3),
    ]  # fmt: skip
    assert [o.verdict for o in report.fixes[:2]] == ["works", "works"]
    assert report.setting.seeds == [1, 2, 3, 7, 8, 9]
    again = report_of_killed_run(tmp_path)
    assert [(o.values, o.interval, o.verdict, o.p) for o in again.fixes] == [
        (o.values, o.interval, o.verdict, o.p) for o in report.fixes
    ]


def test_an_interruption_among_further_seeds_leaves_what_was_known_before(tmp_path):
    text = BRIEF + "fixes: [batchnorm-last, batchnorm-all, gelu]\nmost_seeds: 6\n"
    report = trial(text, tmp_path, stop_after=2 * 2 * 45 + 30)
    assert report.interrupted
    assert {len(o.values) for o in report.fixes} == {3}
    assert len(report.control.values) == 3


def test_a_model_of_the_user_s_own_gets_the_lines_to_write(own, tmp_path):
    text = model_text(f"{own}:with_modules", training="{lr: 8.0, epochs: 2}", seeds=3, fixes="[lower-lr]")
    report = trial(text, tmp_path, allow_code=True)
    assert report.recommended == "lower-lr"
    assert "group['lr'] /= 10" in report.hint
    assert "# In a loop of your own:\n# for group in" in (tmp_path / "fixed.yaml").read_text()


def test_fixed_yaml_is_the_recipe_with_the_fix_and_comes_true(published):
    report, folder = published
    fixed, asked = load_recipe(folder / "fixed.yaml"), recipe_of(PUBLISHED)
    assert fixed.stack.norm == "batchnorm-last"
    assert (fixed.name, fixed.fix_names, fixed.expect) == ("small-published-fixed", (), "healthy")
    assert plain(fixed, "name", "stack", "fixes", "expect") == plain(asked, "name", "stack", "fixes", "expect")
    run = trial((folder / "fixed.yaml").read_text())
    assert run.control.values == report.fixes[0].values
    assert run.verdict == "healthy"


def test_without_fixes_there_is_nothing_to_fix(tmp_path):
    report = trial(stack_text(), tmp_path, steps=5)
    assert (report.fixes, report.recommended) == ([], None)
    assert not (tmp_path / "fixed.yaml").exists()


def test_a_search_for_causes_that_fails_takes_no_trial_away(tmp_path, monkeypatch):
    def broken(*given):
        raise RuntimeError("not this time")

    monkeypatch.setattr("gradscope.trial.with_causes", broken)
    report = trial(PUBLISHED.replace("epochs: 6", "epochs: 2"), tmp_path, causes=True)
    assert load_report(tmp_path) == report
    collapse = next(f for f in report.findings if f.rule == "output-collapse")
    assert collapse.tested.reason == (
        "not tested by intervention: RuntimeError: not this time; --no-causes leaves the search out"
    )
    assert collapse.cause == collapse.tested.suspected


def test_the_search_for_causes_is_as_short_as_the_trial_and_tells_its_steps(monkeypatch):
    searches, told, doing = [], [], []

    def search(report, recipe, data, traces, how):
        searches.append(how)
        how.more_planned(3)
        return report

    monkeypatch.setattr("gradscope.trial.with_causes", search)
    for steps in (20, None, 5000):
        recipe = recipe_of(stack_text())
        how = Conditions(CPU, steps=steps, causes=True, more_planned=told.append, doing=doing.append)
        run_trial(recipe, data_of(recipe), how)
    assert [how.steps for how in searches] == [20, STEPS, STEPS]
    assert told == [3, 3, 3]
    assert doing == ["finding causes"] * 3


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trial(stack_text(), steps=5)
    assert list(tmp_path.iterdir()) == []


def test_control_and_placebo_are_bit_for_bit_the_same(own, tmp_path):
    """Paired seeds: with no change there is no difference, whatever trains beside them."""
    report = trial(stack_text(seeds=3, fixes=f"['{own}:Placebo', batchnorm-all]"), tmp_path, allow_code=True)
    placebo = report.fixes[0]
    assert placebo.fix == f"{own}:Placebo"
    assert placebo.values == report.control.values
    assert (placebo.effect, placebo.verdict) == (0.0, "no effect")
    traces = traces_in(tmp_path)
    for seed in (1, 2, 3):
        np.testing.assert_array_equal(traces["control", seed].loss, traces[f"{own}:Placebo", seed].loss)
        assert not np.array_equal(traces["control", seed].loss, traces["batchnorm-all", seed].loss)
    assert not np.array_equal(traces["control", 1].loss, traces["control", 2].loss)


def test_what_trains_beside_the_control_does_not_touch_it(own, tmp_path):
    trial(stack_text(), tmp_path / "alone")
    trial(stack_text(fixes=f"[batchnorm-last, '{own}:Slower']"), tmp_path / "beside", allow_code=True)
    alone, beside = traces_in(tmp_path / "alone"), traces_in(tmp_path / "beside")
    for seed in (1, 2):
        np.testing.assert_allclose(alone["control", seed].loss, beside["control", seed].loss, rtol=1e-4)


def test_a_fix_with_other_training_has_the_same_start_and_batches(own, tmp_path):
    trial(stack_text(fixes=f"['{own}:Slower']"), tmp_path, allow_code=True)
    traces = traces_in(tmp_path)
    control, slower = traces["control", 1], traces[f"{own}:Slower", 1]
    assert control.loss[0] == pytest.approx(slower.loss[0], rel=1e-5)
    assert control.loss[-1] < slower.loss[-1]


def test_a_model_of_the_user_s_own_with_modules(own, tmp_path):
    report = trial(model_text(f"{own}:with_modules", seeds=2), tmp_path, allow_code=True)
    assert report.coverage.sites_seen == 1
    assert report.verdict == "healthy"
    assert report.setting.parameters == 64 * 16 + 16 + 16 * 10 + 10
    assert [stage.kind for stage in report.waterfalls[0].stages] == ["weight", "gate"]
    assert load_recipe(tmp_path / "recipe.yaml").model == f"{own}:with_modules"
    assert set(traces_in(tmp_path)) == {("control", 1), ("control", 2)}


def test_a_model_whose_non_linearities_are_functions_is_seen(own):
    report = trial(model_text(f"{own}:Functional"), allow_code=True)
    assert (report.verdict, report.coverage.sites_seen) == ("healthy", 1)


def test_a_model_whose_non_linearities_cannot_be_seen_is_never_healthy(own):
    report = trial(model_text(f"{own}:Custom"), allow_code=True)
    assert (report.verdict, report.coverage.sites_seen) == ("undecided", 0)
    assert report.coverage.sites_unseen == ["custom autograd function Shut"]
    assert report.control.mean > 0.5  # it learns; that is not the question


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("narrow", r"expected an output of shape \[\d+, 10\] \(batch, outputs of digits\), got \[\d+, 3\]"),
        ("wrong_input", r"failed on a batch of shape .*RuntimeError"),
    ],
)
def test_a_model_that_does_not_fit_the_data_is_one_line(own, name, message):
    with pytest.raises(CodeError, match=message) as caught:
        trial(model_text(f"{own}:{name}"), allow_code=True)
    assert "\n" not in str(caught.value)


def test_an_activation_of_the_user_s_own_in_a_stack(own, tmp_path):
    text = stack_text(f"[relu, '{own}:Gentle', none]", fixes="[batchnorm-last]")
    report = trial(text, tmp_path, allow_code=True)
    assert report.coverage.sites_seen == 2
    assert report.verdict == "healthy"
    assert "Gentle" in traces_in(tmp_path)["control", 1].sites[1].name
    assert plain(load_recipe(tmp_path / "recipe.yaml"), "device", "seeds") == plain(recipe_of(text), "device", "seeds")


def test_user_code_is_not_run_without_leave(own):
    named = [
        model_text(f"{own}:with_modules"),
        stack_text(fixes=f"['{own}:Placebo']"),
        stack_text(f"[relu, '{own}:Gentle', none]"),
    ]
    for text in named:
        with pytest.raises(CodeError, match="--allow-code"):
            trial(text)
    assert own not in sys.modules


def npz_text(path, **changes):
    return stack_text(**changes).replace("data: digits", f"data: {{source: npz, path: {path}}}")


def test_regression(tmp_path):
    data = write_npz(tmp_path / "a.npz", classes=None)
    report = trial(npz_text(data, training="{lr: 0.05, epochs: 30, loss: mse, batch_size: 16}"), tmp_path / "run")
    assert (report.control.metric, report.control.chance) == ("r2", 0.0)
    assert 0.5 < report.control.mean <= 1
    assert report.verdict == "healthy"
    assert load_recipe(tmp_path / "run" / "recipe.yaml").data_path == data


def test_a_regression_that_learns_nothing_is_stuck(tmp_path):
    data = write_npz(tmp_path / "a.npz", classes=None)
    report = trial(npz_text(data, training="{lr: 1e-6, epochs: 2, loss: mse, batch_size: 16}"))
    assert report.verdict == "sick"
    assert [f.rule for f in report.findings] == ["stuck-at-chance"]


def test_class_losses_do_not_take_numbers(tmp_path):
    data = write_npz(tmp_path / "a.npz", classes=None)
    with pytest.raises(RecipeError, match="training.loss: expected mse or bce-with-logits for targets that are numbers"):
        trial(npz_text(data))


def test_a_loss_that_turns_nan_is_a_finding(tmp_path):
    report = trial(stack_text("[relu, relu, none]", training="{lr: 1e6, epochs: 1}", fixes="[batchnorm-last]"), tmp_path)
    assert report.verdict == "sick"
    assert "non-finite" in {f.rule for f in report.findings if f.severity == "error"}
    assert any(f.role == "origin" for f in report.findings)
    assert load_report(tmp_path).verdict == "sick"
    assert not [item for item in report.undecided if item.crashed]


def test_a_loss_that_grows_is_no_crash(tmp_path):
    data = write_npz(tmp_path / "a.npz", classes=None)
    training = "{lr: 0.9, epochs: 8, loss: mse, batch_size: 16}"
    report = trial(npz_text(data, activations="[relu, relu, none]", training=training), tmp_path / "run")
    assert report.verdict == "sick"
    assert not [item for item in report.undecided if item.crashed]
    assert load_report(tmp_path / "run").verdict == "sick"


def test_one_class_only_in_the_test_set_cannot_be_judged_by_its_accuracy(tmp_path):
    data = write_npz(tmp_path / "a.npz", one_class_test=True)
    report = trial(npz_text(data, training="{lr: 0.05, epochs: 20, batch_size: 16}"))
    assert report.control.chance == 1.0
    assert report.verdict == "undecided"
    assert [item.rule for item in report.undecided] == ["stuck-at-chance"]
    assert "one class only" in report.undecided[0].reason


def test_a_batch_larger_than_the_data_is_one_line(tmp_path):
    data = write_npz(tmp_path / "a.npz")
    with pytest.raises(RecipeError, match="training.batch_size: expected at most the 96 training samples of a, got 97"):
        trial(npz_text(data, training="{batch_size: 97}"))
    assert trial(npz_text(data, training="{batch_size: 96, epochs: 2}")).setting.steps == 2


def test_batches_of_one_sample(tmp_path):
    data = write_npz(tmp_path / "a.npz")
    report = trial(npz_text(data, training="{lr: 0.01, batch_size: 1, epochs: 4}"))
    assert report.setting.steps == 4 * 96
    assert report.control.mean > 0.5
    with pytest.raises(RecipeError, match="training.batch_size: expected at least 2 with batch-norm, got 1"):
        trial(npz_text(data, training="{batch_size: 1}", fixes="[batchnorm-last]"))
    with pytest.raises(RecipeError, match="expected at least 2 with batch-norm"):
        trial(npz_text(data, training="{batch_size: 1}", norm="batchnorm-all"))


def test_one_sample_left_over_is_left_out_so_that_batch_norm_has_a_variance(tmp_path):
    data = write_npz(tmp_path / "a.npz", train=97)
    report = trial(npz_text(data, training="{batch_size: 32, epochs: 2}", norm="batchnorm-all"))
    assert report.setting.steps == 6


def test_units_of_one_layer_mixed(tmp_path):
    report = trial(stack_text("[[relu, tanh], {relu: 1, sigmoid: 7}, none]", training="{lr: 0.1, epochs: 2}"), tmp_path)
    assert report.coverage.sites_seen == 2
    site = traces_in(tmp_path)["control", 1].sites[1]
    assert site.shuts.tolist() == [True] + [False] * 7
    assert site.saturates.tolist() == [False] + [True] * 7
    wanted = recipe_of(stack_text("[[relu, tanh], {relu: 1, sigmoid: 7}, none]"))
    assert load_recipe(tmp_path / "recipe.yaml").stack == wanted.stack


def test_an_output_layer_whose_blocks_do_not_fit_the_data(tmp_path):
    with pytest.raises(RecipeError, match=r"stack.activations\[2\]: "):
        trial(stack_text("[relu, relu, {relu: 3, tanh: 4}]"))


def test_steps_end_a_training_early():
    assert trial(stack_text(), steps=7).setting.steps == 7
    assert trial(stack_text(), steps=10**6).setting.steps == 45


@pytest.mark.parametrize("stop_after", [1, 20])
def test_an_interrupted_stack_keeps_what_was_done(stop_after, tmp_path):
    report = trial(stack_text(fixes="[batchnorm-last]"), tmp_path, stop_after=stop_after)
    assert report.interrupted
    assert (report.setting.steps, report.setting.planned_steps) == (stop_after, 45)
    assert load_report(tmp_path) == report
    traces = traces_in(tmp_path)
    assert len(traces) == 6
    assert all(len(trace.loss) == stop_after for trace in traces.values())
    assert all(outcome.cost is None for outcome in report.fixes)


@pytest.mark.parametrize(("networks", "control", "fix"), [(1.5, 2, 0), (4.5, 3, 0), (5.5, 3, 0), (6.5, 3, 3)])
def test_an_interrupted_series_of_models_keeps_what_was_done(own, networks, control, fix, tmp_path):
    """Models train one after the other: an arm that lacks seeds, or steps, is not compared."""
    text = model_text(f"{own}:with_modules", seeds=3, fixes=f"['{own}:Slower']")
    report = trial(text, tmp_path, allow_code=True, stop_after=int(networks * 45))
    assert report.interrupted
    assert len(report.control.values) == control
    assert [len(outcome.values) for outcome in report.fixes] == [fix] * (fix > 0)
    assert load_report(tmp_path) == report


def full_disk(monkeypatch, after):
    """From the `after`-th replacement of a file on, the disk is full."""
    import os

    replace, calls = os.replace, [0]

    def failing(*args):
        calls[0] += 1
        if calls[0] > after:
            raise OSError(28, "No space left on device")
        return replace(*args)

    monkeypatch.setattr(os, "replace", failing)


def test_where_nothing_can_be_written_nothing_is_trained(tmp_path, monkeypatch):
    full_disk(monkeypatch, 0)
    with pytest.raises(WriteError, match="No space left on device") as caught:
        trial(PUBLISHED, tmp_path)
    assert caught.value.report is None


@pytest.mark.parametrize("after", [1, 2, 4])
def test_on_a_full_disk_the_training_goes_on_and_the_report_is_there(after, tmp_path, monkeypatch):
    full_disk(monkeypatch, after)
    with pytest.raises(WriteError, match="No space left on device") as caught:
        trial(PUBLISHED, tmp_path)
    assert "\n" not in str(caught.value)
    assert caught.value.report.verdict == "sick"
    assert caught.value.report.recommended == "batchnorm-last"


def test_on_a_disk_that_is_full_from_the_start_nothing_is_trained(tmp_path, monkeypatch):
    full_disk(monkeypatch, 0)
    with pytest.raises(WriteError, match="recipe.yaml: cannot be written: No space left on device"):
        trial(PUBLISHED, tmp_path)
    assert not (tmp_path / "trace").exists()


def test_a_disk_that_has_room_again_in_time_is_no_error(tmp_path, monkeypatch):
    from gradscope.trace import Trace

    save, failures = Trace.save, [0]

    def failing(self, path):
        if failures[0] < 1:
            failures[0] += 1
            raise WriteError(f"{path}: cannot be written: No space left on device")
        save(self, path)

    monkeypatch.setattr(Trace, "save", failing)
    report = trial(stack_text(), tmp_path)
    assert failures == [1]
    assert set(traces_in(tmp_path)) == {("control", 1), ("control", 2)}
    assert load_report(tmp_path) == report


def test_check_fit_passes_what_fits():
    for text in (stack_text(), PUBLISHED, stack_text(training="{loss: mse}"), stack_text(training="{loss: bce-with-logits}")):
        recipe = recipe_of(text)
        check_fit(recipe, data_of(recipe))
