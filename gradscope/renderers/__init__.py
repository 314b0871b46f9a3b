"""The ways to look at a report. Each is imported when it is asked for: JSON does not pay for rich."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradscope.renderers.base import Renderer

FORMATS = {
    "text": "gradscope.renderers.console:ConsoleRenderer",
    "json": "gradscope.renderers.json:JsonRenderer",
    "markdown": "gradscope.renderers.markdown:MarkdownRenderer",
}


def load_renderer(name: str) -> type[Renderer]:
    """Return the renderer class of the format `name`, one of `FORMATS`.

    >>> load_renderer("json").__name__
    'JsonRenderer'
    """
    from gradscope.renderers.base import Renderer

    module, _, attribute = FORMATS[name].partition(":")
    found: type = getattr(importlib.import_module(module), attribute)
    assert issubclass(found, Renderer)
    return found
