"""The report as the text of report.json, for programs."""

from __future__ import annotations

import re
from typing import final

from gradscope.renderers.base import Renderer
from gradscope.report import Report


@final
class JsonRenderer(Renderer):
    """Writes report.json; with `ascii_only`, every other character as a JSON escape, for streams that take no more."""

    def __init__(self, *, ascii_only: bool = False) -> None:
        self.ascii_only = ascii_only

    def render(self, report: Report) -> str:
        """Return the text of report.json."""
        text = report.to_json() + "\n"
        return re.sub(r"[^\x00-\x7f]", _escape, text) if self.ascii_only else text


def _escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
