"""Objects of the user's own that a recipe names as `package.module:name`.

Running code that a file names is the user's decision: without permission nothing is imported.
"""

from __future__ import annotations

import hashlib
import importlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gradscope.errors import CodeError, GradscopeError

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
    what = f"{prefix}'{text}' cannot be loaded"
    with running_user_code(what):
        try:
            found: object = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
                raise  # it is there, and imports what is not
            hint = "run gradscope from the folder that holds it, or put that on PYTHONPATH"
            raise CodeError(f"{what}: no module named '{error.name}' here; {hint}") from error
        for part in path.split("."):
            found = getattr(found, part)
    return found


def code_digest(text: str, *, allowed: bool, where: str = "") -> str:
    """Return a hash of the files of `package.module:name`: the module that is named, and the one that defines the object.

    Code that these import is not in it.

    Raises:
        CodeError: it cannot be loaded, see `load_reference`.
    """
    found = load_reference(text, allowed=allowed, where=where)
    modules = dict.fromkeys([text.partition(":")[0], str(getattr(found, "__module__", ""))])
    files = [getattr(sys.modules.get(module), "__file__", None) for module in modules]
    digest = hashlib.sha256()
    for file in dict.fromkeys(file for file in files if file):
        with suppress(OSError):  # a module in a zip file, or one that is gone
            digest.update(Path(file).read_bytes())
    return digest.hexdigest()


@contextmanager
def running_user_code(what: str) -> Iterator[None]:
    """Turn whatever the user's code raises in the block into one line that begins with `what`.

    Raises:
        CodeError: the block raised.
    """
    try:
        yield
    except GradscopeError:
        raise
    except (Exception, SystemExit) as error:  # a script's own sys.exit must not be taken for gradscope's
        text = " ".join(str(error).split())[:400]
        raise CodeError(f"{what}: {type(error).__name__}{': ' if text else ''}{text}") from error
