"""`gradscope validate FILES...`: say what is wrong with recipes, without running anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from gradscope.recipe import Recipe


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def validate(files: tuple[Path, ...]) -> int:
    """Check recipes and name every fault with its line; a folder stands for each *.yaml and *.yml below it."""
    from gradscope.cli import EXIT_DONE, EXIT_WRONG_USE
    from gradscope.errors import RecipeError
    from gradscope.recipe_file import load_recipe
    from gradscope.recipe_folders import find_recipes

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
                recipe = load_recipe(file)
            except RecipeError as error:
                click.echo(str(error), err=True)
                code = EXIT_WRONG_USE
            else:
                click.echo(f"{click.format_filename(file)}: ok{_sizes(recipe)}")
    return code


def _sizes(recipe: Recipe) -> str:
    """Return how many networks a sweep has; nothing of a recipe of one network."""
    from gradscope.grid import cell_count

    if recipe.grid is None:
        return ""
    cells, seeds = cell_count(recipe), len(recipe.seed_list)
    counts = [f"{count:,} {noun}{'s' * (count > 1)}" for count, noun in ((cells, "cell"), (seeds, "seed"))]
    return f", a sweep of {' x '.join(counts)}"
