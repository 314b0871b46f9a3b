"""Numbers and sentences that every renderer for people shares, so that console and TensorBoard say the same."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from gradscope.report import Evidence, Finding, FixOutcome, Report, Severity

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")  # worst first
MOST_ITEMS = 8  # of a list (sites, seeds) spelled out in one sentence; the rest is counted


def number(value: int | float | None) -> str:
    """Return a number for reading: two significant digits after the point, exact zeros and integers as such.

    >>> [number(v) for v in (0.0, 12, 0.31416, 0.000012, 123456.7, float("nan"), None)]
    ['0', '12', '0.31', '1.2e-05', '1.2e+05', 'nan', 'n/a']
    """
    if value is None:
        return "n/a"
    if isinstance(value, int) or not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e4:
        digits = max(0, 1 - math.floor(math.log10(abs(value))))
        return f"{value:.{digits}f}"
    return f"{value:.1e}"


def fixed(value: int | float, digits: int = 2, *, sign: bool = False) -> str:
    """Return a metric with `digits` decimals, without a minus before zero.

    >>> fixed(0.66666), fixed(-0.001), fixed(0.5, sign=True), fixed(-123456.0)
    ('0.67', '0.00', '+0.50', '-1.2e+05')
    """
    if not math.isfinite(value):
        return str(value)
    if abs(value) >= 1e4:
        return f"{value:+.1e}" if sign else f"{value:.1e}"
    rounded = round(value, digits) + 0.0
    return f"{rounded:+.{digits}f}" if sign else f"{rounded:.{digits}f}"


def decimals(report: Report) -> int:
    """Return how many decimals the report's metrics need: more where no effect or interval end reaches 0.1."""
    if not report.fixes:
        return 3
    bounds = [abs(v) for fix in report.fixes for v in (fix.effect, *(fix.interval or ())) if math.isfinite(v)]
    return 2 if not bounds or max(bounds) >= 0.1 else 4 if max(bounds) < 0.01 else 3


def interval(fix: FixOutcome, digits: int = 2) -> str:
    """Return the interval in brackets, or why there is none."""
    return "no interval" if fix.interval is None else f"[{', '.join(fixed(end, digits) for end in fix.interval)}]"


def effect_text(fix: FixOutcome, report: Report) -> str:
    """Return what a fix did: the metric before and after, the effect with its interval, in how many seeds, at which cost."""
    digits = decimals(report)
    control = report.control
    before = fix.control_mean if fix.control_mean is not None or control is None else control.mean
    means = "" if before is None else f"{fixed(before, digits)} -> {fixed(fix.mean, digits)}"
    parts = [means, f"{fixed(fix.effect, digits, sign=True)} {interval(fix, digits)}", better_in(fix, report)]
    parts.append("" if fix.cost is None else f"cost {fix.cost:.2f}")
    return ", ".join(part for part in parts if part)


def better_in(fix: FixOutcome, report: Report) -> str:
    """Return in how many seeds a fix scored more than the control; empty where that is not known."""
    better, seeds = fix.better_in, len(fix.values)
    if better is None and report.control is not None and len(report.control.values) == seeds:
        better = sum(after > before for before, after in zip(report.control.values, fix.values, strict=True))
    return "" if better is None else f"better in {better} of {counted(seeds, 'seed')}"


def verdict_word(fix: FixOutcome) -> str:
    """Return a verdict as it is read: what is inconclusive is not proven, which is not to say that it has no effect.

    Of one that is proved to be better, and leaves all that was found, it is the cure that is missing.
    """
    if fix.verdict != "inconclusive":
        return fix.verdict
    is_better = fix.interval is not None and fix.interval[0] >= 0 and fix.interval[1] > 0
    return "no cure" if is_better else "not proven"


def remains(rules: Sequence[str], most: int | None = None) -> str:
    """Return that findings are still there, empty for none.

    >>> remains(["saturation"]), remains(["common-mode", "output-collapse"])
    ('saturation remains', 'common-mode, output-collapse remain')
    """
    if not rules:
        return ""
    return f"{listed(rules, most) if most else listed(rules)} {'remains' if len(rules) == 1 else 'remain'}"


