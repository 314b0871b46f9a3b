"""What a user can get wrong: one line for each fault, an exit code, nothing on stdout, no run left behind, no traceback."""

# ruff: noqa: E501  a fault and its message stand on one line

from __future__ import annotations

import numpy as np
import pytest
from command_line import call, process
from small_trials import write_npz

GOOD = "data: digits\nstack: {hidden: [8, 4], activations: [relu, relu, none]}\nseeds: 2\ntraining: {epochs: 1}\n"
CODE = """
import torch
from torch import nn
def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))
def fails():
    raise RuntimeError("first line\\nsecond line")
def number():
    return 3
def narrow():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
def wrong_input():
    return nn.Sequential(nn.Linear(63, 10))
def samples():
    return 1, 2, 3
def shrinks():
    return nn.Linear(4, 3)
class NoFix:
    pass
"""


def recipe(text=GOOD, name="bad.yaml"):
    def make(folder):
        (folder / name).write_text(text)
        return ["diagnose", name]

    return make


def options(*more, text=GOOD):
    def make(folder):
        return [*recipe(text)(folder), *more]

    return make


def model(name, *more):
    """A recipe that names code, and the file with it."""

    def make(folder):
        (folder / "own_bad.py").write_text(CODE)
        return [*recipe(f"data: digits\nmodel: {name}\nseeds: 1\ntraining: {{epochs: 1}}\n")(folder), *more]

    return make


def code(text, *more):
    def make(folder):
        (folder / "own_bad.py").write_text(CODE)
        return [*recipe(text)(folder), *more]

    return make


def data(write, text=GOOD):
    def make(folder):
        write(folder / "a.npz")
        return recipe(text.replace("data: digits", "data: {source: npz, path: a.npz}"))(folder)

    return make


def command(*arguments):
    return lambda folder: list(arguments)


def file(name, content, *arguments):
    def make(folder):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return list(arguments)

    return make


def arrays(**members):
    return lambda path: np.savez(path, **members)


