"""Where a file stands in its repository, as code hosts name it."""

from __future__ import annotations

import os
from pathlib import Path


def in_repository(file: str, root: Path) -> str | None:
    """Return the path from `root`, with forward slashes; None for a file outside of it.

    >>> in_repository("/home/me/net/recipes/a.yaml", Path("/home/me/net"))
    'recipes/a.yaml'
    >>> in_repository("/elsewhere/a.yaml", Path("/home/me/net"))
    """
    for resolve in (os.path.abspath, os.path.realpath):  # as it is named; else where links lead
        try:
            return Path(resolve(file)).relative_to(resolve(root)).as_posix()
        except ValueError:
            continue
    return None
