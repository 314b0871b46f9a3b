"""Where the baseline of a check in a test is kept: `baselines/<test file>/<test>.json` beside the test file."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

LONGEST = 100  # characters: with a folder in front of it, every file system takes that


def baseline_path(file: Path, test: str, name: str | None, number: int) -> Path:
    """Return the path of a baseline.

    Args:
        file: the test file.
        test: the test's name, with its classes and parameters.
        name: of the check, where the test gave one.
        number: how many checks of that name the test had before it.

    >>> baseline_path(Path("tests/test_a.py"), "TestNet.test_b[relu-3]", None, 1).as_posix()
    'tests/baselines/test_a/TestNet.test_b[relu-3]-2.json'
    """
    text = test if name is None else f"{test}-{name}"
    return file.parent / "baselines" / file.stem / f"{safe(text if not number else f'{text}-{number + 1}')}.json"


def safe(name: str) -> str:
    """Return a name that every file system takes; a mark of the whole one is added where it had to be changed.

    >>> safe("test_b[relu-3]")
    'test_b[relu-3]'
    >>> safe("test_b[a/b]"), safe("test_b[a:b]")
    ('test_b[a-b]-f3ab8f', 'test_b[a-b]-4f2de0')
    """
    kept = re.sub(r"[^\w.\[\]+=,-]", "-", name, flags=re.ASCII)[:LONGEST]
    if kept == name:
        return name
    return f"{kept}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:6]}"
