"""gradscope says where the gradient of a PyTorch network dies, why, and which fix works."""

from __future__ import annotations

TYPE_CHECKING = False  # as type checkers know it; importing `typing` for it would cost the command line its start
if TYPE_CHECKING:
    from gradscope.scope import watch
    from gradscope.surgery import apply_fix

__version__ = "0.1.0"
__all__ = ["__version__", "apply_fix", "watch"]


def __getattr__(name: str) -> object:
    """Import what needs torch when it is asked for."""
    places = {"watch": "gradscope.scope", "apply_fix": "gradscope.surgery"}
    if name in places:
        import importlib

        return getattr(importlib.import_module(places[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
