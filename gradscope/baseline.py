"""Baselines: what a recipe, or a tested model, showed when somebody was content with it, in a file beside it.

The file has sorted keys and rounded numbers, a number a line, so that a change of it can be read. Versions are written down
for the reader and never compared. Nothing here needs torch.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from gradscope import __version__
from gradscope.baseline_numbers import NETWORK, Numbers, at_end, at_start, measure, resolutions_of, stable_names
from gradscope.check_result import Difference, Place
from gradscope.check_standing import Standing, seeds_needed
from gradscope.diagnosis import SEVERITIES
from gradscope.errors import BaselineError, WriteError
from gradscope.report import Severity, Verdict
from gradscope.rules import RULES, Rule
from gradscope.saved_data import SavedPart
from gradscope.trace import Trace

SCHEMA = 1
FOLDER = "baselines"
SEEDS_APART = 2
"""Seeds by which a finding's count must differ beside crossing the share: one seed at the edge is turned by rounding."""

Places = Callable[[str | None], Place]


class SeenFinding(SavedPart):
    """A failure mode at a site: in how many seeds it is at least so severe."""

    rule: str
    code: str
    site: str | None
    seeds: dict[Severity, int]


class Baseline(SavedPart):
    """What one check saw."""

    schema_: int = Field(default=SCHEMA, alias="schema")
    gradscope: str = __version__
    recipe: str
    verdict: Verdict
    share: float = Field(gt=0, le=1)
    seeds: list[int] = Field(min_length=1)
    steps: int
    rules: list[str]
    """Those that could be relied on after so many steps; findings of others are not compared."""
    findings: list[SeenFinding]
    start: Numbers
    end: Numbers
    versions: dict[str, str] = {}
    names: dict[str, str] = Field(default={}, exclude=True)
    """Of the sites, as they are called now where that differs."""


def baseline_path(file: Path) -> Path:
    """Return where the baseline of a recipe (or of a test's file) lies.

    >>> baseline_path(Path("recipes/healthy.yaml")).as_posix()
    'recipes/baselines/healthy.json'
    """
    return file.parent / FOLDER / f"{file.stem}.json"


def baseline_of(
    traces: Sequence[Trace],
    standing: Standing,
    *,
    name: str,
    steps: int,
    rules: Sequence[type[Rule]],
    versions: Mapping[str, str] | None = None,
) -> Baseline:
    """Return the baseline that the traces of one arm, one for each seed, make.

    Args:
        traces: what was recorded.
        standing: what the rules say of them.
        name: the recipe's, or the test's.
        steps: how long was trained.
        rules: those that may be relied on after so many steps.
        versions: of what it was made with.
    """
    start, end = measure(at_start(traces), at_end(traces), resolutions_of(traces))
    names = _names(traces)
    codes = {finding.rule: finding.code for finding in standing.whole.findings}
    found = [
        SeenFinding(rule=rule, code=codes[rule], site=names.get(site, site) if site else None, seeds=dict(levels))
        for (rule, site), levels in standing.by_site().items()
    ]
    return Baseline(
        recipe=name,
        verdict=standing.verdict,
        share=standing.share,
        seeds=list(standing.seeds),
        steps=steps,
        rules=[rule.slug for rule in rules],
        findings=sorted(found, key=lambda finding: (finding.code, finding.site or "")),
        start=start,
        end=end,
        versions=dict(versions or {}),
        names={stable: site for site, stable in names.items()},
    )


def _names(traces: Sequence[Trace]) -> dict[str, str]:
    """Return each site's name in a baseline; seeds may have found them in an order of their own."""
    names: dict[str, str] = {}
    for trace in traces:
        names |= dict(zip([site.name for site in trace.sites], stable_names([trace]), strict=True))
    return names


