"""`gradscope compare`: two sweeps, or a sweep and a published table, row by row."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from gradscope.comparison import Comparison

FORMATS = ("text", "json", "csv")
PLACE = click.Path(path_type=Path)
EXAMPLE = """\b
With --where-a and --where-b two parts of one sweep are compared:
  gradscope compare S S --where-a norm=batchnorm-last --where-b norm=batchnorm-all"""


def _wanted(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Return factors and their values from `NAME=VALUE` texts."""
    found: dict[str, str] = {}
    for value in values:
        name, _, wanted = value.partition("=")
        if not (name and wanted):
            raise click.BadParameter(f"expected NAME=VALUE such as norm=none, got '{value}'", ctx, param)
        name, wanted = name.strip(), wanted.strip()
        if found.setdefault(name, wanted) != wanted:
            raise click.BadParameter(f"expected one value of {name}, got {found[name]} and {wanted}", ctx, param)
    return found


def _finite(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """Return an option's number, which a range of click's lets be NaN."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"expected a finite number, got {value:g}", ctx, param)
    return value


@click.command(epilog=EXAMPLE)
@click.argument("a", type=PLACE)
@click.argument("b", type=PLACE)
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True, help="How to print it.")
@click.option("--rows", "which", type=click.Choice(["all", "different"]), help="Text: different, json and csv: all.")
@click.option("--points", type=click.FloatRange(min=0), callback=_finite,
              help="Rows agree within so many points (default: 0.5, half a per cent) ...")  # fmt: skip
@click.option("--errors", type=click.FloatRange(min=0), callback=_finite,
              help="... or within so many standard errors of both together (default: 3), if that is more.")  # fmt: skip
@click.option("--where", multiple=True, callback=_wanted, metavar="NAME=VALUE",
              help="Only rows with this value of a factor; may be repeated.")  # fmt: skip
@click.option("--where-a", multiple=True, callback=_wanted, metavar="NAME=VALUE", help="The same for A only.")
@click.option("--where-b", multiple=True, callback=_wanted, metavar="NAME=VALUE", help="The same for B only.")
def compare(
    a: Path,
    b: Path,
    form: str,
    which: str | None,
    points: float | None,
    errors: float | None,
    where: dict[str, str],
    where_a: dict[str, str],
    where_b: dict[str, str],
) -> int:
    """Compare the sweeps or tables A and B row by row.

    A and B are a sweep's folder, its results.json or results.csv, or a published table as CSV with the columns act1, act2, ...
    (act1a, act1b, ... for two in a layer), other factors such as lr, and accuracy, mean, or run1, run2, ...

    A published table of weights <= 0 by epoch (nonpositive_weights, total_weights) is compared with a sweep's epochs.csv.
    """
    from gradscope.cli import EXIT_DONE
    from gradscope.cli.report import put
    from gradscope.comparing import POINTS, STANDARD_ERRORS, Agreement
    from gradscope.comparing import compare as compare_tables
    from gradscope.table_files import read_tables

    tables = [
        table.where(where, "--where").where(own, option)
        for table, own, option in zip(read_tables(a, b), (where_a, where_b), ("--where-a", "--where-b"), strict=True)
    ]
    agreement = Agreement(STANDARD_ERRORS if errors is None else errors, POINTS if points is None else points)
    found = compare_tables(tables[0], tables[1], agreement)
    only_different = which == "different" or (which is None and form == "text")
    put(lambda: _text_of(found, form, only_different=only_different))
    return EXIT_DONE


def _text_of(found: Comparison, form: str, *, only_different: bool) -> str:
    if form == "text":
        from gradscope.renderers.compare_console import print_comparison
        from gradscope.renderers.console import stdout_console, trimmed

        console = stdout_console()
        with console.capture() as captured:
            print_comparison(found, console=console, only_different=only_different)
        return trimmed(captured.get())
    kept = found.model_copy(update={"rows": found.different}) if only_different else found
    if form == "json":
        return kept.model_dump_json(by_alias=True, indent=2) + "\n"
    from gradscope.renderers.compare_csv import comparison_csv

    return comparison_csv(kept)
