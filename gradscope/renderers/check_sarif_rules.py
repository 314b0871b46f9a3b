"""The rules as SARIF describes them: their help is the page of `gradscope explain`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import Any

from gradscope.renderers.check_problems import BAD_RECIPE, COULD_NOT_JUDGE, NOT_AS_EXPECTED, Problem
from gradscope.renderers.markdown import plain
from gradscope.rules import RULES, Rule

Json = dict[str, Any]

# What is not about one rule, by the kind of the difference.
OTHERS = {
    "verdict": "The verdict is another than expected.",
    "finding expected": "A finding that the recipe expects does not stand.",
    "new finding": "A finding stands that neither the recipe nor its baseline expects.",
    "finding gone": "A finding of the baseline is gone.",
    "number": "A number lies outside the baseline's tolerance.",
    "baseline missing": "The recipe has no baseline; `gradscope check --update` writes it.",
    "undecided": "A rule could not judge.",
    BAD_RECIPE: "The recipe cannot be used; `gradscope validate` names every fault.",
    COULD_NOT_JUDGE: "The recipe could not be judged.",
    NOT_AS_EXPECTED: "The recipe's training is not as expected.",
}


def descriptors(found: Sequence[Problem]) -> list[Json]:
    """Return all rules, the other kinds of problems, and rules of third parties among those found."""
    known = [_rule(rule) for rule in RULES] + [_other(kind, text) for kind, text in OTHERS.items()]
    ids = {rule["id"] for rule in known}
    foreign = {problem.id: problem.rule or problem.id for problem in found if problem.id not in ids}
    return known + [
        _descriptor(code, name, name, f"Rule {name} is not one of gradscope's own.") for code, name in foreign.items()
    ]


def _rule(rule: type[Rule]) -> Json:
    title, _, body = inspect.cleandoc(rule.__doc__ or "").partition("\n")
    found = _descriptor(rule.code, rule.slug, title, rule.page())
    found["help"]["markdown"] = _markdown(body)
    return found


def _other(kind: str, text: str) -> Json:
    return _descriptor(kind.replace(" ", "-"), kind, text, text)


def _descriptor(code: str, name: str, title: str, page: str) -> Json:
    """Return a rule's description: code hosts want both descriptions and the help."""
    texts = {"shortDescription": {"text": title}, "fullDescription": {"text": title}, "help": {"text": page}}
    return {"id": code, "name": name, **texts, "defaultConfiguration": {"level": "error"}}


def _markdown(page: str) -> str:
    """Return the sections of a rule's page as Markdown: their headings bold, their paragraphs on one line each."""
    blocks = []
    for section in re.split(r"\n\s*\n", page.strip()):
        heading, _, body = section.partition("\n")
        text = plain(" ".join(inspect.cleandoc(body).split()))
        blocks.append(f"**{plain(heading.strip().rstrip(':'))}**\n\n{text}" if body else plain(" ".join(section.split())))
    return "\n\n".join(blocks) + "\n"