def load_baseline(path: Path) -> Baseline:
    """Read a baseline.

    Raises:
        BaselineError: it cannot be read, is damaged, something else, or of a newer gradscope.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BaselineError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        text = " ".join(str(error).split())
        raise BaselineError(
            f"{path}: expected a baseline in JSON, got something else: {text}; --update writes it anew"
        ) from error
    found = data.get("schema") if isinstance(data, dict) else None
    if not isinstance(found, int) or "findings" not in data or "end" not in data:
        raise BaselineError(f"{path}: expected a gradscope baseline, got another JSON file; --update writes one")
    if found > SCHEMA:
        newer = BaselineError(f"{path}: written with schema {found}, this gradscope reads up to {SCHEMA}; update gradscope")
        newer.is_newer = True
        raise newer
    try:
        return Baseline.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise BaselineError(
            f"{path}: {key}: {first['msg']}; the file is damaged or was edited, --update writes it anew"
        ) from error


def save_baseline(baseline: Baseline, path: Path) -> None:
    """Write a baseline, replacing an older one in one step; nothing is written where it says the same already.

    Raises:
        WriteError: it cannot be written.
    """
    text = _text(baseline)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() and path.read_bytes() == text.encode():
            return
        part.write_text(text, encoding="utf-8", newline="\n")
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True) if part.parent.is_dir() else None
        raise WriteError(f"{path}: cannot be written: {error.strerror}") from error


def _text(baseline: Baseline) -> str:
    data = json.loads(baseline.model_dump_json(by_alias=True))
    for numbers in (data["start"], data["end"]):
        for site, found in numbers.items():
            numbers[site] = {name: _without_unused(one) for name, one in found.items()}
    text = json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False)
    innermost = re.compile(r"[\[{]\n\s+[^][{}]*?\n\s*[\]}]")
    return innermost.sub(lambda found: re.sub(r"(?<=[\[{])\s+|\s+(?=[\]}])", "", re.sub(r"\n\s*", " ", found[0])), text) + "\n"


def _without_unused(measured: dict[str, object]) -> dict[str, object]:
    """Return a number without the kind of tolerance that it does not have."""
    return {key: value for key, value in measured.items() if key == "value" or value is not None}


def compare(baseline: Baseline, now: Baseline, places: Places | None = None, *, start_only: bool = False) -> list[Difference]:
    """Return how `now` differs from a baseline: findings first, then the sites and the numbers.

    A finding is new, or gone, where it stands in the share of seeds on one side alone and the sides differ by two seeds.

    Args:
        baseline: as it was.
        now: as it is.
        places: where each site stands; None asks for the network as a whole.
        start_only: whether only step 0 was looked at now.
    """
    where = places or (lambda site: Place(file=baseline.recipe))
    found = list(_findings(baseline, now, where))
    if found and baseline.verdict != now.verdict and not start_only:
        text = f"verdict {baseline.verdict} -> {now.verdict}"
        found.insert(0, Difference(kind="verdict", text=text, place=where(None)))
    found += _sites(baseline, now, where)
    found += _numbers(baseline.start, now.start, now, where, widened=_widened(baseline, now), when=" at step 0")
    if start_only:
        return found
    if baseline.steps != now.steps:
        text = (
            f"the baseline was made with {baseline.steps} steps, this check has {now.steps}: only findings and step 0 are "
            "compared; --update renews it"
        )
        return [*found, Difference(kind="undecided", text=text, place=where(None), fails=False)]
    return found + list(_numbers(baseline.end, now.end, now, where, widened=_widened(baseline, now), when=""))


def _findings(baseline: Baseline, now: Baseline, where: Places) -> Iterator[Difference]:
    before = {(finding.rule, finding.site): finding for finding in baseline.findings}
    after = {(finding.rule, finding.site): finding for finding in now.findings}
    known = {rule.slug: rule for rule in RULES}
    relied = {rule for rule in baseline.rules if rule in now.rules}
    final = {rule for rule, kind in known.items() if kind.is_final}
    for key in dict.fromkeys([*after, *before]):
        was, is_ = _standing(before.get(key), baseline), _standing(after.get(key), now)
        level = min((one for one in (was, is_) if one is not None), key=_rank, default=None)
        is_worse = _rank(is_) < _rank(was)
        comparable = key[0] in relied or (is_worse and key[0] in final)
        if level is None or was == is_ or not comparable:
            continue
        if not _is_apart(before.get(key), after.get(key), level, baseline, now):
            continue
        finding = after.get(key) or before[key]
        site = now.names.get(finding.site, finding.site) if finding.site else None
        kind: Literal["new finding", "finding gone"] = "new finding" if is_worse else "finding gone"
        change = f": {was} -> {is_}" if was and is_ else f", {level}"
        seeds = f"{_count(after.get(key), level)} of {len(now.seeds)} seeds, "
        seeds += f"before {_count(before.get(key), level)} of {len(baseline.seeds)}"
        yield Difference(
            kind=kind,
            text=f"{kind} {finding.code} {finding.rule}{f' at {site}' if site else ''}{change} ({seeds})",
            place=where(site),
            rule=finding.rule,
            code=finding.code,
            severity=is_ or was,
            site=site,
        )


def _standing(finding: SeenFinding | None, side: Baseline) -> Severity | None:
    if finding is None:
        return None
    needed = seeds_needed(side.share, len(side.seeds))
    return next((level for level in SEVERITIES if finding.seeds.get(level, 0) >= needed), None)


def _rank(severity: Severity | None) -> int:
    return len(SEVERITIES) if severity is None else SEVERITIES.index(severity)


def _count(finding: SeenFinding | None, level: Severity | None) -> int:
    return finding.seeds.get(level, 0) if finding and level else 0


def _is_apart(before: SeenFinding | None, after: SeenFinding | None, level: Severity, old: Baseline, new: Baseline) -> bool:
    """Tell whether the counts of seeds differ by more than one seed at the edge."""
    fewest = min(len(old.seeds), len(new.seeds))
    apart = abs(_count(after, level) / len(new.seeds) - _count(before, level) / len(old.seeds))
    return apart * fewest >= min(SEEDS_APART, fewest) - 1e-9


def _sites(baseline: Baseline, now: Baseline, where: Places) -> Iterator[Difference]:
    before, after = (dict.fromkeys([*side.start, *side.end]) for side in (baseline, now))
    for site in (site for site in [*after, *before] if (site in before) != (site in after) and site != NETWORK):
        name = now.names.get(site, site)
        text = f"`{name}` {'is new' if site in after else 'is gone'}: the baseline was made with another network"
        yield Difference(kind="number", text=text, place=where(name), site=name)


def _numbers(
    before: Numbers, after: Numbers, now: Baseline, where: Places, *, widened: float, when: str
) -> Iterator[Difference]:
    for site in (site for site in before if site in after):
        name = now.names.get(site, site)
        place = where(None if site == NETWORK else name)
        for statistic in (name for name in before[site] if name in after[site]):
            was, is_ = before[site][statistic], after[site][statistic]
            if was.is_left_by(is_.value, widened):
                allowed = f"tolerance {was.tolerance:.2g}" if was.factor is None else f"tolerance a factor of {was.factor:.3g}"
                yield Difference(
                    kind="number",
                    text=f"`{name}` {statistic}{when} {was.value:.3g} -> {is_.value:.3g} ({allowed})",
                    place=place,
                    site=None if site == NETWORK else name,
                    statistic=statistic,
                    before=was.value,
                    after=is_.value,
                    tolerance=was.tolerance if was.factor is None else was.factor,
                )


def _widened(baseline: Baseline, now: Baseline) -> float:
    """Return by how much the tolerances grow where fewer seeds are trained now than for the baseline."""
    old, new = len(baseline.seeds), len(now.seeds)
    return max(1.0, math.sqrt((1 / old + 1 / new) / (2 / old)))
