"""The errors that gradscope raises on purpose.

Each message is one line (or one line per fault) that says where, what was expected, what was found and what to do.
Only `gradscope.cli` turns them into exit codes.
"""

from __future__ import annotations


class GradscopeError(Exception):
    """Base of every error that a user can cause or must act on."""


class RecipeError(GradscopeError, ValueError):
    """A recipe that cannot be used; `faults` holds one line for each fault found in it."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = list(faults)
        super().__init__("\n".join(self.faults))

    def __reduce__(self) -> tuple[type[RecipeError], tuple[list[str]]]:
        return type(self), (self.faults,)  # what arrives in another process has its faults, too


class DataError(GradscopeError, ValueError):
    """Samples that are absent, unreadable or unfit for the recipe."""


class CodeError(GradscopeError, ValueError):
    """User code named by a recipe (`package.module:callable`) that may not be run, cannot be found or fails."""


class TraceError(GradscopeError, ValueError):
    """A trace or report file that cannot be read: wrong magic, newer version, truncated, inconsistent."""


class BaselineError(GradscopeError, ValueError):
    """A baseline that cannot be read: damaged, something else, or of a newer version, which nobody may overwrite."""

    is_newer = False


class WriteError(GradscopeError, OSError):
    """A run folder that cannot be written: no permission, disk full; `report` is what there is to show all the same."""

    report: object = None


class EngineError(GradscopeError, RuntimeError):
    """What a sweep's networks are to be trained on is not installed, or cannot be reached."""


class CannotJudge(GradscopeError, RuntimeError):
    """Nothing was recorded that a verdict could stand on."""


class FixError(GradscopeError, ValueError):
    """A fix that cannot be applied to a model: there is none of that name, or the model has nothing that it could change."""


class WatchError(GradscopeError, TypeError):
    """`gradscope.watch` was given something that it cannot watch."""


class FindingError(GradscopeError, RuntimeError):
    """An error finding, where the user asked for an exception: `gradscope.watch(..., on_finding="raise")`."""


class GradscopeWarning(UserWarning):
    """An error finding in a watched training."""
