"""The sweep's benchmark trains what it says, counts right, and leaves its file. No timing is tested: it would be noise."""

import doctest
import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from importlib import import_module

import pytest
import torch
from click.testing import CliRunner
from command_line import ROOT, environment

CONTENDERS = ["published", "plain", "plain-parallel", "products", "gradscope"]


@pytest.fixture
def benchmarks(monkeypatch):
    """Return a module of the benchmarks, which are no part of the package."""
    monkeypatch.syspath_prepend(str(ROOT))
    return lambda name: import_module(f"benchmarks.{name}")


def test_it_times_every_contender_says_so_and_leaves_its_file(tmp_path):
    file = tmp_path / "new" / "sweep.json"
    command = [sys.executable, "-m", "benchmarks.sweep", "--quick", "--rounds", "3", "--out", str(file)]
    # On cores that are shared with other tests, a thread that spins waits for one that does not run.
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment(GOMP_SPINCOUNT="1000"))
    assert ended.returncode == 0, ended.stderr
    kept = json.loads(file.read_text(encoding="utf-8"))
    check_times(*kept["results"])
    check_environment(kept)
    check_what_is_said(ended.stdout)
    assert "random images of MNIST's shape" in ended.stdout
    assert "random images of MNIST's shape" in kept["data"]


def check_times(result):
    assert (result["case"], result["members"], result["population"], result["rounds"]) == ("tiny", 4, [4], 3)
    assert list(result["contenders"]) == CONTENDERS
    for contender in result["contenders"].values():
        assert contender["ratio"].keys() == contender["processor_ratio"].keys() == {"min", "q1", "median", "q3", "max"}
        assert len(contender["block_s"]) == 3
        assert min(contender["block_s"]) > 0
    assert set(result["contenders"]["gradscope"]["ratio"].values()) == {1}
    assert result["contenders"]["gradscope"]["block_member_steps"] % (4 * 100) == 0  # whole periods of the schedule
    assert len(result["tried_ms"]) == 4  # each plain loop with each update


def check_environment(kept):
    assert kept["environment"].keys() >= {"commit", "torch", "cpu", "cores", "load_average", "load_average_at_end"}
    alone, each_core = kept["crews"]["alone"], kept["crews"]["each core"]
    assert (each_core["threads"], each_core["processes"]) == (1, kept["environment"]["cores"])
    assert "OMP_NUM_THREADS" not in alone["thread_settings"]  # which the tests set, and most users do not
    assert alone["thread_settings"]["GOMP_SPINCOUNT"] == "1000"
    assert str(ROOT) not in json.dumps(kept)


def check_what_is_said(said):
    lines = said.splitlines()
    assert [line.split()[0] for line in lines if line.split()[:1] and line.split()[0] in CONTENDERS] == CONTENDERS
    measured = [line for line in lines if line.startswith("tiny: ") and "as fast as" in line]
    assert [line.split(" as fast as ")[1].split(" (")[0] for line in measured] == [
        "the best plain loop with all threads",
        "that loop in a process of one thread for each core",
        "the published script",
        "the products alone",
    ]
    assert all(len(line) <= 80 for line in lines if line not in measured and "written" not in line)
    assert "…" not in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--cases", "main,deep"], "--cases: expected some of main, "),
        (["--data-dir", "nowhere"], "--data-dir: expected a folder with MNIST/raw/"),
    ],
)
def test_wrong_options_are_named(benchmarks, arguments, said):
    ended = CliRunner().invoke(benchmarks("sweep").main, arguments)
    assert ended.exit_code == 2
    assert said in " ".join(ended.output.split())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_named(benchmarks, tmp_path):
    ended = CliRunner().invoke(benchmarks("sweep").main, ["--device", "cuda", "--quick", "--out", str(tmp_path / "a.json")])
    assert ended.exit_code == 2
    assert "--device: expected a device of this machine, got cuda" in " ".join(ended.output.split())


def test_the_main_case_has_each_published_stack_once(benchmarks):
    cases = benchmarks("sweep_cases")
    case = cases.CASES[0]
    tasks = cases.populations(case, cases.room(case, 4, on_gpu=False))
    stacks = [tuple(cases.activations(member.recipe)) for task in tasks for member in task.members]
    assert len(set(stacks)) == len(stacks) == 64
    assert [len(task.members) for task in tasks] == [4] * 16
    assert (case.widths, case.product_flops) == ((784, 500, 256, 10), 2 * 32 * (3 * 522_560 - 392_000))


@pytest.mark.parametrize(("name", "members", "seeds", "layers"), [("members-8", 8, 1, 3), ("members-512", 512, 8, 3),
                                                                  ("depth-30", 64, 1, 30)])  # fmt: skip
