"""`fixes: auto`: from what was found in the control to a recipe that names its fixes, and what to say of those left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gradscope.fixes import FIXES, fixes_for, left_out
from gradscope.recipe import Recipe
from gradscope.report import Finding


def with_chosen_fixes(recipe: Recipe, findings: Sequence[Finding]) -> tuple[Recipe, list[str]]:
    """Return the recipe with the fixes that suit the findings, named, and what the reader should know of the choice."""
    names = fixes_for(findings, recipe)
    return recipe.model_copy(update={"fixes": tuple(names)}), list(_said(recipe, findings, names))


def _said(recipe: Recipe, findings: Sequence[Finding], names: Sequence[str]) -> Iterator[str]:
    rules = list(dict.fromkeys(finding.rule for finding in findings if finding.severity != "note"))
    if not any(finding.severity == "error" for finding in findings):
        yield "fixes: auto tried none: no finding is an error"
        return
    suited = [fix.slug for fix in FIXES if set(rules) & set(fix.rules)]
    yield f"fixes: auto tried {', '.join(names) or 'none'}, for {', '.join(rules)}"
    unfit = left_out(recipe, suited)
    passed_over = [name for name in suited if name not in names and not any(line.startswith(f"{name} ") for line in unfit)]
    if passed_over:
        yield f"fixes that suit it as well, behind those tried: {', '.join(passed_over)}"
    yield from unfit