X = np.ones((20, 3), np.float32)
TABLE = {
    # recipes
    "no file": (command("diagnose", "none.yaml"), "none.yaml: expected a recipe file, got nothing of that name"),
    "a folder": (command("diagnose", "."), ".: expected a recipe file, got a folder; name a file in it"),
    "empty": (recipe(""), "bad.yaml:1:1: recipe: expected a mapping with data and stack, got an empty file"),
    "binary": (file("bad.yaml", b"\0\1", "diagnose", "bad.yaml"), "bad.yaml: expected a text file, got a binary one"),
    "too large": (recipe("#" * 1_100_000), "bad.yaml: expected a recipe of at most 1 MB, got 1.1 MB"),
    "no YAML": (recipe("data: [digits\n"), "recipe: expected YAML, got a syntax error"),
    "a list": (recipe("- data\n"), "recipe: expected a mapping"),
    "no network": (recipe("data: digits\n"), "expected a mapping with hidden and activations, or model: package.module:callable, got neither"),
    "activation": (recipe(GOOD.replace("[relu, relu", "[rleu, relu")), "stack.activations[0]: expected"),
    "number of activations": (recipe(GOOD.replace("[relu, relu, none]", "[relu]")), "bad.yaml:2:38: stack.activations: expected 3 entries"),
    "unknown key": (recipe(GOOD + "seed: 1\n"), "bad.yaml:5:1: seed: expected one of"),
    "a key twice": (recipe(GOOD + "seeds: 3\n"), "bad.yaml:5:1: seeds: expected each key only once, got it again; first on line 3"),
    "learning rate": (recipe(GOOD.replace("{epochs: 1}", "{epochs: 1, lr: -1}")), "training.lr: expected a finite number above 0, got -1"),
    "expectation": (recipe(GOOD + "expect: [dead-unit]\n"), "expect[0]: expected one of"),
    "blocks that do not fit": (recipe(GOOD.replace("none]", "{relu: 3, tanh: 4}]")), "bad.yaml:2:51: stack.activations[2]: "),
    "a sweep": (recipe(GOOD + "grid: {lr: [0.1]}\n"), "bad.yaml:5:1: grid: expected a recipe of one network here, got a grid of them; run `gradscope sweep bad.yaml`"),
    "a value in a grid": (recipe(GOOD + "grid: {lr: [0.1, -1]}\n"), "bad.yaml:5:18: grid.lr[1]: expected a finite number above 0, got -1"),
    "an unknown key in a grid": (recipe(GOOD + "grid: {momentun: [0.1]}\n"), "grid.momentun: expected one of data, normalize, hidden"),
    "a key twice, in a grid": (recipe(GOOD + "grid: {epochs: [1]}\n"), "bad.yaml:4:12: training.epochs: expected epochs either in training or in grid, got both"),
    "an activation in a grid": (recipe(GOOD.replace(", activations: [relu, relu, none]", "") + "grid: {activations: {product: [relu, tahn]}}\n"), "did you mean 'tanh'?"),
    "a model in a grid": (recipe("data: digits\nmodel: a:b\ngrid: {lr: [1]}\n"), "bad.yaml:3:1: grid: expected stack beside grid, got model"),
    "more cells than anyone trains": (
        recipe(GOOD.replace("[8, 4], activations: [relu, relu, none]", "[2, 2, 2, 2, 2, 2]") + "grid: {activations: {pairs: [relu, tanh, elu, selu]}}\n"),
        "bad.yaml:5:1: grid: expected at most 1000000 cells, got 10000000",
    ),
    "a sample larger than the grid": (recipe(GOOD + "grid: {lr: [1], sample: 2}\n"), "expected no more than the grid has cells, 1, got 2"),
    "batch larger than the data": (
        recipe(GOOD.replace("{epochs: 1}", "{epochs: 1, batch_size: 5000}")),
        "training.batch_size: expected at most the 1437 training samples of digits, got 5000",
    ),
    "batch of one with batch-norm": (
        recipe(GOOD.replace("{epochs: 1}", "{epochs: 1, batch_size: 1}")),
        "training.batch_size: expected at least 2 with batch-norm, got 1; or name other fixes (--fixes none)",
    ),
    # options
    "no recipe": (command("diagnose"), "Missing argument 'RECIPE'"),
    "unknown option": (options("--seed", "1"), "No such option"),
    "unknown command": (command("diagnos", "a.yaml"), "No such command 'diagnos'; did you mean 'diagnose'?"),
    "no command like it": (command("xyzzy"), "No such command 'xyzzy'; expected one of diagnose, sweep, check"),
    "no seeds": (options("--seeds", "0"), "--seeds: expected a count of seeds from 1 to 1000"),
    "seeds that are no number": (options("--seeds", "x"), "'x' is not a valid integer"),
    "no steps": (options("--steps", "0"), "0 is not in the range x>=1"),
    "no epochs": (options("--epochs", "0"), "--epochs: expected a whole number from 1 to 1000000, got 0"),
    "unknown fix": (options("--fixes", "batchnorm-lst"), "batchnorm-last, batchnorm-all, layernorm-all, residual or package.module:Class, got 'batchnorm-lst'; did you mean"),
    "unknown data": (options("--data", "digit"), "--data: expected digits, mnist, fashion-mnist, cifar10"),
    "data that are not there": (options("--data", "mnist", "--data-dir", "nowhere"), "mnist: not found, looked for"),
    "a device that is not there": (options("--device", "cuda:99"), "--device: expected a device of this machine, got cuda:99; it has cpu"),
    "no device": (options("--device", "gpu"), "--device: expected auto, cpu, cuda, cuda:0 or mps, got 'gpu'; did you mean 'cuda'?"),
    "unknown format": (options("--format", "xml"), "'xml' is not one of 'text', 'json'"),
    "out is a file": (options("--out", "bad.yaml"), "cannot be created: Not a directory; name another folder with --out"),
    "out cannot be made": (options("--out", "/proc/none/of/this"), "cannot be created"),
    # data
    "no npz": (recipe(GOOD.replace("digits", "{source: npz, path: no.npz}")), "no.npz: no such file; expected an npz file with x_train"),
    "half an npz": (data(lambda path: path.write_bytes(b"PK\3\4")), "a.npz: expected a whole npz file"),
    "other arrays": (data(arrays(a=X)), "a.npz: expected the keys x_train, y_train, x_test, y_test, or x, y; got a"),
    "lengths": (data(arrays(x=X, y=np.ones(3, int))), "expected a target for each sample, got 20 in x and 3 in y"),
    "objects": (data(arrays(x=X, y=np.array([{}] * 20, object))), "a.npz: y: expected numbers, got pickled objects"),
    "NaN": (data(arrays(x=X * np.nan, y=np.arange(20) % 2)), "a.npz: "),
    "a loss for classes": (
        data(lambda path: write_npz(path, classes=None)),
        "training.loss: expected mse or bce-with-logits for targets that are numbers",
    ),
    # code
    "code without leave": (model("own_bad:build"), "bad.yaml:2:8: 'own_bad:build' runs code of its own; read it, then add --allow-code"),
    "no module": (model("own_none:build", "--allow-code"), "'own_none:build' cannot be loaded: no module named 'own_none' here; run gradscope from the folder that holds it"),
    "no attribute": (model("own_bad:absent", "--allow-code"), "'own_bad:absent' cannot be loaded: AttributeError"),
    "a function that fails": (model("own_bad:fails", "--allow-code"), "'own_bad:fails' failed: RuntimeError: first line second line"),
    "no model": (model("own_bad:number", "--allow-code"), "expected a callable that returns a torch.nn.Module, got int"),
    "model with other outputs": (model("own_bad:narrow", "--allow-code"), "expected an output of shape ["),
    "model for other inputs": (model("own_bad:wrong_input", "--allow-code"), "model: failed on a batch of shape ["),
    "no fix": (
        code(GOOD + "fixes: ['own_bad:NoFix']\n", "--allow-code"),
        "'own_bad:NoFix': expected a class derived from gradscope.fixes.Fix, got type",
    ),
    "samples of a wrong kind": (code(GOOD.replace("digits", "own_bad:samples"), "--allow-code"), "own_bad:samples"),
    "activation that changes the shape": (code(GOOD.replace("[relu, relu", "['own_bad:shrinks', relu"), "--allow-code"), "own_bad:shrinks"),
    "activation that is not there": (code(GOOD.replace("[relu, relu", "['own_bad:absent', relu"), "--allow-code"), "own_bad:absent"),
    # runs
    "no run": (command("report", "none"), "none: expected a run's folder, found nothing there"),
    "no run below": (command("report", "."), ".: expected a run or runs below, found no report.json"),
    "no report": (file("report.json", "{", "report", "report.json"), "report.json: expected a report in JSON, got something else"),
    "another JSON file": (file("report.json", "{}", "report", "."), "report.json: expected a gradscope report (key 'schema')"),
    "newer report": (file("report.json", '{"schema": 2}', "report", "."), "written with schema 2, this gradscope reads up to 1; update gradscope"),
    "damaged trace": (file("trace/control-1.npz", "x", "report", "."), "expected the recipe of a run"),
    "report in an unknown format": (file("report.json", "{}", "report", ".", "--format", "xml"), "'xml' is not one of"),
    # rules
    "unknown rule": (command("explain", "GS999"), "expected a rule such as GS103 or output-collapse, got 'GS999'"),
    "misspelt rule": (command("explain", "output-colapse"), "did you mean output-collapse? (gradscope explain lists them)"),
    # more files at once
    "validate a sweep": (file("a.yaml", GOOD + "grid: {lr: []}\n", "validate", "a.yaml"), "a.yaml:5:12: grid.lr: expected a list of values for lr, got []"),
    "validate nothing": (command("validate"), "Missing argument 'FILES...'"),
}  # fmt: skip


