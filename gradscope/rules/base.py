"""What a rule is: the definition of one failure mode over a trace, with its page and its cases."""

from __future__ import annotations

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from gradscope.report import Evidence, Severity
from gradscope.trace import Trace

Flow = Literal["forward", "backward", "weights", "network"]


@dataclass(frozen=True)
class Observation:
    """A failure mode seen in one trace: where, since when, how bad, with which numbers."""

    site: int | None  # position among the trace's sites, None for the network as a whole
    first_step: int
    severity: Severity
    evidence: Evidence
    cause: str
    text: str


@dataclass(frozen=True)
class CannotTell:
    """A rule's answer where a statistic is missing: which one and why.

    `optional` where only the user's own loop could tell and did not have to: that alone makes no verdict undecided.
    """

    reason: str
    optional: bool = False


Judgement = Sequence[Observation] | CannotTell  # an empty sequence is "healthy"


@dataclass(frozen=True)
class Case:
    """A trace that a rule must judge in a known way; `severity` None means healthy, "undecided" that it must not judge."""

    name: str
    trace: Callable[[], Trace]
    severity: Severity | Literal["undecided"] | None
    site: int | None = None
    first_step: int | None = field(default=None)


class Rule(ABC):
    """One failure mode. The docstring of a rule is its page for `gradscope explain`."""

    slug: ClassVar[str]
    code: ClassVar[str]
    flow: ClassVar[Flow]
    """Which way the failure spreads: forward from a layer that no longer depends on the input, backward from a place where
    the gradient is lost, from weights into all that is computed with them later, or a symptom of the whole network."""
    steps_needed: ClassVar[int | None] = None
    """Training steps after which "healthy" may be relied on, and so for how long `gradscope check` trains where the rule is
    expected; None for the whole training. Step 0 alone is 1. Under the default schedule at a batch size of 32 a unit counts as
    dead if it shut by step 30 of 200, or step 60 of 500: the last 300 samples looked at begin there."""
    is_final: ClassVar[bool] = False
    """Whether a finding, once seen, stands however the training goes on, so that it counts after fewer steps, too."""

    @abstractmethod
    def judge(self, trace: Trace) -> Judgement:
        """Return what was seen, nothing for healthy, or why it cannot be told."""

    @classmethod
    @abstractmethod
    def cases(cls) -> Sequence[Case]:
        """Return cases that are healthy and cases that are sick."""

    @classmethod
    def page(cls) -> str:
        """Return the rule's page."""
        return f"{cls.code} {cls.slug}\n\n{inspect.cleandoc(cls.__doc__ or '')}\n"

    @classmethod
    def remedies(cls) -> str:
        """Return what the page names under Fixes, on one line; empty where it names none."""
        found = re.search(r"^ *Fixes:\n((?: +\S.*\n?)+)", cls.page(), re.MULTILINE)
        return " ".join(found[1].split()).rstrip(".") if found else ""
