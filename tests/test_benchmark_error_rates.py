"""The error rates' benchmark: cases are made as they say, judged right, counted right, and kept."""

import doctest
import json
import math
import subprocess
import sys
from importlib import import_module

import pytest
import torch
from command_line import ROOT, environment
from torch import nn


@pytest.fixture
def benchmarks(monkeypatch):
    """Return a module of the benchmarks, which are no part of the package."""
    monkeypatch.syspath_prepend(str(ROOT))
    return lambda name: import_module(f"benchmarks.{name}")


@pytest.fixture
def cases(benchmarks):
    return benchmarks("corpus").cases()


@pytest.fixture
def judging(benchmarks):
    """Return how one case is judged: what was planted, and then what was said."""
    case_of, judge = benchmarks("corpus_case"), benchmarks("error_rates_judge").judge

    def judged(*findings, planted=None, score=0.1, way=None, failed="", **plant):
        about = case_of.Plant("made", **({"rules": ("dead-layer",), "places": ("layer2",)} | plant)) if planted else None
        case = case_of.Case("made", "sick" if planted else "healthy", 0.8, 10, plant=about, setup=way)
        result = {"failed": failed} if failed else {"score": score, "seeds": 5, "findings": findings}
        return judge(case, result)

    return judged


def finding(rule="dead-layer", site="layer2.act.relu", **changes):
    given = {"severity": "error", "role": "origin", "first_step": 3, "seeds": 5, "named": [], "cause": None}
    return {"rule": rule, "site": site} | given | changes


@pytest.mark.slow
def test_quick_runs_writes_its_file_and_goes_on_where_it_stopped(tmp_path):
    kept, journal = tmp_path / "new" / "rates.json", tmp_path / "journal.jsonl"
    command = [sys.executable, "-m", "benchmarks.error_rates", "--quick", "--workers", "1"]
    command += ["--journal", str(journal), "--out", str(kept)]
    calm = environment(GOMP_SPINCOUNT="1000", GRADSCOPE_DATA=str(tmp_path))
    first, again = (subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=calm) for _ in range(2))
    assert first.returncode == again.returncode == 0, first.stderr
    assert first.stdout == again.stdout
    assert "4 sick and 3 healthy networks" in first.stdout
    assert "published tables: skipped: " in first.stdout
    assert first.stderr.count("7/7") == 1
    assert "/7" not in again.stderr
    found = json.loads(kept.read_text(encoding="utf-8"))
    assert found["rates"]["all"]["recall"]["count"] == 4
    assert found["rates"]["false_alarms"] == {"count": 0, "of": 3, "share": 0.0, "interval": [0.0, 0.5615]}
    assert found["environment"].keys() >= {"commit", "torch", "cores", "load_average_at_end"}
    assert len(found["cases"]) == len(journal.read_text(encoding="utf-8").splitlines()) == 7


def test_there_are_as_many_cases_as_the_rates_need(cases):
    healthy = [case for case in cases.values() if case.kind == "healthy" and case.half == "held back"]
    sick = [case for case in cases.values() if case.kind == "sick" and case.half == "held back"]
    assert len(healthy) >= 60
    assert len(sick) >= 100
    assert 0.4 < len(healthy + sick) / len(cases) < 0.6
    assert {case.way for case in healthy} == {case.way for case in sick} == {"watch", "recipe"}


def test_each_half_is_drawn_from_a_seed_of_its_own(benchmarks, cases, monkeypatch):
    draws = benchmarks("corpus_case").DRAWS
    before = {half: {name for name, case in cases.items() if case.half == half} for half in draws}
    seeds = {name: case.seed for name, case in cases.items() if case.half == "held back"}
    monkeypatch.setitem(draws, "held back", 1)
    after = benchmarks("corpus").cases.__wrapped__()
    assert {name for name, case in after.items() if case.half == "choosing"} == before["choosing"]
    assert {name for name, case in after.items() if case.half == "held back"} != before["held back"]
    kept = [name for name in seeds if name in after]
    assert kept
    assert all(after[name].seed != seeds[name] for name in kept)


def test_whether_it_runs_is_not_tried_on_what_is_held_back(benchmarks):
    assert {case.half for case in benchmarks("error_rates").quick_cases().values()} == {"choosing"}


def test_no_training_is_counted_twice(cases):
    seeds = [seed for case in cases.values() for seed in (case.seeds if case.recipe else [case.seed])]
    assert len(set(seeds)) == len(seeds)


