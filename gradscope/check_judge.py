"""The judgement of a check: traces of one arm against what was expected of it, and against its baseline. Needs no torch."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gradscope.baseline import Baseline, baseline_of, compare, load_baseline, save_baseline
from gradscope.check_budget import reliable
from gradscope.check_result import CheckedRule, CheckResult, Difference, Outcome, Place, Status
from gradscope.check_standing import SHARE, Standing, stand
from gradscope.errors import BaselineError
from gradscope.recipe_fields import FIX_NAMES, HEALTHY
from gradscope.report import Finding, Severity, Verdict
from gradscope.rules import RULES, Rule
from gradscope.trace import Trace

COUNTS: Severity = "warning"
"""Severity from which an expected finding counts as found; a note is seen in many networks that learn."""


@dataclass(frozen=True)
class Asked:
    """What a check is about, and what it is compared with."""

    subject: str
    """The recipe's file, or the test, as it is named in messages."""
    name: str
    expected: Sequence[str] = (HEALTHY,)
    """Slugs of rules, ("healthy",), or () where nothing is expected but that no error stands."""
    steps: int = 0
    planned: int = 0
    share: float = SHARE
    baseline: Path | None = None
    """Where the baseline is or would be."""
    update: bool = False
    strict: bool = False
    update_command: str = ""
    """What writes the baseline; told where it is missing."""
    is_fast: bool = False
    place: Place | None = None
    places: Mapping[str, Place] = field(default_factory=dict)
    """By site; all others stand at `place`."""
    versions: Mapping[str, str] = field(default_factory=dict)
    rules: Sequence[type[Rule]] = RULES

    @property
    def expects_rules(self) -> bool:
        """Whether failures are expected, not health."""
        return bool(self.expected) and tuple(self.expected) != (HEALTHY,)

    def where(self, site: str | None) -> Place:
        """Return where a site stands."""
        return self.places.get(site or "", self.place or Place(file=self.subject))


def judge(traces: Sequence[Trace], asked: Asked) -> CheckResult:
    """Return what a check says: as expected or not, or that it cannot be judged.

    * Each expected rule must stand, above a note, in the share of seeds.
    * An error that stands and is not expected fails. Where failures are expected, it does so only where it starts by itself,
      at a site where no expected one stands, and is not in the baseline; where health is expected, always.
    * What differs from the baseline fails, whatever its severity.

    With `update` the baseline is written unless it would hold what the expectation contradicts.

    Args:
        traces: those of one arm, one for each seed.
        asked: what to compare with.

    Raises:
        BaselineError: the baseline cannot be read.
        WriteError: it cannot be written.
    """
    if not traces:
        text = f"{asked.subject}: could not judge: nothing was recorded"
        return CheckResult(recipe=asked.subject, name=asked.name, outcome="could not judge", message=text)
    relied = reliable(asked.rules, asked.steps, asked.planned)
    standing = stand(traces, [rule for rule in asked.rules if rule in relied or rule.is_final], asked.share)
    old = _old_baseline(asked)
    now = baseline_of(
        traces, standing, name=asked.name, steps=asked.steps, rules=relied, versions=None if asked.is_fast else asked.versions
    )
    against = [*_missing(standing, relied, asked), *_unexpected(standing, asked, None if asked.update else old)]
    changes = compare(old, now, asked.where, start_only=asked.is_fast) if old else []
    changes = _without_repeats(changes, [one for one in against if one.fails])
    against = _without_repeats(against, changes)  # those that fail by the baseline are told as such
    if asked.strict and old is None and asked.baseline and not asked.update:
        changes.append(_no_baseline(asked))
    unclear = _unclear(standing, relied, asked)
    contradicted = [one for one in (*_missing(standing, relied, asked), *_unexpected(standing, asked, now)) if one.fails]
    updated = asked.update and asked.baseline is not None and not contradicted and not unclear
    if updated and asked.baseline:
        save_baseline(now, asked.baseline)
        against, changes = [], []
    elif asked.update and asked.baseline:
        text = f"the baseline was not written: {'what stands contradicts expect' if contradicted else unclear}"
        changes = [Difference(kind="undecided", text=text, place=asked.where(None), fails=False)]
    differences = [*against, *changes]
    outcome: Outcome = "not as expected" if any(one.fails for one in differences) else "as expected"
    if outcome == "as expected" and unclear:
        outcome = "could not judge"
    return CheckResult(
        recipe=asked.subject,
        name=asked.name,
        outcome=outcome,
        message=f"{asked.subject}: could not judge: {unclear}" if outcome == "could not judge" else "",
        verdict=_verdict(standing, relied, asked),
        expected=list(asked.expected),
        differences=differences,
        rules=[_checked(rule, standing, rule in relied, asked) for rule in asked.rules],
        findings=standing.findings,
        places={site.name: asked.where(site.name) for trace in traces for site in trace.sites},
        try_fix=fix_to_try(standing.findings) if outcome == "not as expected" else None,
        seeds=list(standing.seeds),
        steps=asked.steps,
        is_fast=asked.is_fast,
        baseline=str(asked.baseline) if asked.baseline and (old or updated) else None,
        is_updated=updated,
    )


