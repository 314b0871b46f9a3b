"""gradscope says where the gradient of a PyTorch network dies, why, and which fix works."""

from __future__ import annotations

__version__ = "0.1.0"