def test_each_activation_is_in_each_layer_equally_often(benchmarks, name, members, seeds, layers):
    cases = benchmarks("sweep_cases")
    case = next(case for case in cases.CASES if case.name == name)
    tasks = cases.populations(case, cases.room(case, None, on_gpu=False))
    networks = [member for task in tasks for member in task.members]
    assert len(networks) == members
    assert {member.seed for member in networks} == set(range(1, seeds + 1))
    for layer in zip(*(cases.activations(member.recipe) for member in networks), strict=True):
        assert set(Counter(layer).values()) == {members // 4}
    assert len(case.widths) == layers + 1


@pytest.mark.parametrize(
    ("tasks", "processes", "most", "firsts"),
    [(8, 2, 8, [0, 2, 4, 6]), (13, 2, 2, [0, 6]), (1, 1, 8, [0]), (7, 3, 8, [0, 3])],
)
def test_groups_have_a_population_for_each_process_and_are_evenly_spread(benchmarks, tasks, processes, most, firsts):
    found = benchmarks("sweep_cases").groups(range(tasks), processes, most)
    assert found == [list(range(first, first + processes)) for first in firsts]


@pytest.fixture
def place(benchmarks, tmp_path):
    """Return a contender's place, with random images."""
    benchmarks("digit_files").write_random(tmp_path, 96)
    return benchmarks("sweep_bench").Bench(tmp_path, "cpu")._place


@pytest.fixture
def tiny(benchmarks):
    cases = benchmarks("sweep_cases")
    return cases.populations(cases.QUICK, cases.room(cases.QUICK, None, on_gpu=False))


def test_both_scripts_take_the_same_step(benchmarks, place, tiny):
    scripts = benchmarks("sweep_scripts")
    group = [tiny[0].members]
    contenders = [scripts.Published(place, group), *(scripts.Plain(place, group, update) for update in ("fused", "foreach"))]
    x, y = place.data.x_train[:32], place.data.y_train[:32]
    for contender in contenders:
        for model, optimizer in contender.trained[0]:
            contender.step(model, optimizer, x.view(32, 1, 28, 28) if contender is contenders[0] else x, y)
            contender.step(model, optimizer, x.view(32, 1, 28, 28) if contender is contenders[0] else x, y)
    for networks in zip(*(contender.trained[0] for contender in contenders), strict=True):
        published, *others = ([p.detach() for p in model.parameters()] for model, _ in networks)
        for plain in others:
            torch.testing.assert_close(plain, published)


def test_both_scripts_see_the_same_images(benchmarks, place, tiny):
    scripts = benchmarks("sweep_scripts")
    group = [tiny[0].members[:1]]
    seen = []
    for contender in (scripts.Published(place, group), scripts.Plain(place, group, "fused")):
        x, y = (torch.cat(parts) for parts in zip(*(next(contender.batches) for _ in range(3)), strict=True))
        order = torch.argsort(x.flatten(1).double().sum(1) + 1e6 * y)
        seen.append((x.flatten(1)[order], y[order]))
    torch.testing.assert_close(seen[0], seen[1])
    assert len({float(row.sum()) for row in seen[0][0]}) == 96  # each image once


def test_a_block_of_a_script_steps_each_network_of_the_group_alone(benchmarks, place, tiny):
    members = tiny[0].members
    contender = benchmarks("sweep_scripts").Plain(place, [members[:1], members[1:]], "fused")
    before = [[next(model.parameters()).clone() for model, _ in group] for group in contender.trained]
    assert contender.run(1, 2) == 2 * 3
    after = [[next(model.parameters()) for model, _ in group] for group in contender.trained]
    moved = [[not torch.equal(p, q) for p, q in zip(*pair, strict=True)] for pair in zip(before, after, strict=True)]
    assert moved == [[False], [True, True, True]]


@pytest.mark.parametrize("stacked", [1, 3])
def test_the_products_are_those_of_forward_and_backward(benchmarks, place, stacked):
    contender = benchmarks("sweep_contenders").Products(place, benchmarks("sweep_cases").QUICK, stacked)
    assert contender.run(0, 2) == 2 * stacked
    for i, (x, weight) in enumerate(zip(contender.x, contender.weights, strict=True)):
        torch.testing.assert_close(contender.z[i], weight @ x)
        torch.testing.assert_close(contender.grads[i], contender.grad_z[i] @ x.mT)
        if i:
            torch.testing.assert_close(contender.grad_x[i], weight.mT @ contender.grad_z[i])


def test_a_standing_training_takes_as_many_steps_as_it_is_told(benchmarks, place, tiny):
    standing = benchmarks("standing_training").StandingTraining(tiny[0], place.data, place.device)
    assert [standing.run(steps) for steps in (4, 40, 400)] == [4, 40, 400]  # 3 steps an epoch: more than 50 epochs
    standing.close()
    assert not standing._thread.is_alive()


def test_a_training_that_fails_says_so_to_who_waits(benchmarks, place, tiny, monkeypatch):
    def fails(*_):
        raise ValueError("no memory")

    module = benchmarks("standing_training")
    monkeypatch.setattr(module, "train_task", fails)
    with pytest.raises(ValueError, match="no memory"):
        module.StandingTraining(tiny[0], place.data, place.device).run(4)


def test_what_fails_in_a_process_is_told(benchmarks, tmp_path):
    benchmarks("digit_files").write_random(tmp_path, 32)
    with benchmarks("sweep_processes").Crew(1, tmp_path, "cpu", one_thread=True) as crew:
        with pytest.raises(RuntimeError, match="KeyError: 'nobody'"):
            crew.call("run", [("nobody", 0, 1)])
        [told] = crew.call("describe", [()])
    assert told["threads"] == 1


@dataclass
class Crews:
    """Processes that take 10 ms for each step of the slow update, and 5 ms for all others."""

    dropped: list[str] = field(default_factory=list)

    def call(self, method, arguments):
        name = arguments[0][0]
        if method == "drop":
            self.dropped.append(name)
        steps = arguments[0][-1]
        step_s = 0.01 if "fused" in name else 0.005
        block = import_module("benchmarks.sweep_processes").Block
        return [block(steps, steps * step_s * (i + 1), 0.0) for i in range(len(arguments))] if method == "run" else []


@pytest.fixture
def lineup(benchmarks, tiny):
    """Return a line-up without processes, its crew, and the tiny case's entrants."""
    module, crew = benchmarks("sweep_lineup"), Crews()
    found = module.entrants(benchmarks("sweep_cases").QUICK, [tiny], processes=2, on_gpu=False)
    return module.Lineup({module.ALONE: crew, module.EACH_CORE: crew}, 1), crew, found


def test_of_each_plain_loop_the_fastest_update_goes_on(benchmarks, lineup):
    lined, crew, found = lineup
    kept, tried = benchmarks("sweep_measure")._fastest(found, lined)
    assert sorted(entrant.label for entrant in kept) == sorted(CONTENDERS)
    assert {entrant.variant for entrant in kept} == {"", "SGD(..., foreach=True)"}
    assert all("fused" in name for name in crew.dropped)
    assert len(crew.dropped) == 2
    assert tried["plain SGD(..., fused=True)"] == 2 * tried["plain SGD(..., foreach=True)"] == 10


def test_steps_are_counted_over_the_slowest_process(lineup):
    lined, _, found = lineup
    parallel = next(entrant for entrant in found if entrant.label == "plain-parallel" and "foreach" in entrant.name)
    block = lined.run(lined.sized(parallel, 1.0), 0)
    assert (block.member_steps, block.wall_s) == (200, pytest.approx(1.0))


def test_on_a_gpu_the_products_are_of_all_networks_at_once(benchmarks, tiny):
    found = benchmarks("sweep_lineup").entrants(benchmarks("sweep_cases").QUICK, [tiny], processes=1, on_gpu=True)
    assert {entrant.label for entrant in found} == set(CONTENDERS) - {"plain-parallel"}
    assert all(entrant.processes == 1 for entrant in found)
    [[case, stacked]] = next(entrant.arguments for entrant in found if entrant.label == "products")
    assert (case.name, stacked) == ("tiny", 4)


def test_ratios_are_those_of_a_round_and_the_better_plain_loop_counts(benchmarks, lineup):
    summary, block = benchmarks("sweep_summary"), benchmarks("sweep_processes").Block
    found = [entrant for entrant in lineup[2] if "fused" not in entrant.name]
    times = {"published": (8, 80), "plain": (4, 16), "plain-parallel": (3, 30), "products": (0.5, 5), "gradscope": (1, 10)}
    blocks = {label: [block(100, a, a), block(1000, b, b)] for label, (a, b) in times.items()}  # the second round ten times
    result = {"case": "main", "contenders": summary.summarised(found, blocks)}
    assert list(result["contenders"]) == CONTENDERS
    assert [found["ratio"]["median"] for found in result["contenders"].values()] == [8, 2.8, 3, 0.5, 1]
    assert result["contenders"]["gradscope"]["step_ms"] == 10
    lines = summary.headline(result)
    assert lines[0] == (
        "main: 2.80 times as fast as the best plain loop with all threads (quartiles 2.20 to 3.40); at least 2.5 is wanted"
    )
    assert lines[1].startswith("main: 3.00 times as fast as that loop in a process of one thread for each core")
    del result["contenders"]["plain-parallel"]
    assert len(summary.headline(result)) == len(lines) - 1


@pytest.mark.parametrize(("blocks", "said"), [([1.0, 1.0, 1.1, 1.1, 9.0], ""), ([1.0, 1.0, 1.1, 2.4, 9.0], "factor of 2.4")])
def test_it_says_when_other_programs_must_have_computed(benchmarks, blocks, said):
    contenders = {"plain": {"block_s": blocks}, "gradscope": {"block_s": [1.0, 1.1, 1.0, 1.0, 1.1]}}
    found = benchmarks("sweep_summary").unrest({"case": "main", "contenders": contenders})
    assert bool(found) is bool(said)
    assert said in found


def test_its_examples_hold(benchmarks):
    found = doctest.testmod(benchmarks("sweep_summary"))
    assert found.attempted > 0
    assert found.failed == 0
