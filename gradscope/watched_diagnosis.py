"""What `scope.diagnosis` is: a report to be printed, shown in a notebook, or looked into."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradscope.report import Coverage, Finding, Report, Undecided, Verdict


@dataclass(frozen=True)
class WatchedDiagnosis:
    """What the rules say of a watched training. `print` shows it as the command line does."""

    report: Report
    folder: Path | None = None

    @property
    def verdict(self) -> Verdict:
        """Sick where an error finding stands, undecided where too little was seen to judge, else healthy."""
        return self.report.verdict

    @property
    def findings(self) -> list[Finding]:
        """What was found, origins before victims."""
        return self.report.findings

    @property
    def undecided(self) -> list[Undecided]:
        """The rules that could not judge, with the reason."""
        return self.report.undecided

    @property
    def coverage(self) -> Coverage:
        """What was seen of the model, and what could not be seen."""
        return self.report.coverage

    def to_dict(self) -> dict[str, Any]:
        """Return the content of report.json; numbers that are not finite are None."""
        content: dict[str, Any] = json.loads(self.report.to_json())
        return content

    def __str__(self) -> str:
        """Return the report as plain text, 100 columns wide."""
        state = random.getstate()
        from gradscope.renderers.console import ConsoleRenderer  # rich, which draws a random number when it is imported

        random.setstate(state)
        return ConsoleRenderer(100, run_folder=self.folder).render(self.report)

    def _repr_html_(self) -> str:
        """Return the report as a notebook shows it: without a script, so that one that is shared shows it as well."""
        from gradscope.renderers.html_summary import html_summary

        return html_summary(self.report)

    def _repr_markdown_(self) -> str:
        """Return the report for where a notebook shows no HTML."""
        from gradscope.renderers.markdown import MarkdownRenderer

        return MarkdownRenderer().render(self.report)
