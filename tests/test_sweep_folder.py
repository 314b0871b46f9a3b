"""Whose tables a sweep's folder holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradscope.recipe_file import dump_recipe, parse_recipe
from gradscope.sweep_folder import replaced_tables

TEXT = "data: digits\nstack: {hidden: [8, 6]}\nseeds: 2\ngrid: {activations: {product: [relu, tanh]}, lr: [0.1, 0.2]}\n"


def others(folder: Path, text: str) -> list[str]:
    (folder / "results.csv").touch()
    (folder / "sweep.yaml").write_text(f"# gradscope 0.1.0\n{dump_recipe(parse_recipe(TEXT))}")
    return replaced_tables(folder, parse_recipe(text))


@pytest.mark.parametrize(
    ("change", "other"),
    [
        (("seeds: 2", "seeds: 3"), []),
        (("0.2]", "0.2, 0.3]"), []),
        (("tanh]", "tanh, selu]"), []),
        (("0.1, 0.2", "0.1"), ["grid"]),
        (("tanh]", "selu]"), ["grid"]),
        (("digits", "mnist"), ["data"]),
        (("[8, 6]", "[8, 7]"), ["stack"]),
        (("seeds: 2", "training: {momentum: 0.9}"), ["training"]),
        ((", lr: [0.1, 0.2]", ""), ["training", "grid"]),
    ],
)
def test_what_differs_is_named_unless_the_sweep_only_grew(change: tuple[str, str], other: list[str], tmp_path: Path) -> None:
    assert others(tmp_path, TEXT.replace(*change)) == other


def test_a_folder_without_tables_or_with_a_broken_recipe_holds_none(tmp_path: Path) -> None:
    recipe = parse_recipe(TEXT)
    assert replaced_tables(tmp_path, recipe) == []
    (tmp_path / "results.csv").touch()
    for text in ("a: [", "only text", ""):
        (tmp_path / "sweep.yaml").write_text(text)
        assert replaced_tables(tmp_path, recipe) == []