def _verdict(standing: Standing, relied: Sequence[type[Rule]], asked: Asked) -> Verdict | None:
    """Return the verdict; none where nothing was found, but not every rule had the steps that it needs."""
    left_out = len(relied) < len(asked.rules) and standing.verdict == "healthy"
    return None if left_out else standing.verdict


def fix_to_try(findings: Sequence[Finding]) -> str | None:
    """Return the built-in fix that the first error's rule names first; errors at their origin stand first."""
    rules = {rule.slug: rule for rule in RULES}
    errors = [finding for finding in findings if finding.severity == "error"]
    for finding in sorted(errors, key=lambda finding: finding.role != "origin"):
        text = rules[finding.rule].remedies() if finding.rule in rules else ""
        named = [name for name in FIX_NAMES if name in text]
        if named:
            return min(named, key=text.index)
    return None


def _old_baseline(asked: Asked) -> Baseline | None:
    if asked.baseline is None or not asked.baseline.exists():
        return None
    try:
        return load_baseline(asked.baseline)
    except BaselineError as error:
        if asked.update and not error.is_newer:
            return None
        raise


def _missing(standing: Standing, relied: Sequence[type[Rule]], asked: Asked) -> Iterator[Difference]:
    """Yield the expected rules that do not stand, as far as the steps suffice and as they could be judged."""
    for rule in (rule for rule in relied if rule.slug in asked.expected):
        count = standing.count(rule.slug, at_least=COUNTS)
        if count + len(standing.undecided(rule.slug)) >= standing.needed:
            continue
        text = (
            f"{rule.code} {rule.slug} was expected and stands in {count} of {len(standing.seeds)} seeds "
            f"({standing.needed} needed)"
        )
        yield Difference(kind="finding expected", text=text, place=asked.where(None), rule=rule.slug, code=rule.code)


def _unexpected(standing: Standing, asked: Asked, accepted: Baseline | None) -> Iterator[Difference]:
    """Yield the errors that stand and are not expected."""
    known = {
        finding.rule
        for finding in (accepted.findings if accepted and tuple(asked.expected) != (HEALTHY,) else ())
        if finding.seeds.get("error", 0) > 0
    }
    foreseen = {found.site for found in standing.findings if found.rule in asked.expected}
    for rule in asked.rules:
        if rule.slug in asked.expected or rule.slug in known:
            continue
        if standing.stands(rule.slug, at_least="error", origins=asked.expects_rules):
            elsewhere = standing.count(rule.slug, at_least="error", origins=asked.expects_rules, apart_from=foreseen)
            unseen = [
                other.slug
                for other in asked.rules
                if asked.is_fast and other.slug in asked.expected and other.steps_needed != 1
            ]
            goes_along = elsewhere < standing.needed or bool(unseen)
            finding = standing.source(rule.slug, apart_from=() if goes_along else foreseen)
            site = finding.site if finding else None
            count = standing.count(rule.slug, at_least="error")
            what = f"{rule.code} {rule.slug}{f' at {site}' if site else ''}"
            told = "goes along with what is expected there" if goes_along else "not expected"
            if unseen:
                told = f"may go along with {unseen[0]}, which is expected and shows only in training"
            yield Difference(
                kind="new finding",
                text=f"new finding {what}, error in {count} of {len(standing.seeds)} seeds: {told}",
                fails=not goes_along,
                place=asked.where(site),
                rule=rule.slug,
                code=rule.code,
                severity="error",
                site=site,
            )


