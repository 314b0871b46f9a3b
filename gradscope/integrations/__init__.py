"""Callbacks that watch the trainings of other libraries: one module for each, which needs that library."""

from __future__ import annotations

import importlib
import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import gradscope
from gradscope.errors import CannotJudge

_Own = TypeVar("_Own", bound="WatchingCallback")


def class_of(name: str, *libraries: str, extra: str) -> Any:  # noqa: ANN401  its type is known to those only who have it
    """Return a class of the first of some libraries that is there, one that is imported already before others.

    Raises:
        ImportError: none is installed; says which extra brings it.
    """
    for library in sorted(libraries, key=lambda library: library not in sys.modules):
        try:
            return getattr(importlib.import_module(library), name)
        except ModuleNotFoundError as error:
            if error.name not in (library, library.partition(".")[0]):
                raise  # it is there, but lacks something itself
    raise ImportError(
        f"gradscope.integrations.{extra}: expected {' or '.join(libraries)}, found none; install gradscope-torch[{extra}]"
    )


class WatchingCallback:
    """What these callbacks share: the options of `gradscope.watch`, and a scope that is closed sooner or later.

    `scope` is that of the latest training, None before the first. As a context manager it closes the scope at the end of the
    block. Without one, where a library tells no callback that training raised, the scope is closed when the next training
    begins, when the callback is let go of, or when Python ends. Without `log_dir` no files are written.
    """

    def __init__(
        self,
        log_dir: str | Path | None = None,
        *,
        schedule: Callable[[int], bool] | None = None,
        every: int | None = None,
        sites: str | Sequence[str] = (),
        rules: Sequence[Any] | None = None,
        on_finding: Any = "warn",  # noqa: ANN401  a word or a callable
        names: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.scope: Any = None
        self._log_dir = log_dir
        self._options: dict[str, Any] = {"schedule": schedule, "every": every, "sites": sites, "rules": rules}
        self._options |= {"on_finding": on_finding, "names": names}
        self._letting_go: Any = None  # closes an open scope as one that was interrupted

    def __enter__(self: _Own) -> _Own:
        """Return the callback itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the scope, whatever happened."""
        self._end(error)

    @property
    def diagnosis(self) -> Any:  # noqa: ANN401
        """The scope's diagnosis.

        Raises:
            CannotJudge: no training has begun.
        """
        if self.scope is None:
            raise CannotJudge(f"{type(self).__name__}: expected a training that has begun, found none; train first")
        return self.scope.diagnosis

    def close(self) -> None:
        """Close the scope if one is open: no hook is left, what was recorded is kept."""
        self._end(None)

    def _start(self, model: Any, optimizers: Any, *, writes: bool = True) -> None:  # noqa: ANN401  a library's own
        """Watch from now on; of several processes only one writes files."""
        if self._letting_go is not None:
            self._letting_go()
        self.scope = gradscope.watch(model, optimizers, self._log_dir if writes else None, **self._options)
        self._letting_go = weakref.finalize(self, self.scope.__exit__, RuntimeError, None, None)
        self.scope.start()

    def _end(self, error: BaseException | None) -> None:
        if self._letting_go is not None and self._letting_go.detach():
            self.scope.__exit__(error and type(error), error, None)
        self._letting_go = None
