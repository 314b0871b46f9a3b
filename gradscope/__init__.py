"""gradscope says where the gradient of a PyTorch network dies, why, and which fix works."""

from __future__ import annotations

TYPE_CHECKING = False  # as type checkers know it; importing `typing` for it would cost the command line its start
if TYPE_CHECKING:
    from gradscope.scope import watch

__version__ = "0.1.0"
__all__ = ["__version__", "watch"]


def __getattr__(name: str) -> object:
    """Import what needs torch when it is asked for."""
    if name == "watch":
        import importlib

        return importlib.import_module("gradscope.scope").watch
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