def check(done, phrase, folder, code=2):
    assert done.code == code, done
    assert phrase in done.err
    assert done.err.count("\n") == 1, done.err
    assert done.err.endswith("\n")
    assert "Traceback" not in done.err
    assert done.out == ""
    assert not list(folder.glob("**/runs/*")), "a run was left behind"


@pytest.mark.parametrize(("make", "phrase"), TABLE.values(), ids=TABLE.keys())
def test_a_fault_is_one_line_and_exit_code_2(make, phrase, tmp_path, monkeypatch):
    import sys

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GRADSCOPE_DATA", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    sys.modules.pop("own_bad", None)
    try:
        check(call(*make(tmp_path)), phrase, tmp_path)
    finally:
        sys.modules.pop("own_bad", None)


def test_traces_without_a_control_cannot_be_judged(tmp_path, monkeypatch):
    from dataclasses import replace

    from gradscope.rules.examples import example

    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text(GOOD)
    replace(example(), arm="reseed", seed=3).save(tmp_path / "trace" / "reseed-3.npz")
    check(call("report", "."), "nothing was recorded of the control", tmp_path, code=3)


def test_three_faults_are_three_lines(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_text(GOOD.replace("relu, relu", "rleu, relu") + "sedes: 1\nexpect: [dead]\n")
    done = call("diagnose", "bad.yaml")
    assert (done.code, done.out) == (2, "")
    lines = done.err.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("bad.yaml:") for line in lines)


def test_the_table_is_long_enough():
    assert len(TABLE) >= 30


@pytest.mark.parametrize("name", ["no file", "unknown key", "code without leave", "unknown option", "misspelt rule"])
def test_the_same_as_a_process(name, tmp_path):
    make, phrase = TABLE[name]
    check(process(*make(tmp_path), cwd=tmp_path), phrase, tmp_path)
