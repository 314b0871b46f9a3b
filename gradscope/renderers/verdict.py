"""The verdict in two sentences: what is wrong and where, and what to do about it."""

from __future__ import annotations

from gradscope.cause_text import is_cut_short
from gradscope.renderers.wording import (
    counted,
    decimals,
    effect_text,
    fixed,
    in_seeds,
    interval,
    is_watched,
    left_open,
    listed,
    origins,
    place,
    remains,
    standing,
    unseen,
    verdict_word,
)
from gradscope.report import Finding, FixOutcome, Report


def headline(report: Report) -> str:
    """Return what was found, in one sentence, without the verdict's own word."""
    text = {"sick": _sick, "healthy": _healthy, "undecided": _undecided}[report.verdict](report)
    if not report.interrupted:
        return text
    if is_cut_short(report.findings):
        return f"{text}; interrupted in the search for causes"
    setting = report.setting
    reached = f" after {counted(setting.steps, 'step')}" if setting.steps else ""
    if setting.planned_steps:
        if setting.steps >= setting.planned_steps:
            return f"{text}; interrupted after the control's training"
        reached = f" after {setting.steps} of {setting.planned_steps} steps"
    return f"{text}; interrupted{reached}: this is about what was done until then"


def remedy(report: Report) -> str | None:
    """Return what the trial of fixes proved, or what is promising; None where there is nothing to cure and nothing was tried.

    Of a watched loop, in which nothing can be tried, what the rule's page names.
    """
    chosen = next((fix for fix in report.fixes if fix.fix == report.recommended), None)
    if chosen is not None:
        return _works(report, chosen)
    if is_watched(report):
        return _to_try(report)
    if not report.fixes:
        return "no fix was tried" if report.verdict == "sick" else None
    digits = decimals(report)
    effects = [f"{fixed(fix.effect, digits, sign=True)} {interval(fix, digits)}" for fix in report.fixes]
    tried = [f"{fix.fix} {verdict_word(fix)} ({effect})" for fix, effect in zip(report.fixes, effects, strict=True)]
    return f"no fix is proved to work: {listed(tried)}"


def _sick(report: Report) -> str:
    starts = _starts(report)
    if not starts:
        return "the rules found a failure but name no place"
    first, others = starts[0], [f for f in starts[1:] if f.severity == starts[0].severity]
    text = f"{place(first)} ({first.role}), {standing(first, report)}"
    return f"{text}; also {listed([place(f) for f in others], 3)}" if others else text


def _starts(report: Report) -> list[Finding]:
    """Return where it starts, worst first; notes explain no failure."""
    return [finding for finding in origins(report) if finding.severity != "note"] or report.findings


def _to_try(report: Report) -> str | None:
    if report.verdict != "sick":
        return None
    from gradscope.rules import RULES  # with numpy, which showing a saved report does without otherwise

    pages = {rule.code: rule.remedies() for rule in RULES}
    named = next((pages[finding.code] for finding in _starts(report)[:1] if pages.get(finding.code)), None)
    return f"to try: {named[0].lower()}{named[1:]}" if named else None


def _healthy(report: Report) -> str:
    looked = f"at {counted(report.coverage.sites_seen, 'site')}{in_seeds(report)}"
    parts = [f"no failure found {looked} over {counted(report.setting.steps, 'step')}"]
    warnings = sum(finding.severity == "warning" for finding in report.findings)
    if warnings:
        parts.append(f"{counted(warnings, 'warning')} below")
    if report.coverage.sites_unseen:
        parts.append(f"not looked at: {listed(unseen(report.coverage.sites_unseen), 3)}")
    if report.undecided:
        parts.append(f"not judged: {listed([u.rule for u in report.undecided], 3)}")
    return "; ".join(parts)


def _undecided(report: Report) -> str:
    looked = f"{counted(report.coverage.sites_seen, 'site')} seen{in_seeds(report)}"
    reasons = [f"{u.rule}: {u.reason}" for u in report.undecided[:1]]
    if not report.coverage.sites_seen and report.coverage.notes:  # no rule can judge what was not seen
        reasons = report.coverage.notes[-1:]
    more = len(report.undecided) - 1
    return "; ".join(["cannot tell", looked, *reasons, *([f"{more} more below"] if more > 0 else [])])


def _works(report: Report, fix: FixOutcome) -> str:
    verb = "cures it" if fix.cleared and not fix.remaining else "helps"
    metric = f"{report.control.metric} " if report.control else ""
    if fix.verdict != "works":
        return f"to try: {fix.fix}, {metric}{effect_text(fix, report)}; {left_open(fix) or 'not proven'}"
    text = f"{fix.fix} {verb}: {metric}{effect_text(fix, report)}"
    return f"{text}; {remains(fix.remaining, 3)}" if fix.remaining else text
