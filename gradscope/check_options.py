"""How recipes are checked; apart from what checks them, which needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gradscope.check_standing import SHARE


@dataclass(frozen=True)
class CheckOptions:
    """How recipes are checked; the same for all of a call."""

    fast: bool = False
    seeds: int | Sequence[int] | None = None
    share: float = SHARE
    steps: int | None = None
    """Instead of what the rules need; rules that need more are left out."""
    update: bool = False
    strict: bool = False
    device: str | None = None
    data_dir: Path | None = None
    download: bool = False
    allow_code: bool = False
