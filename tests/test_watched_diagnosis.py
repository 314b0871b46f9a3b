"""What a notebook shows of a watched training."""

from __future__ import annotations

import pytest
import reports

from gradscope.watched_diagnosis import WatchedDiagnosis


@pytest.mark.parametrize("name", ["watched", "watched_healthy", "watched_undecided"])
def test_a_notebook_shows_html_without_a_script(name: str) -> None:
    report = getattr(reports, name)()
    shown = WatchedDiagnosis(report)._repr_html_()
    assert report.verdict.upper() in shown
    assert all(finding.rule in shown for finding in report.findings)
    assert "<script" not in shown
    assert "http" not in shown


def test_names_in_a_notebook_are_text() -> None:
    report = reports.watched()
    finding = report.findings[0].model_copy(update={"site": "<script>alert(1)</script>"})
    shown = WatchedDiagnosis(report.model_copy(update={"findings": [finding]}))._repr_html_()
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown
