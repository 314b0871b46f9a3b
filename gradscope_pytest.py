"""pytest's way into gradscope: an option, a marker and the fixture `gradscope_check`.

pytest imports this module at every start, so it imports nothing but pytest; torch comes in when a test calls the fixture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

# Names of a report's user properties, which reach the main process from xdist's workers, too.
WRITTEN, TOLD = "gradscope_baseline", "gradscope_note"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --gradscope-update."""
    text = "write or renew the baselines of gradscope_check instead of comparing with them"
    parser.getgroup("gradscope").addoption("--gradscope-update", action="store_true", help=text)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    text = "gradscope(steps=..., seeds=..., expect=..., ...): defaults of gradscope_check in this test; see docs/pytest.md"
    config.addinivalue_line("markers", text)


@pytest.fixture
def gradscope_check(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """A function (model, data=(x, y)) that trains for some steps and fails unless the gradients are healthy."""
    from gradscope.integrations.pytest_fixture import checker

    return checker(request)


def pytest_terminal_summary(terminalreporter: Any) -> None:  # noqa: ANN401  pytest does not export its type
    """Say which baselines were written, and what else there is to know of checks that passed."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    properties = [pair for report in reports for pair in getattr(report, "user_properties", ())]
    for key, title in ((WRITTEN, "gradscope baselines written"), (TOLD, "gradscope notes")):
        lines = sorted({str(text) for name, text in properties if name == key})
        if lines:
            terminalreporter.section(title)
            for line in lines:
                terminalreporter.line(line)