def left_open(fix: FixOutcome) -> str:
    """Return why a fix is not proven whose runs are all that one could wish for: how many might fail; empty for any other."""
    share, most = fix.undone_by, fix.failed_up_to
    if fix.verdict != "inconclusive" or not fix.differs or fix.effect <= 0 or share is None or most is None or share >= most:
        return ""
    failed = f"{fix.failed} of its {counted(len(fix.values), 'run')} failed, so that up to {100 * most:.0f} % may"
    return f"not proven on average: {failed}, and {100 * share:.0f} % would undo the gain"


def confidences(report: Report) -> str:
    """Return which confidence each interval has, each by itself."""
    groups: dict[float, list[str]] = {}
    for fix in (*report.fixes, *([report.placebo] if report.placebo else [])):
        groups.setdefault(fix.confidence, []).append(fix.fix)
    if len(groups) == 1:
        return f"{100 * next(iter(groups)):.4g} % interval of the effect"
    return "intervals of the effect: " + ", ".join(f"{100 * c:.4g} % for {listed(names)}" for c, names in groups.items())


def placebo_text(report: Report) -> str | None:
    """Return what became of a change that changes nothing; None where none was trained."""
    fix = report.placebo
    if fix is None:
        return None
    digits = decimals(report)
    return f"{fixed(fix.effect, digits, sign=True)} {interval(fix, digits)}, {verdict_word(fix)}; {fix.summary}"


def listed(items: Sequence[object], most: int = MOST_ITEMS) -> str:
    """Join items with commas and count those that are left out.

    >>> listed([1, 2, 3]), listed(range(100), 3)
    ('1, 2, 3', '0, 1, 2 and 97 more')
    """
    shown = ", ".join(map(str, items[:most]))
    return shown if len(items) <= most else f"{shown} and {len(items) - most} more"


def counted(count: int, noun: str) -> str:
    """Return the count with its noun in the right number.

    >>> counted(1, "seed"), counted(5, "seed")
    ('1 seed', '5 seeds')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def is_watched(report: Report) -> bool:
    """Tell whether the report is about a loop of the user's own: it knows of no data, no seeds and no fixes."""
    return not report.setting.data and not report.fixes


def seeds_of(report: Report) -> int:
    """Return how many seeds the control was trained with."""
    return len(report.setting.seeds) or (len(report.control.values) if report.control else 0)


def seeds_text(finding: Finding, report: Report) -> str:
    """Return in how many of the seeds the finding stands."""
    of = seeds_of(report)
    return f"in {len(finding.seeds)} of {counted(of, 'seed')}" if of else f"in {counted(len(finding.seeds), 'seed')}"


def in_seeds(report: Report) -> str:
    """Return the number of seeds after what was looked at; empty for a watched loop, which is one run."""
    return "" if is_watched(report) else f" in {counted(seeds_of(report), 'seed')}"


def standing(finding: Finding, report: Report) -> str:
    """Return in how many of the seeds the finding stands, and since when."""
    since = f"from step {finding.first_step}"
    return since if is_watched(report) else f"{seeds_text(finding, report)}, {since}"


def place(finding: Finding) -> str:
    """Return the rule with its site, or with 'of the whole network' where it has none."""
    return f"{finding.rule} {places([finding])}"


def places(findings: Sequence[Finding], most: int = MOST_ITEMS) -> str:
    """Return where the findings of one rule are."""
    sites = [finding.site for finding in findings if finding.site is not None]
    return f"at {listed(sites, most)}" if sites else "of the whole network"


def evidence(values: Evidence) -> str:
    """Return the evidence as `name value` pairs."""
    return ", ".join(f"{name} {_evidence_value(value)}" for name, value in values.items())


