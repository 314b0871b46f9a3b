"""Checks as JUnit XML, which most build servers read: one suite a recipe, one case a rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from xml.etree import ElementTree as Xml

from gradscope.check_result import CheckedRule, CheckResult
from gradscope.renderers.check_problems import BAD_RECIPE, COULD_NOT_JUDGE, Problem, clean, problems

HEADER = '<?xml version="1.0" encoding="utf-8"?>\n'
WHOLE = "verdict"  # the case of what is about no one rule
BASELINE = "baseline"
BASELINE_KINDS = ("number", "baseline missing")


def render(results: Sequence[CheckResult]) -> str:
    """Return the checks as XML in ASCII, other characters as references.

    A rule whose difference fails the check is a failure, one that could not judge is skipped, a bad recipe and one that could
    not be judged are errors; what is told only stands in a case's output. Cases have the same names in every run, so that a
    server's history shows since when one fails.
    """
    suites = [_suite(result) for result in results]
    whole = Xml.Element("testsuites", {"name": "gradscope check", **_counts(suites)})
    whole.extend(suites)
    Xml.indent(whole)
    text: str = Xml.tostring(whole, encoding="unicode").encode("ascii", "xmlcharrefreplace").decode("ascii")
    return f"{HEADER}{text}\n"


def _suite(result: CheckResult) -> Xml.Element:
    cases = list(_cases(result))
    tags = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    counts = {name: sum(case.find(tag) is not None for case in cases) for name, tag in tags.items()}
    numbers = {name: str(count) for name, count in {"tests": len(cases), **counts}.items()}
    suite = Xml.Element("testsuite", {"name": clean(result.recipe), **numbers, "time": f"{result.seconds:.3f}"})
    suite.extend(cases)
    return suite


def _counts(suites: Sequence[Xml.Element]) -> dict[str, str]:
    names = ("tests", "failures", "errors", "skipped")
    times = sum(float(suite.get("time", "0")) for suite in suites)
    return {name: str(sum(int(suite.get(name, "0")) for suite in suites)) for name in names} | {"time": f"{times:.3f}"}


def _cases(result: CheckResult) -> Iterator[Xml.Element]:
    """Yield the case of the whole recipe, that of its baseline, then each rule's."""
    groups: dict[str, list[Problem]] = {WHOLE: []}
    if result.baseline:
        groups[BASELINE] = []
    names = {rule.rule: f"{rule.code} {rule.rule}" for rule in result.rules}
    groups |= {name: [] for name in names.values()}
    for problem in problems(result):
        groups.setdefault(_case_of(problem, names), []).append(problem)
    undecided = {names[rule.rule]: rule for rule in result.rules if rule.status == "undecided"}
    for name, found in groups.items():
        yield _case(result, name, found, undecided.get(name))


def _case(result: CheckResult, name: str, found: Sequence[Problem], undecided: CheckedRule | None) -> Xml.Element:
    time = {"time": f"{result.seconds:.3f}"} if name == WHOLE else {}  # the rules are judged together
    case = Xml.Element("testcase", {"classname": clean(result.recipe), "name": clean(name), **time})
    errors = [problem for problem in found if problem.level == "error"]
    if errors:
        tag = "error" if errors[0].kind in (BAD_RECIPE, COULD_NOT_JUDGE) else "failure"
        Xml.SubElement(case, tag, {"message": errors[0].headed_text, "type": errors[0].id}).text = _text(errors)
    elif undecided:
        Xml.SubElement(case, "skipped", {"message": clean(undecided.text) or "undecided"})
    told = [problem for problem in found if problem.level != "error"]
    if told:
        Xml.SubElement(case, "system-out").text = _text(told)
    return case


def _case_of(problem: Problem, names: Mapping[str, str]) -> str:
    if problem.rule:
        return names.get(problem.rule) or " ".join(filter(None, (problem.code, problem.rule)))
    return BASELINE if problem.kind in BASELINE_KINDS else WHOLE


def _text(found: Sequence[Problem]) -> str:
    """Return the problems in full, each with its place."""
    lines = []
    for problem in found:
        place = f"{clean(problem.place.file)}:{problem.place.line}:{problem.place.column}"
        lines += [f"{place}: {problem.level}: {problem.headed_text}", *(f"    {detail}" for detail in problem.details)]
    return "\n".join(lines)
