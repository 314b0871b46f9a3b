"""`gradscope explain GS103`: a rule's page."""

from __future__ import annotations

import click


@click.command()
@click.argument("rule", required=False)
def explain(rule: str | None) -> int:
    """Print the page of RULE (a code such as GS103, or a name such as output-collapse); without RULE, list them."""
    from difflib import get_close_matches

    from gradscope.cli import EXIT_DONE
    from gradscope.rules import RULES

    if rule is None:
        for known in RULES:
            click.echo(f"{known.code}  {known.slug:<20} {(known.__doc__ or '').splitlines()[0]}")
        return EXIT_DONE
    asked = rule.strip().lower()
    for known in RULES:
        if asked in (known.code.lower(), known.slug):
            click.echo(known.page())
            return EXIT_DONE
    names = [name for known in RULES for name in (known.code.lower(), known.slug)]
    near = get_close_matches(asked, names, 1)
    hint = f"; did you mean {near[0].upper() if near[0].startswith('gs') else near[0]}?" if near else ""
    raise click.UsageError(
        f"expected a rule such as GS103 or output-collapse, got '{rule}'{hint} (gradscope explain lists them)"
    )