def _without_repeats(found: list[Difference], others: Sequence[Difference]) -> list[Difference]:
    """Return what the others do not say as well."""
    told = {(one.kind, one.rule, one.site) for one in others if one.rule}
    return [one for one in found if (one.kind, one.rule, one.site) not in told]


def _no_baseline(asked: Asked) -> Difference:
    text = f"no baseline {asked.baseline}; write it with: {asked.update_command}"
    return Difference(kind="baseline missing", text=text, place=asked.where(None))


def _unclear(standing: Standing, relied: Sequence[type[Rule]], asked: Asked) -> str:
    """Return why no judgement is possible, nothing where one is."""
    if not standing.whole.coverage.sites_seen:
        return "; ".join(standing.whole.coverage.notes) or "no non-linearity was seen"
    short = [rule for rule in asked.rules if rule not in relied and not asked.is_fast and _is_asked(rule, asked)]
    if short:
        return f"{short[0].code} {short[0].slug} {_needs(short[0], asked)}"
    for rule in (rule for rule in relied if rule.slug in asked.expected):
        reasons = standing.undecided(rule.slug)
        if reasons and standing.count(rule.slug, at_least=COUNTS) < standing.needed:
            return f"{rule.code} {rule.slug} in {len(reasons)} of {len(standing.seeds)} seeds: {reasons[0]}"
    if not asked.expects_rules and standing.verdict == "undecided":
        found = standing.whole.undecided or [item for one in standing.alone for item in one.undecided]
        return "; ".join(dict.fromkeys(f"{item.code} {item.rule}: {item.reason}" for item in found)) or "too little was seen"
    return ""


def _is_asked(rule: type[Rule], asked: Asked) -> bool:
    """Tell whether no judgement is possible without a rule; one that needs the whole training may be left out for health."""
    return rule.slug in asked.expected or (not asked.expects_rules and rule.steps_needed is not None)


def _needs(rule: type[Rule], asked: Asked) -> str:
    is_whole = rule.steps_needed is None or rule.steps_needed >= asked.planned
    needed = f"the whole training, {asked.planned} steps" if is_whole else f"{rule.steps_needed} steps"
    return f"needs {needed}, this check has {asked.steps}"


def _checked(rule: type[Rule], standing: Standing, is_relied: bool, asked: Asked) -> CheckedRule:
    count = standing.count(rule.slug, at_least=COUNTS)
    reasons = standing.undecided(rule.slug)
    stands = count >= standing.needed
    status: Status = "finding" if stands else "healthy"
    finding = standing.widest(rule.slug)
    text = finding.text if finding and stands else ""
    if not stands and not is_relied:
        status, text = "undecided", _needs(rule, asked)
    elif not stands and len(reasons) >= standing.needed:
        status, text = "undecided", reasons[0]
    return CheckedRule(
        rule=rule.slug,
        code=rule.code,
        status=status,
        share=count / len(standing.seeds),
        sites=[found.site for found in standing.findings if found.rule == rule.slug and found.site],
        is_expected=rule.slug in asked.expected,
        text=text,
    )


def update_command(subject: str, options: Sequence[str] = ()) -> str:
    """Return the command that writes a recipe's baseline.

    >>> update_command("my recipes/a.yaml")
    "gradscope check 'my recipes/a.yaml' --update"
    """
    return shlex.join(["gradscope", "check", subject, "--update", *options])
