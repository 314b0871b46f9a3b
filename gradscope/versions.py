"""The versions that the numbers of a run depend on."""

from __future__ import annotations

import platform

import numpy as np
import torch

from gradscope import __version__


def versions() -> dict[str, str]:
    """Return them by name."""
    return {"gradscope": __version__, "torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version()}
