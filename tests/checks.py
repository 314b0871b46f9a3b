"""Example results of checks for tests of what renders them."""

from __future__ import annotations

from typing import Any

from reports import finding

from gradscope.check_result import CheckedRule, CheckResult, Difference, Place

NAN = float("nan")
NET = "recipes/net.yaml"


def rules(**statuses: str) -> list[CheckedRule]:
    """Three rules, healthy where nothing else is said."""
    known = {"dead_units": "GS101", "output_collapse": "GS103", "saturation": "GS104"}
    return [
        CheckedRule(rule=name.replace("_", "-"), code=code, status=statuses.get(name, "healthy"), text="three records only")
        for name, code in known.items()
    ]


def new_finding(**changes: Any) -> Difference:
    values: dict[str, Any] = {
        "kind": "new finding", "text": "new finding GS103 output-collapse at `3.relu` in 5 of 5 seeds",
        "place": Place(file=NET, line=5, column=31), "rule": "output-collapse", "code": "GS103", "severity": "error",
        "site": "3.relu",
    }  # fmt: skip
    return Difference(**(values | changes))


def number(**changes: Any) -> Difference:
    values: dict[str, Any] = {
        "kind": "number", "text": "`1.relu` closed_frac 0.02 -> 0.41 (tolerance 0.10)", "site": "1.relu",
        "place": Place(file=NET, line=5, column=17), "statistic": "closed_frac", "before": 0.02, "after": 0.41,
        "tolerance": 0.1,
    }  # fmt: skip
    return Difference(**(values | changes))


def healthy(recipe: str = "recipes/healthy.yaml", **changes: Any) -> CheckResult:
    values: dict[str, Any] = {
        "recipe": recipe, "outcome": "as expected", "verdict": "healthy", "rules": rules(), "seeds": [1, 2, 3], "steps": 61,
        "seconds": 0.84, "baseline": "recipes/baselines/healthy.json",
    }  # fmt: skip
    return CheckResult(**(values | changes))


def collapsed(recipe: str = NET, **changes: Any) -> CheckResult:
    """The worked example: a relu behind a sigmoid."""
    values: dict[str, Any] = {
        "outcome": "not as expected", "verdict": "sick", "expected": [], "rules": rules(output_collapse="finding"),
        "differences": [number(), new_finding()], "findings": [finding()], "places": {"3.relu": Place(file=NET, line=5)},
        "try_fix": "batchnorm-last", "baseline": "recipes/baselines/net.json",
    }  # fmt: skip
    return healthy(recipe, **(values | changes))


def bad() -> CheckResult:
    """Two faults with their places, one without."""
    message = (
        "recipes/a:b.yaml:7:18: stack.activations[1]: expected one of relu, tanh, got 'rleu'; did you mean 'relu'?\n"
        "recipes/a:b.yaml:9:1: sedes: expected one of data, stack, got 'sedes'\n"
        "mnist: not found, looked for ./data; --download fetches it"
    )
    return CheckResult(recipe="recipes/a:b.yaml", outcome="bad recipe", message=message)


def unjudged() -> CheckResult:
    """Nothing was seen; one rule lacks data."""
    return CheckResult(
        recipe="recipes/none.yaml", outcome="could not judge", message="no non-linearity was seen: the network has none",
        verdict="undecided", rules=rules(saturation="undecided"), seconds=0.1,
    )  # fmt: skip


def warned() -> CheckResult:
    """As expected, with a warning and a note."""
    missing = Difference(
        kind="baseline missing", text="no baseline; gradscope check --update recipes/warned.yaml writes it", fails=False,
        place=Place(file="recipes/warned.yaml"),
    )  # fmt: skip
    milder = new_finding(
        fails=False, severity="warning", rule="saturation", code="GS104", text="`2.sigmoid` 30 % saturated",
        place=Place(file="recipes/warned.yaml", line=4), site="2.sigmoid",
    )  # fmt: skip
    return healthy("recipes/warned.yaml", baseline=None, differences=[missing, milder], rules=rules(dead_units="undecided"))


NASTY = "100 % of z ≤ 0,\nand: a|b \x1b[31mred\x00 <b>&amp;</b> ]]> ::error::x %0A größe \U0001f642 \ufffe\r\n`code` \u2028 end"


def nasty() -> CheckResult:
    """Everything that one of the formats could trip over."""
    place = Place(file="recipes/größe, a:b 100%|x.yaml", line=3, column=2)
    one = new_finding(text=NASTY, site=NASTY, rule="own|rule, 1:2", code="OWN,1:%", place=place, after=NAN, before=float("inf"))
    found = finding("own|rule, 1:2", "OWN,1:%", NASTY, text=NASTY, cause=NASTY, evidence={"largest": float("inf"), "no": NAN})
    return collapsed(
        place.file, differences=[one, one, number(text="", before=NAN)], findings=[found], try_fix=NASTY, name=NASTY,
        rules=[*rules(saturation="undecided"), CheckedRule(rule="own|rule, 1:2", code="OWN,1:%", status="finding", text=NASTY)],
    )  # fmt: skip


def silent() -> CheckResult:
    """Not as expected without a difference: it must not look like success anywhere."""
    return collapsed("recipes/silent.yaml", differences=[], findings=[])


EXAMPLES = {
    "none": [],
    "healthy": [healthy()],
    "collapsed": [collapsed()],
    "bad": [bad()],
    "unjudged": [unjudged()],
    "warned": [warned()],
    "nasty": [nasty()],
    "silent": [silent()],
    "all": [healthy(), collapsed(), bad(), unjudged(), warned(), nasty(), silent()],
}
FAILING = ("collapsed", "bad", "unjudged", "nasty", "silent")
