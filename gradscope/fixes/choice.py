"""Which fixes are tried: those that the findings' rules ask for, and of any list those that would change something."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, zip_longest

from gradscope.fixes.base import Fix
from gradscope.recipe import Recipe
from gradscope.report import Finding

MOST_FIXES = 6
"""Each fix is trained from every seed, and the more there are the wider every interval is that all of them must hold in."""


def choose(fixes: Sequence[type[Fix]], findings: Sequence[Finding], recipe: Recipe) -> list[str]:
    """Return the slugs of the fixes to try, the smaller change first; none where no finding is an error.

    Rules choose in turn, one fix each: errors before warnings, origins before victims, as they were found. A rule offers a
    change of each kind (training, start, activations, layers) before a second one of any, the smaller before the larger.

    Args:
        fixes: to choose from, the smaller change first.
        findings: of the control.
        recipe: the control's; fixes that would change nothing in it are left out.
    """
    if not any(finding.severity == "error" for finding in findings):
        return []
    heard = sorted((f for f in findings if f.severity != "note"), key=lambda f: (f.severity != "error", f.role != "origin"))
    fitting = [fix for fix in fixes if fix().changes(recipe)]
    offers = [list(_offered(fitting, rule)) for rule in dict.fromkeys(finding.rule for finding in heard)]
    chosen: dict[type[Fix], None] = {}
    while any(offers) and len(chosen) < MOST_FIXES:
        for offer in offers:
            left = [fix for fix in offer if fix not in chosen]
            offer[:] = left[1:]
            if left and len(chosen) < MOST_FIXES:
                chosen[left[0]] = None
    return [fix.slug for fix in fixes if fix in chosen]


def _offered(fixes: Sequence[type[Fix]], rule: str) -> Iterator[type[Fix]]:
    """Yield the fixes for a rule, the first of each kind, then the second of each, and so on."""
    kinds: dict[int, list[type[Fix]]] = {}
    for fix in fixes:
        if rule in fix.rules:
            kinds.setdefault(fix.kind(), []).append(fix)
    yield from (fix for fix in chain.from_iterable(zip_longest(*kinds.values())) if fix is not None)