def _evidence_value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return f"[{listed([_evidence_value(item) for item in value])}]"
    return number(value) if isinstance(value, int | float) or value is None else str(value)


def origins(report: Report) -> list[Finding]:
    """Return the findings with which a failure starts, worst first."""
    return sorted((f for f in report.findings if f.role == "origin"), key=lambda f: SEVERITIES.index(f.severity))


def victims(report: Report) -> list[list[Finding]]:
    """Return the findings that follow from elsewhere, those of one rule and severity together, worst first."""
    groups: dict[tuple[str, Severity], list[Finding]] = {}
    for finding in report.findings:
        if finding.role == "victim":
            groups.setdefault((finding.rule, finding.severity), []).append(finding)
    return sorted(groups.values(), key=lambda group: SEVERITIES.index(group[0].severity))


def control_text(report: Report) -> str:
    """Return the control's metric against chance."""
    control = report.control
    if control is None:
        return "not evaluated"
    digits = decimals(report)
    text = f"{control.metric} {fixed(control.mean, digits)}"
    if len(control.values) > 1:
        values = listed([fixed(v, digits) for v in control.values])
        text += f", standard deviation {fixed(control.std, digits)} over {counted(len(control.values), 'seed')} ({values})"
    return f"{text}; chance is {number(control.chance)}" if math.isfinite(control.chance) else text


def basis(report: Report) -> list[tuple[str, str]]:
    """Return what the verdict rests on, as labels with their texts."""
    measured = [("metric" if is_watched(report) else "control", control_text(report))]
    return [
        *(measured if report.control or not is_watched(report) else []),
        ("setting", setting_text(report)),
        ("coverage", coverage_text(report)),
        *(("note", note) for note in report.coverage.notes),
        *(("crashed" if item.crashed else "undecided", f"{item.code} {item.rule}: {item.reason}") for item in report.undecided),
    ]


def setting_text(report: Report) -> str:
    """Return the conditions of the run in one line."""
    setting, timing = report.setting, report.timing
    parts = [
        report.recipe if is_watched(report) else "",
        setting.data and f"{setting.data} ({setting.train_samples} training, {setting.test_samples} test samples)",
        setting.device,
        f"{setting.parameters:,} parameters" if setting.parameters else "",
        f"{counted(len(setting.seeds), 'seed')} ({listed(setting.seeds)})" if setting.seeds else "",
        counted(setting.steps, "step") if setting.steps else "",
        f"{timing.train_s:.1f} s of training, {100 * timing.recording_frac:.1f} % of it recording" if timing.train_s else "",
    ]
    return "; ".join(part for part in parts if part)


def coverage_text(report: Report) -> str:
    """Return how much was looked at and what was not."""
    coverage = report.coverage
    text = f"{counted(coverage.sites_seen, 'site')} seen"
    if coverage.sites_unseen:
        text += f"; not seen: {listed(unseen(coverage.sites_unseen))}"
    return text


def unseen(names: Sequence[str]) -> list[str]:
    """Return what was not seen, things of one kind together.

    >>> unseen(["head", *(f"{i}.attn (attention)" for i in range(9)), "rnn (lstm)"])
    ['head', 'attention at 0.attn, 1.attn, 2.attn and 6 more', 'rnn (lstm)']
    """
    kinds: dict[str, list[str]] = {}
    for name in names:
        path, _, kind = name.removesuffix(")").rpartition(" (")
        kinds.setdefault(kind if path and name.endswith(")") else name, []).append(name)
    found: list[str] = []
    for kind, members in kinds.items():
        paths = [name.removesuffix(f" ({kind})") for name in members]
        found += members if len(members) < 3 else [f"{kind} at {listed(paths, 3)}"]
    return found


def longest_word(texts: Iterable[str]) -> int:
    """Return the length of the longest word, below which a column of a table breaks one.

    >>> longest_word(["relu tanh", "cross-entropy"]), longest_word([])
    (13, 0)
    """
    return max((len(word) for text in texts for word in text.split()), default=0)
