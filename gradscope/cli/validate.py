"""`gradscope validate FILES...`: say what is wrong with recipes, without running anything."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def validate(files: tuple[Path, ...]) -> int:
    """Check recipes and name every fault with its line; a folder stands for each *.yaml and *.yml below it."""
    from gradscope.cli import EXIT_DONE, EXIT_WRONG_USE
    from gradscope.errors import RecipeError
    from gradscope.recipe_file import find_recipes, load_recipe

    code = EXIT_DONE
    for argument in files:
        try:
            found = find_recipes(argument)
        except RecipeError as error:
            click.echo(str(error), err=True)
            code = EXIT_WRONG_USE
            continue
        for file in found:
            try:
                load_recipe(file)
            except RecipeError as error:
                click.echo(str(error), err=True)
                code = EXIT_WRONG_USE
            else:
                click.echo(f"{click.format_filename(file)}: ok")
    return code
