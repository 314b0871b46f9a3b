"""`gradscope schema`: print the JSON schema of recipes."""

from __future__ import annotations

import click


@click.command()
def schema() -> int:
    """Print the JSON schema of recipes, for editors: `# yaml-language-server: $schema=recipe.schema.json`."""
    import json

    from gradscope.cli import EXIT_DONE
    from gradscope.recipe_schema import recipe_schema

    click.echo(json.dumps(recipe_schema(), indent=2))
    return EXIT_DONE
