"""`gradscope explain`: every rule's page."""

import pytest
from command_line import call

from gradscope.rules import RULES


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_by_its_code_and_by_its_name_in_any_case(rule):
    pages = [call("explain", name) for name in (rule.code, rule.code.lower(), rule.slug, rule.slug.upper(), f" {rule.slug} ")]
    assert {(page.code, page.err) for page in pages} == {(0, "")}
    assert len({page.out for page in pages}) == 1
    out = pages[0].out
    assert out.startswith(f"{rule.code} {rule.slug}\n")
    for heading in ("What it does:", "Why it is bad:", "When it is wrong:", "Fixes:", "Sources:"):
        assert heading in out
    assert all(len(line) <= 128 for line in out.splitlines())


def test_without_a_rule_the_list_of_all():
    done = call("explain")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert [line.split()[:2] for line in lines] == [[rule.code, rule.slug] for rule in RULES]
    assert all(line.endswith(".") for line in lines)


def test_two_rules_are_one_too_many():
    done = call("explain", "GS101", "GS102")
    assert (done.code, done.out) == (2, "")
