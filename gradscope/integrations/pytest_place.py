"""Which test a check belongs to: where it stands, where its baseline lies, and what of the user's own failed in it."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from gradscope.check_result import Place
from gradscope.errors import GradscopeError
from gradscope.integrations.pytest_names import baseline_path
from gradscope_pytest import TOLD, WRITTEN


@dataclass(frozen=True)
class TestPlace:
    """A check in a test."""

    __test__ = False  # pytest takes what is called Test... for one of the user's

    name: str
    """The test's, with its classes and parameters, and that of the check."""
    place: Place
    folder: Path
    """The test file's."""
    baseline: Path
    is_update: bool
    root: Path
    """Where pytest's configuration lies."""
    note: Callable[[str, str], None]
    """Adds to what pytest reports of the test."""

    def shown(self, path: Path) -> str:
        """Return a path as it is told."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)

    def note_written(self, baseline: Path) -> None:
        """Have a baseline listed at the end."""
        self.note(WRITTEN, self.shown(baseline))

    def note_told(self, text: str) -> None:
        """Have something told at the end that fails no check."""
        self.note(TOLD, f"{self.place.file}::{self.name}: {text}")

    def found(self, path: Path) -> Path:
        """Return a file that a test names: beside it, or below pytest's root, or where pytest was started."""
        places = [folder / path for folder in (self.folder, self.root)]
        return next((place for place in places if place.is_file()), path)

    @staticmethod
    def of(request: pytest.FixtureRequest, name: str | None, counts: Counter[str | None]) -> TestPlace:
        """Return the place of the next check in a test; `counts` those that it had, by their names."""
        node: Any = request.node  # with a fixture of one test, its item
        file, number = Path(node.path), counts[name]
        counts[name] += 1
        classes = [part.name for part in node.listchain() if isinstance(part, pytest.Class)]
        test = ".".join([*classes, node.name])
        root = request.config.rootpath
        shown = file.relative_to(root).as_posix() if file.is_relative_to(root) else str(file)
        return TestPlace(
            name=test if name is None else f"{test}: {name}",
            place=Place(file=shown, line=_line(file, node)),
            folder=file.parent,
            baseline=baseline_path(file, test, name, number),
            is_update=bool(request.config.getoption("gradscope_update")),
            root=root,
            note=lambda key, value: node.user_properties.append((key, value)),
        )


def _line(file: Path, node: Any) -> int:  # noqa: ANN401
    """Return the line of the test file that called, that of the test where a file beside it did."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename != str(file):
        frame = frame.f_back
    return frame.f_lineno if frame is not None else (node.location[1] or 0) + 1


def explained(error: GradscopeError) -> str:
    """Return an error in one line, with the line of the user's own code that raised what it came from."""
    text = "; ".join(filter(None, map(str.strip, str(error).splitlines())))
    step = error.__cause__.__traceback__ if error.__cause__ else None
    found = ""
    while step is not None:
        code = step.tb_frame.f_code
        if _is_users(code.co_filename):
            found = f" ({Path(code.co_filename).name}:{step.tb_lineno} in {code.co_name})"
        step = step.tb_next
    return f"{text}{found}"


def _is_users(file: str) -> bool:
    torch = getattr(sys.modules.get("torch"), "__file__", None)
    folders = [str(Path(__file__).parents[1]), *([os.path.dirname(torch)] if torch else [])]
    is_library = any(file.startswith(f"{folder}{os.sep}") for folder in folders) or f"{os.sep}site-packages{os.sep}" in file
    return not is_library and not file.startswith("<")
