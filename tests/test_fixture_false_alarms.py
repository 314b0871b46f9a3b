"""The benchmark of the pytest fixture checks what it says, and counts right."""

import pytest
from command_line import ROOT


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import fixture_false_alarms

    return fixture_false_alarms


def test_it_has_models_of_each_kind_under_names_of_their_own(benchmark):
    cases = benchmark.cases()
    assert {case.kind for case in cases} == {"healthy", "sick", "edge"}
    assert len({case.name for case in cases}) == len(cases)
    assert all(bool(case.expected) is (case.kind == "sick") for case in cases)


@pytest.mark.parametrize(("name", "way", "failed"), [("relu layers", "module", 0), ("first layer shut", "function", 1)])
def test_a_check_is_counted(benchmark, name, way, failed):
    [case] = [case for case in benchmark.cases() if case.name == name]
    result = benchmark.measured(case, way, 1)
    assert (result["failed"], result["wrong"]) == (failed, 0)
    assert result["named"] == (1 if failed else None)
    assert f"{failed} of 1 fail" in benchmark.line(result)
    assert ("dead-layer" in result["found"]) is bool(failed)
    kind = "misses" if failed else "false alarms"
    assert benchmark.totals([result]) == [f"{kind}, {way}: 0 of 1, so at most 95 % with 95 % confidence"]


def test_the_bound_is_the_rule_of_three(benchmark):
    assert benchmark.largest_share(0, 200) == pytest.approx(1 - 0.05 ** (1 / 200))
    assert benchmark.largest_share(1, 200) == pytest.approx(0.0235, abs=1e-4)
