"""gradscope_check in tests of a repository: what passes, what fails, and with which words."""

# ruff: noqa: E501  a mistake and its message stand on one line

import json
from pathlib import Path

import pytest
import torch
from command_line import ROOT
from torch import nn

from gradscope.check_result import Place
from gradscope.integrations.pytest_check import check_model
from gradscope.integrations.pytest_message import message
from gradscope.integrations.pytest_options import Options
from gradscope.integrations.pytest_place import TestPlace

pytest_plugins = ["pytester"]

NET = """
import torch
from torch import nn

def build():
    return nn.Sequential(
        nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 32), nn.Sigmoid(), nn.Linear(32, 10)LAST
    )

def samples(count=256):
    draw = torch.Generator().manual_seed(7)
    patterns, y = torch.randn(10, 20, generator=draw), torch.randint(10, (count,), generator=draw)
    return patterns[y] + 0.5 * torch.randn(count, 20, generator=draw), y
"""
PLAIN = ("-p", "no:cacheprovider", "-p", "gradscope_pytest")
HEAD = "import numpy as np, pytest, torch\nfrom torch import nn\nfrom net import build, samples\n"


@pytest.fixture(scope="module", autouse=True)
def _all_is_imported():
    """pytester lets go of the modules that its runs import, and torch cannot be imported twice."""
    place = TestPlace("warm", Place(file="x.py"), Path(), Path("absent.json"), False, Path(), print)
    x = torch.randn(64, 4)
    result = check_model(place, nn.Sequential(nn.Linear(4, 4), nn.ReLU()), (x, x), Options(expect=("saturation",)))
    assert "saturation was expected and not found" in message(result)


