"""Checks as SARIF 2.1.0, the format that code hosts read findings of static analysis from.

Source: OASIS, Static Analysis Results Interchange Format (SARIF) Version 2.1.0, 2020; section numbers are its own.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from gradscope import __version__
from gradscope.check_result import CheckResult
from gradscope.renderers.check_paths import in_repository
from gradscope.renderers.check_problems import BAD_RECIPE, COULD_NOT_JUDGE, Problem, problems
from gradscope.renderers.check_sarif_rules import Json, descriptors

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
ROOT = "%SRCROOT%"  # by convention the repository's root, 3.4.4
FINGERPRINT = "gradscopeCheck/v1"


def render(results: Sequence[CheckResult], root: Path) -> str:
    """Return the checks as one SARIF run, in ASCII; errors and warnings, not notes. Paths are relative to `root`.

    A result's fingerprint is made from recipe, rule, site and statistic: it stays when lines move and numbers change, so that a
    code host recognises an alert that it has seen.
    """
    found = [(result, problem) for result in results for problem in problems(result) if problem.level != "note"]
    rules = descriptors([problem for _, problem in found])
    indices = {rule["id"]: i for i, rule in enumerate(rules)}
    fingerprints = _fingerprints(found, root)
    run = {
        "tool": {"driver": {"name": "gradscope", "version": __version__, "rules": rules}},
        "invocations": [{"executionSuccessful": all(r.outcome not in (BAD_RECIPE, COULD_NOT_JUDGE) for r in results)}],
        "columnKind": "unicodeCodePoints",
        "results": [
            _result(problem, indices[problem.id], fingerprint, root)
            for (_, problem), fingerprint in zip(found, fingerprints, strict=True)
        ],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, allow_nan=False) + "\n"


def _result(problem: Problem, index: int, fingerprint: str, root: Path) -> Json:
    region = {"startLine": problem.place.line, "startColumn": problem.place.column}
    location: Json = {"physicalLocation": {"artifactLocation": _artifact(problem.place.file, root), "region": region}}
    if problem.site:
        location["logicalLocations"] = [{"name": problem.site, "fullyQualifiedName": problem.site, "kind": "module"}]
    return {
        "ruleId": problem.id,
        "ruleIndex": index,
        "level": problem.level,
        "message": {"text": "\n".join([problem.headed_text, *problem.details])},
        "locations": [location],
        "partialFingerprints": {FINGERPRINT: fingerprint},
    }


def _artifact(file: str, root: Path) -> Json:
    inside = in_repository(file, root)
    if inside is None:
        return {"uri": Path(file).absolute().as_uri()}
    return {"uri": quote(os.fsencode(inside)), "uriBaseId": ROOT}  # a file's name may be in another encoding


def _fingerprints(found: Sequence[tuple[CheckResult, Problem]], root: Path) -> Iterator[str]:
    """Yield a digest for each problem; those that differ in nothing but their line are counted."""
    seen: Counter[str] = Counter()
    for result, problem in found:
        key = f"{in_repository(result.recipe, root) or result.recipe}\n{problem.key}"
        digest = hashlib.sha256(f"{key}\n{seen[key]}".encode("utf-8", "surrogatepass")).hexdigest()
        seen[key] += 1
        yield digest[:32]
