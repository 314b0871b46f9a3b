"""What every renderer is: a report in, a text out."""

from __future__ import annotations

from abc import ABC, abstractmethod

from gradscope.report import Report


class Renderer(ABC):
    """Turns a report into text. A new one is one file with one final subclass, listed in `gradscope.renderers.FORMATS`."""

    @abstractmethod
    def render(self, report: Report) -> str:
        """Return the report as text that ends with a newline."""
