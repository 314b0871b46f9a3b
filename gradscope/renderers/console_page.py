"""The sheet that the console's report is drawn on: its width and what its encoding can show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gradscope.renderers.picture import ASCII, UNICODE, Glyphs


@dataclass(frozen=True)
class Page:
    """Width in columns and encoding of the stream; every text from a report passes through `clean` or `text`."""

    width: int
    encoding: str

    @staticmethod
    def of(console: Console, indent: int) -> Page:
        """Return the page inside `console`, `indent` columns narrower."""
        return Page(console.width - indent, console.encoding)

    @property
    def glyphs(self) -> Glyphs:
        """The characters for pictures."""
        return UNICODE if self.encoding.startswith("utf") else ASCII

    def clean(self, text: str) -> str:
        """Return text that does no harm: no control characters, nothing that the stream cannot encode.

        >>> Page(80, "ascii").clean("z ≤ 0" + chr(27) + "[2J")
        'z ? 0?[2J'
        """
        visible = "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in text)
        return visible.encode(self.encoding, "replace").decode(self.encoding)

    def text(self, text: str, style: str = "") -> Text:
        """Return clean text that is never read as markup."""
        return Text(self.clean(text), style)

    def labelled(self, label: str, style: str, text: Text) -> Table:
        """Return text with a label before it; its further lines hang under the first."""
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row(Text(label, style), text)
        return grid


def fits(widths: Sequence[int], page: Page) -> bool:
    """Tell whether columns of these widths, one blank between two, find room on the page.

    >>> fits([40, 39], Page(80, "utf-8")), fits([40, 40], Page(80, "utf-8"))
    (True, False)
    """
    return sum(widths) + len(widths) - 1 <= page.width