def test_every_rule_and_place_of_a_plant_exists(cases):
    from gradscope.rules import RULES

    slugs = {rule.slug for rule in RULES}
    for case in cases.values():
        if case.plant is None:
            continue
        assert set(case.plant.rules) | set(case.plant.also) <= slugs, case.name
        if case.setup:
            names = {name for name, _ in case.setup().model.named_children()}
            assert {place.rstrip(".") for place in case.plant.places} <= names, case.name


def of_plant(cases, name):
    return next(case for case in cases.values() if case.plant and case.plant.name == name and case.way == "watch")


def test_a_dead_layer_is_shut_for_every_sample(cases):
    case = of_plant(cases, "dead layer by bias")
    setup = case.setup()
    seen = []
    getattr(setup.model, case.plant.places[0]).act.register_forward_hook(lambda module, given, out: seen.append(out))
    setup.model(setup.samples.x_train)
    assert seen
    assert not seen[0].any()


def test_identical_units_are_identical_and_stay_so(cases):
    for case in cases.values():
        if case.plant and case.plant.name == "identical units":
            setup = case.setup()
            layer = getattr(setup.model, case.plant.places[0])
            setup.model(setup.samples.x_train[:8]).square().mean().backward()
            gradient = layer.weights.weight.grad
            # but for the order in which a sum is rounded
            torch.testing.assert_close(gradient, gradient[:1].expand_as(gradient), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("how", ["detach", ".data"])
def test_a_cut_lets_nothing_through_to_what_is_before_it(cases, how):
    case = of_plant(cases, f"cut off by {how}")
    setup = case.setup()
    setup.model(setup.samples.x_train[:8]).square().mean().backward()
    (last,) = case.plant.places
    assert all(parameter.grad is None for parameter in getattr(setup.model, last).parameters())
    assert setup.model.head.weights.weight.grad is not None


def test_what_is_not_finite_begins_at_its_place_and_step(cases):
    case = of_plant(cases, "not finite by a division")
    setup = case.setup()
    before, at = [], []
    for name, stage in setup.model.named_children():
        stage.register_forward_hook(
            lambda m, x, out, to=at if name == case.plant.places[0] else before: to.append(out.isfinite().all())
        )
        if name == case.plant.places[0]:
            break
    finite = [bool(setup.model(setup.samples.x_train[:8]).isfinite().all()) for _ in range(9)]
    assert finite == [True] * 7 + [False] * 2
    assert all(before)
    assert [bool(one) for one in at] == finite


def test_a_layer_left_out_does_not_move(cases, benchmarks):
    case = of_plant(cases, "a layer the optimizer does not hold")
    setup = case.setup()
    stage = getattr(setup.model, case.plant.places[0].rstrip("."))
    was = [parameter.detach().clone() for parameter in stage.parameters()]
    head = setup.model.head.weights.weight.detach().clone()
    benchmarks("corpus_training").train(setup, 1, 3, 3, 0.9)
    assert all(map(torch.equal, was, stage.parameters()))
    assert not torch.equal(head, setup.model.head.weights.weight)


def test_a_rate_of_one_layer_is_that_layers_alone(cases):
    case = of_plant(cases, "learning rate of one layer")
    setup = case.setup()
    rates = {len(group["params"]) and group["lr"] for group in setup.make_optimizer().param_groups}
    assert sorted(rates)[0] == setup.lr
    assert len(rates) == 2
    assert max(rates) >= 1000 * setup.lr


def test_few_of_the_winners_units_are_left(benchmarks):
    kept = benchmarks("corpus_models").Winners(3)(torch.rand(16, 30))
    assert ((kept != 0).sum(dim=1) == 3).all()


def test_wide_relus_look_dead_and_are_not(cases):
    setup = cases["healthy: wide relus, biases -1.0"].setup()
    seen = []
    setup.model.layer1.act.register_forward_hook(lambda module, given, out: seen.append(out))
    setup.model(setup.samples.x_train)
    assert (seen[0] == 0).float().mean() > 0.75
    assert (seen[0] > 0).any(dim=0).float().mean() > 0.95


def test_a_training_ends_when_its_goal_is_beaten_but_not_before_it_may(benchmarks):
    train, setup_of, mlp, samples = (
        benchmarks("corpus_training").train,
        benchmarks("corpus_training").Setup,
        benchmarks("corpus_models").mlp,
        benchmarks("corpus_tasks").TASKS["blobs"](),
    )
    torch.manual_seed(0)
    _, score, steps = train(setup_of(mlp(20, [16], 5, nn.ReLU), samples, lr=0.1), 1, 900, 200, 0.8)
    assert score > 0.8
    assert 200 <= steps < 900
    report, _, steps = train(setup_of(mlp(20, [16], 5, nn.ReLU), samples, lr=0.1), 1, 150, 0, 1.0)
    assert steps == 150
    assert report.verdict == "healthy"


def test_a_cause_at_its_place_is_right(judging):
    judged = judging(finding(), finding("vanishing-gradient", "layer1.act.relu", role="victim"), planted=True,
                     also=("vanishing-gradient",))  # fmt: skip
    assert (judged.kind, judged.is_found, judged.origin_right, judged.first_step) == ("sick", True, True, 3)
    assert (judged.right, judged.follows, judged.false) == (("dead-layer",), ("vanishing-gradient",), ())


@pytest.mark.parametrize(
    ("findings", "is_found", "origin_right"),
    [
        ([finding(site="layer1.act.relu")], True, False),
        ([finding(site="layer20.act.relu")], True, False),
        ([finding(), finding("saturation", "layer3.act.tanh")], True, False),
        ([finding(role="victim")], True, False),
        ([finding(), finding("common-mode", "layer3.act.relu", severity="warning")], True, True),
        ([finding(site=None, named=["layer2.weights.weight"])], True, True),
        ([finding(seeds=2)], False, None),
        ([finding(severity="warning")], False, None),
        ([finding("saturation")], False, None),
        ([], False, None),
    ],
)
def test_found_and_placed(judging, findings, is_found, origin_right):
    judged = judging(*findings, planted=True)
    assert (judged.is_found, judged.origin_right) == (is_found, origin_right)


def test_a_warning_finds_what_leaves_the_network_able_to_learn(judging):
    elsewhere = finding("common-mode", "layer3.act.relu", severity="warning")
    judged = judging(finding(severity="warning"), elsewhere, planted=True, may_learn=True, score=0.95)
    assert (judged.kind, judged.is_found, judged.origin_right, judged.right) == ("sick", True, True, ())


def test_what_was_planted_in_vain_is_not_counted_as_sick(judging):
    assert judging(finding(), planted=True, score=0.95).kind == "learns all the same"


def test_a_cause_counts_where_one_is_named(judging):
    named = [judging(finding(cause=cause), planted=True, causes=("closed gates",)) for cause in ("closed gates", "steps", None)]
    assert [one.causes_right for one in named] == [(True,), (False,), ()]


def test_each_cause_named_is_judged_and_any_is_wrong_where_none_is_right(judging):
    said = [
        finding(cause="closed gates"),
        finding("saturation", "layer3.act.tanh", cause="steps"),
        finding(cause="closed gates"),
    ]
    judged = judging(*said, planted=True, causes=("closed gates",))
    assert (judged.causes, judged.causes_right) == (("closed gates", "steps"), (True, False))
    assert judging(finding(cause="steps"), planted=True).causes_right == (False,)


def test_a_sick_case_that_crashes_is_missed_and_a_healthy_one_not_counted(judging, benchmarks):
    sick, healthy = judging(planted=True, failed="ValueError: no"), judging(failed="ValueError: no")
    assert (sick.kind, sick.is_found, sick.rule, healthy.kind) == ("sick", False, "dead-layer", "failed")
    rates = benchmarks("error_rates_table").summarise([sick, healthy, judging(finding(), planted=True)])
    assert (rates["all"]["recall"]["count"], rates["all"]["recall"]["of"]) == (1, 2)
    assert rates["wrong"]["crashed"] == {"made": ["ValueError: no"]}
    assert rates["not_counted"]["made"]["why"] == "failed: ValueError: no"


def test_what_follows_is_excused_only_where_it_is_said_to_follow(judging):
    also = {"planted": True, "also": ("vanishing-gradient",)}
    for follows, others in (
        (True, [finding("vanishing-gradient", "layer1.act.relu", role="victim")]),
        (True, [finding("vanishing-gradient", "layer2.act.relu")]),
        (False, [finding("vanishing-gradient", "layer1.act.relu")]),
        (
            False,
            [finding("vanishing-gradient", "layer1.act.relu", role="victim"), finding("vanishing-gradient", "layer3.act.relu")],
        ),
    ):
        judged = judging(finding(), *others, **also)
        assert (judged.follows, judged.false)[follows] == (), others
        assert len(judged.follows) + len(judged.false) == 1
    anywhere = judging(finding("vanishing-gradient", "layer1.act.relu"), **also, places=())
    assert anywhere.follows == ("vanishing-gradient",)


def test_no_plant_excuses_most_of_the_rules(cases):
    from gradscope.rules import RULES

    for case in cases.values():
        if case.plant:
            assert len({*case.plant.rules, *case.plant.also}) <= 0.75 * len(RULES), case.name


def test_every_error_on_a_healthy_network_is_false(judging):
    said = (finding(), finding(site="layer3.act.relu"), finding("saturation", severity="warning"))
    judged = judging(*said, score=0.95)
    assert (judged.kind, judged.false) == ("healthy", ("dead-layer",))
    assert judging(*said, score=0.5).kind == "did not learn"
    assert judging(failed="ValueError: no").kind == "failed"


def test_rates_are_those_counted_by_hand(judging, benchmarks):
    tables = benchmarks("error_rates_table")
    judged = [
        judging(finding(), planted=True),
        judging(finding(site="layer1.act.relu", first_step=40), finding("saturation"), planted=True),
        judging(planted=True),
        judging(finding("saturation"), score=0.95),
        judging(score=0.95),
        judging(score=0.2),
    ]
    rates = tables.summarise(judged)
    assert rates["counted"] == {"healthy": 2, "sick": 3}
    counts = {key: (one["count"], one["of"]) for key, one in rates["all"].items() if isinstance(one, dict) and "of" in one}
    assert counts == {"precision": (2, 4), "recall": (2, 3), "origin_right": (1, 2), "cause_right": (0, 0)}
    assert rates["all"]["found_by_step"] == {"0": 0, "10": 1, "100": 2}
    assert (rates["rules"]["saturation"]["precision"]["count"], rates["rules"]["saturation"]["precision"]["of"]) == (0, 2)
    assert rates["plants"]["made"]["recall"] == rates["all"]["recall"]
    assert [len(rates["wrong"][key]) for key in ("false_alarms", "missed", "origin_wrong")] == [1, 1, 1]
    told = tables.table(rates)
    assert "2/3 0.67" in told
    assert "false alarms (healthy networks with an error): 1/2" in told
    assert "did not learn" in told


@pytest.mark.parametrize(("count", "of"), [(0, 10), (10, 10), (3, 7), (97, 100)])
def test_wilsons_interval_is_where_the_score_test_turns(benchmarks, count, of):
    low, high = benchmarks("error_rates_judge").wilson(count, of)
    for end in (low, high):
        if 0 < end < 1:
            assert abs(count / of - end) / math.sqrt(end * (1 - end) / of) == pytest.approx(1.959964, rel=1e-5)


def test_a_journal_keeps_what_is_whole_of_this_code_and_did_not_fail(benchmarks, tmp_path):
    journal, path = benchmarks("error_rates").Journal, tmp_path / "deep" / "journal.jsonl"
    first = journal(path, "v1")
    for one in ({"name": "a", "score": 1.0}, {"name": "b", "failed": "no"}):
        first.put(one)
    path.write_text(path.read_text(encoding="utf-8") + '{"version": "v1", "na', encoding="utf-8")
    assert list(journal(path, "v1").done) == ["a"]
    assert journal(path, "v2").done == {}


def test_published_tables_have_their_rows_and_labels(benchmarks):
    published = benchmarks("error_rates_published")
    assert {key: len(published.rows(key)) for key in published.TABLES} == {"64": 64, "1000": 1000}
    assert sum(begin == 0 for _, begin in published.blocks(10)) == len(published.blocks(10)) == 2
    relu = published.rows("64")[0]
    assert published.activations(relu) == ["relu", "relu", "relu"]
    assert len(published._distinct("64")[id(relu)]) == 5
    assert published._fails("64", relu)  # 85 % on average
    assert not published._fails("64", published.rows("64")[1])
    assert len(published.activations(published.rows("1000")[1])) == 3


def test_the_prediction_is_counted_by_the_majority_of_seeds(benchmarks):
    published = benchmarks("error_rates_published")
    said = {str(i): {"flagged": 5 if i == 0 else 2, "common_mode": [9.0] * 5 if i == 0 else [0.5] * 5} for i in range(2)}
    rates = published.summarise_published({"64": said, "1000": {}})
    assert (rates["table of 64"]["precision"]["count"], rates["table of 64"]["precision"]["of"]) == (1, 1)
    assert "table of 1000" not in rates
    assert [len(stacks) for stacks in rates["ending in relu"].values()] == [0, 1, 0]
    assert "1 of 1 flagged, median common mode 9.0 to 9.0" in published.published_table(rates)


@pytest.mark.parametrize("name", ["corpus_case", "error_rates_judge", "error_rates_table", "error_rates_published"])
def test_its_examples_hold(benchmarks, name):
    found = doctest.testmod(benchmarks(name))
    assert found.attempted > 0
    assert found.failed == 0
