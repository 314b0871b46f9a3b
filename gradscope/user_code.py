"""Objects of the user's own that a recipe names as `package.module:name`.

Running code that a file names is the user's decision: without permission nothing is imported.
"""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

from gradscope.errors import CodeError

PATTERN = re.compile(r"[A-Za-z_][\w]*(\.[A-Za-z_][\w]*)*:[A-Za-z_][\w]*(\.[A-Za-z_][\w]*)*")


def is_reference(text: str) -> bool:
    """Tell whether `text` has the form `package.module:name`.

    >>> is_reference("mine.nets:build"), is_reference("relu"), is_reference("mine:")
    (True, False, False)
    """
    return PATTERN.fullmatch(text) is not None


def load_reference(text: str, *, allowed: bool, where: str = "") -> object:
    """Import the module of `package.module:name` and return the object; the working directory is searched too.

    Raises:
        CodeError: not allowed, not of that form, or the import or the look-up fails.
    """
    prefix = f"{where}: " if where else ""
    if not is_reference(text):
        raise CodeError(f"{prefix}expected package.module:name, got '{text}'")
    if not allowed:
        raise CodeError(f"{prefix}'{text}' runs code of its own; read it, then add --allow-code")
    module_name, _, path = text.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: object = importlib.import_module(module_name)
        for part in path.split("."):
            found = getattr(found, part)
    except Exception as error:  # whatever the user's module raises while it is imported
        text_of_error = " ".join(str(error).split()) or type(error).__name__
        raise CodeError(f"{prefix}'{text}' cannot be loaded: {type(error).__name__}: {text_of_error}") from error
    return found