@pytest.fixture(autouse=True)
def _no_other_plugins(monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


@pytest.fixture
def repository(pytester):
    """A repository with a network and a test of it; returns a function that runs it and gives what it printed."""
    pytester.makepyfile(net=NET.replace("LAST", ""))

    def run(*lines, last="", options=(), **outcomes):
        pytester.makepyfile(net=NET.replace("LAST", last))
        if lines:
            pytester.makepyfile(test_net=HEAD + "\n".join(lines))
        done = pytester.runpytest_inprocess(*PLAIN, *options)
        done.assert_outcomes(**outcomes or {"passed": 1})
        return done.stdout.str()

    return run


def test_a_relu_on_the_logits_turns_it_red_and_taking_it_away_green(repository, pytester):
    repository("def test_net(gradscope_check):", "    gradscope_check(build(), data=samples(), steps=30)")
    shown = repository(last=", nn.ReLU()", failed=1)
    assert "AssertionError: gradscope: output-collapse at 5.relu, 1 more finding; expected healthy" in shown
    assert "  origin: GS103 output-collapse at 5.relu, from step " in shown
    assert "  cause: the pre-activations are nearly the same for every sample" in shown
    assert "  evidence: closed_frac 0." in shown
    assert "  to try: no relu on the output at all; batchnorm-last; batchnorm-all" in shown
    assert "  more: gradscope explain GS103" in shown
    assert ">       gradscope_check(build(), data=samples(), steps=30)" in shown
    assert "pytest_fixture.py" not in shown, "the plugin's own frames are no help"
    repository()
    assert not (pytester.path / "baselines").exists()


def test_a_function_is_trained_with_several_seeds(repository):
    shown = repository(
        "def test_net(gradscope_check):",
        "    result = gradscope_check(build, samples(), steps=15)",
        "    assert result.seeds == [1, 2, 3] and result.steps == 15",
        "    assert result.verdict == 'healthy' and result.outcome == 'as expected'",
        "def test_sick(gradscope_check):",
        "    gradscope_check(lambda: nn.Sequential(build(), nn.ReLU()), samples(), steps=15)",
        passed=1,
        failed=1,
    )
    assert "output-collapse at 1.relu, in 3 of 3 seeds, from step" in shown
    assert "trained: 15 steps, 3 seeds (1, 2, 3)" in shown


def test_what_stands_in_one_seed_of_three_is_no_finding(repository):
    """The repeat rule, with a network whose first layer is dead for some of the seeds."""
    shown = repository(
        "def factory(*sick):",
        "    def build_one():",
        "        net = build()",
        "        if torch.initial_seed() in sick:",
        "            nn.init.constant_(net[0].bias, -50.0)",
        "        return net",
        "    return build_one",
        "def test_one(gradscope_check):",
        "    gradscope_check(factory(2), samples(), steps=15)",
        "def test_two(gradscope_check):",
        "    gradscope_check(factory(2, 3), samples(), steps=15)",
        "def test_other(gradscope_check):",
        "    gradscope_check(lambda: nn.Sequential(build(), nn.ReLU()) if torch.initial_seed() == 2 else build(), samples(), steps=3)",
        passed=1,
        failed=2,
    )
    assert "gradscope: dead-layer at 1.relu" in shown
    assert "in 2 of 3 seeds" in shown
    assert "model: expected the same network for each seed, got one with and one without 0.1.relu (seeds 1 and 2)" in shown


def test_a_model_is_trained_as_a_copy_and_nothing_is_drawn(repository):
    repository(
        "def state():",
        "    return np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()",
        "def test_net(gradscope_check):",
        "    model = nn.Sequential(build(), nn.BatchNorm1d(10), nn.Dropout(0.1)).eval()",
        "    x, y = samples()",
        "    loader = torch.utils.data.DataLoader(list(zip(x, y)), 32, shuffle=True, generator=torch.Generator().manual_seed(3))",
        "    weights, drawn = {k: v.clone() for k, v in model.state_dict().items()}, state()",
        "    own = loader.generator.get_state().tolist()",
        "    gradscope_check(model, loader, steps=15, seeds=2)",
        "    assert state() == drawn and loader.generator.get_state().tolist() == own",
        "    assert all(torch.equal(weights[k], v) for k, v in model.state_dict().items())",
        "    assert not model.training and all(p.grad is None for p in model.parameters())",
    )


def test_the_same_check_sees_the_same(repository):
    repository(
        "def test_net(gradscope_check):",
        "    model = nn.Sequential(build(), nn.Dropout(0.1), nn.ReLU())",
        "    first = gradscope_check(model, samples(), steps=15, expect=['output-collapse', 'common-mode'])",
        "    torch.rand(3)",
        "    again = gradscope_check(model, samples(), steps=15, expect=['output-collapse', 'common-mode'])",
        "    assert first.findings and first.findings == again.findings",
    )


def test_a_finding_may_be_expected_and_then_must_be_there(repository):
    shown = repository(
        "@pytest.mark.parametrize('last', [nn.ReLU(), nn.Identity()])",
        "def test_net(gradscope_check, last):",
        "    gradscope_check(nn.Sequential(build(), last), samples(), steps=30, expect=['output-collapse'])",
        passed=1,
        failed=1,
    )
    assert "gradscope: output-collapse was expected and not found; the verdict is healthy" in shown
    assert "test_net[last1]" in shown


def test_what_cannot_be_judged_is_not_green_and_no_finding_either(repository):
    shown = repository(
        "def test_linear(gradscope_check):",
        "    gradscope_check(nn.Linear(20, 10), samples())",
        "def test_short(gradscope_check):",
        "    gradscope_check(build(), samples(), steps=3)",
        "def test_expected(gradscope_check):",
        "    with pytest.raises(AssertionError):",
        "        gradscope_check(build(), samples(), steps=3, expect=['dead-layer'])",
        failed=3,
    )
    assert "gradscope_check: could not judge: no non-linearity was seen: the network has none" in shown
    assert "closed_frac was seen for 96 samples in 3 steps, 300 in at least 3 steps are needed" in shown
    assert shown.count("gradscope_check: could not judge: ") >= 3
    assert "Traceback" not in shown


MISTAKES = {
    "gradscope_check(build())": "data: expected (x, y), a DataLoader, an iterable of batches (x, y), or a function",
    "gradscope_check(build(), (x, y[1:]))": "data: expected as many x as y, got 256 and 255",
    "gradscope_check(build(), (x[:0], y[:0]))": "data: expected samples, got none",
    "gradscope_check(build(), [])": "data: expected batches, got none",
    "gradscope_check(build(), x)": "data: expected (x, y), a DataLoader, an iterable of batches (x, y), or a function that"
    " returns one of these, got x alone; where x is its own target, give (x, x)",
    "gradscope_check(build(), ((x, y) for _ in range(7)))": "data: the generator ended after 7 batches, more are needed",
    "gradscope_check(build(), [(x, y, y)])": "data: batch 0: expected a pair (x, y), got 3 parts",
    "gradscope_check(build(), [{'x': x}])": "data: batch 0: expected a pair (x, y), got a dict",
    "gradscope_check(build(), lambda: 1 / 0)": "data: the function failed: ZeroDivisionError: division by zero (test_net.py:",
    "gradscope_check(build(), (x, torch.randn(256, 3)))": "data: y: expected shape [32, 10], as the model's output, got [32, 3]",
    "gradscope_check(build(), (x, y + 1))": "data: y: expected labels from 0 to 9, as the model has 10 outputs, got 10",
    "gradscope_check(build(), (x, torch.stack([y, y], 1)))": "data: y: expected one label a sample ([32]) for the model's output",
    "gradscope_check(build(), (x, np.array(['a'] * 256)))": "data: y: expected numbers, got an array of <U1",
    "gradscope_check(build(), (x[:, 1:], y))": "model: failed at step 0 on x of shape [32, 19]: RuntimeError: mat1 and mat2",
    "gradscope_check(nn.ReLU(), (x, y))": "model: expected one that can be trained, got ReLU: it has no parameters",
    "gradscope_check(build().requires_grad_(False), (x, y))": "got Sequential: all of its parameters are frozen",
    "gradscope_check(lambda: 3, (x, y))": "model: expected a function that returns a torch.nn.Module, got a int from it",
    "gradscope_check(None, (x, y))": "model: expected a torch.nn.Module, a function that returns one, or the path of a recipe",
    "gradscope_check(build(), (x, y), loss=lambda o, y: o)": "loss: expected a tensor of one number, got shape [32, 10]",
    "gradscope_check(build(), (x, y), loss=lambda o, y: o.detach().mean())": "loss: expected one that depends on the model's",
    "gradscope_check(build(), (x, y), loss='mse')": "loss: expected a function, such as torch.nn.functional.mse_loss, got a str",
    "gradscope_check(build(), (x, y), optimizer=torch.optim.SGD(build().parameters(), 0.1))": "optimizer: expected a function, such",
    "gradscope_check(build(), (x, y), optimizer=lambda p: p)": "optimizer: expected a function that returns a torch.optim.Optimizer",
    "gradscope_check(build(), (x, y), steps=0)": "steps: expected a whole number of at least 1, got 0",
    "gradscope_check(build(), (x, y), seeds=[1, 1])": "seeds: expected a count, or a list of different whole numbers, got [1, 1]",
    "gradscope_check(build(), (x, y), expect='output-colapse')": "got 'output-colapse'; did you mean 'output-collapse'?",
    "gradscope_check(build(), (x, y), expect='GS103', rules=['dead-layer'])": "got output-collapse, which is not among rules=",
    "gradscope_check(build(), (x, y), sites=3)": "sites: expected patterns such as 'encoder.*', got int",
    "gradscope_check('absent.yaml')": "absent.yaml: expected a recipe file, got nothing of that name",
    "gradscope_check('absent.yaml', (x, y))": "data: expected none beside a recipe, which states its own; got one for absent.yaml",
}


def test_each_mistake_of_a_user_is_told_in_one_line(pytester, monkeypatch):
    """In a process of its own: in this one types are checked, with other words."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # small networks on shared cores
    tests = [f"def test_{i:02}(gradscope_check):\n    x, y = samples()\n    {call}" for i, call in enumerate(MISTAKES)]
    pytester.makepyfile(net=NET.replace("LAST", ""), test_net=HEAD + "\n".join(tests))
    done = pytester.runpytest_subprocess(*PLAIN, "-rN")
    done.assert_outcomes(failed=len(MISTAKES))
    shown = done.stdout.str()
    told = [line for line in shown.splitlines() if line.startswith("gradscope_check: ")]
    assert len(told) == len(MISTAKES)
    for line, (call, expected) in zip(told, MISTAKES.items(), strict=True):
        assert expected in line, call
    assert "Traceback" not in shown


def test_the_users_own_line_that_raised_is_named_and_full_trace_shows_it(repository):
    lines = (
        "class Net(nn.Module):",
        "    def __init__(self):",
        "        super().__init__()",
        "        self.layer = nn.Linear(20, 10)",
        "    def forward(self, x):",
        "        return self.absent(x)",
        "def test_net(gradscope_check):",
        "    gradscope_check(Net, samples())",
    )
    shown = repository(*lines, failed=1)
    assert "AttributeError: 'Net' object has no attribute 'absent' (test_net.py:9 in forward)" in shown
    assert "self.absent(x)" not in shown
    assert ">       return self.absent(x)" in repository(*lines, failed=1, options=("--full-trace",))


def test_the_marker_gives_defaults_closest_first(repository):
    shown = repository(
        "pytestmark = pytest.mark.gradscope(steps=12, seeds=2)",
        "@pytest.mark.gradscope(steps=15)",
        "class TestNet:",
        "    def test_class(self, gradscope_check):",
        "        result = gradscope_check(build(), samples())",
        "        assert (result.steps, result.seeds) == (15, [1, 2])",
        "    @pytest.mark.gradscope(steps=20, expect=['output-collapse'])",
        "    def test_own(self, gradscope_check):",
        "        result = gradscope_check(build, samples(), expect='healthy', seeds=[5])",
        "        assert (result.steps, result.seeds) == (20, [5])",
        "@pytest.mark.gradscope(stepz=30)",
        "def test_typo(gradscope_check):",
        "    gradscope_check(build(), samples())",
        "@pytest.mark.gradscope(30)",
        "def test_unnamed(gradscope_check):",
        "    gradscope_check(build(), samples())",
        options=("--strict-markers",),
        passed=2,
        failed=2,
    )
    assert "marker gradscope: expected arguments among loss, optimizer, steps" in shown
    assert "got stepz; did you mean steps?" in shown
    assert "marker gradscope: expected arguments by name, such as steps=200, got 30" in shown


def test_it_works_in_a_fixture_of_the_users_own(repository):
    repository(
        "@pytest.fixture",
        "def checked(gradscope_check):",
        "    return gradscope_check(build(), samples(), steps=15)",
        "def test_net(checked):",
        "    assert checked.verdict == 'healthy'",
    )


def test_the_users_own_optimizer_loss_sites_and_rules_are_taken(repository):
    repository(
        "def test_net(gradscope_check):",
        "    taken = []",
        "    def optimizer(parameters):",
        "        taken.append(torch.optim.Adam(parameters, lr=1e-3))",
        "        return taken[-1]",
        "    def loss(output, y):",
        "        taken.append(output.shape)",
        "        return nn.functional.cross_entropy(output, y)",
        "    result = gradscope_check(",
        "        build, samples(), optimizer=optimizer, loss=loss, sites='3.*', rules=['GS104', 'dead-layer'], batch_size=50, seeds=1,",
        "        steps=30,",
        "    )",
        "    assert taken[1:] == 5 * [*[(50, 10)] * 5, (6, 10)]  # 256 samples",
        "    assert list(result.places) == ['3.sigmoid']",
        "    assert [rule.code for rule in result.rules] == ['GS104', 'GS102']",
    )


def test_a_recipe_is_checked_as_the_command_does(repository, pytester):
    text = "data: digits\nstack: {hidden: [32, 16], activations: [LAYERS]}\nseeds: 2\nexpect: healthy\ntraining: {epochs: 4}\n"
    (pytester.path / "good.yaml").write_text(text.replace("LAYERS", "relu, tanh, none"))
    (pytester.path / "bad.yaml").write_text(text.replace("LAYERS", "relu, sigmoid, relu"))
    (pytester.path / "code.yaml").write_text("data: digits\nmodel: net:build\nseeds: 1\n")
    shown = repository(
        "@pytest.mark.parametrize('name', ['good', 'bad', 'code'])",
        "def test_recipe(gradscope_check, name):",
        "    gradscope_check(f'{name}.yaml')",
        passed=1,
        failed=2,
    )
    assert "AssertionError: gradscope: output-collapse at 3.relu" in shown
    assert "code.yaml:2:8: 'net:build' runs code of its own; read it, then add allow_code=True" in shown


def test_a_baseline_is_written_on_request_and_compared_with(repository, pytester):
    repository(
        "class TestNet:",
        "    @pytest.mark.parametrize('last', ['a/b', 'c'])",
        "    def test_one(self, gradscope_check, last):",
        "        gradscope_check(build(), samples(), steps=15)",
        "        gradscope_check(build(), samples(), steps=15)",
        "        gradscope_check(build(), samples(), steps=15, name='named')",
        passed=2,
    )
    assert not (pytester.path / "baselines").exists(), "nothing is written unless asked for"
    shown = repository(options=("--gradscope-update",), passed=2)
    folder = pytester.path / "baselines" / "test_net"
    names = sorted(path.name for path in folder.iterdir())
    ours = [f"TestNet.test_one[c]{more}.json" for more in ("-2", "-named", "")]
    assert [name for name in names if "[c]" in name] == ours
    assert len(names) == 6
    assert "gradscope baselines written" in shown
    assert "baselines/test_net/TestNet.test_one[c].json" in shown


def test_what_differs_from_a_baseline_fails(repository, pytester):
    def run(*options, **outcomes):
        return repository(options=options, **outcomes)

    repository(
        "def test_one(gradscope_check):",
        "    torch.manual_seed(1)",
        "    gradscope_check(build(), samples(), steps=15)",
        options=("--gradscope-update",),
    )
    run()
    path = pytester.path / "baselines" / "test_net" / "test_one.json"
    content = json.loads(path.read_text())
    content["end"]["1.relu"]["closed_frac"] = {"tolerance": 0.05, "value": 0.999}
    path.write_text(json.dumps(content))
    shown = run(failed=1)
    assert "AssertionError: gradscope: `1.relu` closed_frac 0.999 -> 0." in shown
    assert "baseline: baselines/test_net/test_one.json; where the change is meant: pytest --gradscope-update" in shown
    path.write_text("{")
    shown = run(failed=1)
    assert "expected a baseline in JSON, got something else" in shown
    assert "--gradscope-update writes it anew" in shown
    run("--gradscope-update")
    shown = repository(
        "def test_one(gradscope_check):",
        "    torch.manual_seed(1)",
        "    gradscope_check(build(), samples(), steps=16)",
    )
    assert "the baseline was made with 15 steps, this check has 16: only findings and step 0 are compared" in shown


def test_no_baseline_is_written_of_what_is_not_as_expected(repository, pytester):
    shown = repository(
        "def test_net(gradscope_check):",
        "    gradscope_check(nn.Sequential(build(), nn.ReLU()), samples(), steps=15)",
        options=("--gradscope-update",),
        failed=1,
    )
    assert "output-collapse at 1.relu" in shown
    assert "gradscope baselines written" not in shown
    assert "test_net.py::test_net: the baseline was not written: what stands contradicts expect" in shown
    assert not list((pytester.path).rglob("*.json"))


def test_the_marker_is_in_pytests_own_list(pytester):
    pytester.runpytest_inprocess("--markers", "-p", "gradscope_pytest").stdout.fnmatch_lines(["@pytest.mark.gradscope(steps=*"])
