"""What is said of a fix that is better in each run and not proved: what is open, and that it is worth a try."""

from __future__ import annotations

import reports

from gradscope.renderers.verdict import remedy
from gradscope.renderers.wording import left_open
from gradscope.report import FixOutcome

CONTROL = [0.6, 0.61, 0.6, 0.59, 0.6]


def better(**changes: object) -> FixOutcome:
    told = {"verdict": "inconclusive", "differs": True, "better_in": 5, "failed": 0, "failed_up_to": 0.52}
    told |= {"undone_by": 0.41, "control_mean": 0.6}
    return reports.fix("he-init", [0.95] * 5, CONTROL, (-0.1, 0.5), **(told | changes))


def test_a_fix_worth_a_try_is_told_with_what_would_undo_it() -> None:
    text = remedy(reports.sick(fixes=[better()], recommended="he-init"))
    assert text is not None
    assert text.startswith("to try: he-init, accuracy ")
    assert "0.60 -> 0.95, +0.35 [-0.10, 0.50], better in 5 of 5 seeds" in text
    assert text.endswith("not proven on average: 0 of its 5 runs failed, so that up to 52 % may, and 41 % would undo the gain")


def test_what_is_proved_is_not_said_to_be_open() -> None:
    works = better(verdict="works", undone_by=0.95)
    assert left_open(works) == ""
    text = remedy(reports.sick(fixes=[works], recommended="he-init"))
    assert text is not None
    assert text.startswith("he-init helps: ")
    assert "not proven" not in text


def test_only_failures_that_could_undo_it_are_named() -> None:
    assert left_open(better(undone_by=0.6)) == ""
    assert left_open(better(differs=False)) == left_open(better(undone_by=None)) == ""
    text = remedy(reports.sick(fixes=[better(undone_by=0.6)], recommended="he-init"))
    assert text is not None
    assert text.endswith("; not proven")
