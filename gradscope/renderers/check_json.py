"""Checks as JSON, for programs: the fields of `gradscope.check_result.CheckResult`."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from gradscope import __version__
from gradscope.check_result import CheckResult

SCHEMA = 1


def render(results: Sequence[CheckResult]) -> str:
    """Return the checks as JSON in ASCII, which every stream takes; numbers that are not finite become null."""
    checks = [_finite(result.model_dump()) for result in results]
    return json.dumps({"schema": SCHEMA, "gradscope": __version__, "results": checks}, indent=2, allow_nan=False) + "\n"


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value
